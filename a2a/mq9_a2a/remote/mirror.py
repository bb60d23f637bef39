"""What changed in a task elsewhere, as pieces of ``task_update``. Plain values in, plain values out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mq9_a2a.words import PROGRESS, View, wrapped

PARTS_MAX = 64


def pieces(known: dict[str, list[View]], task: View) -> list[View]:
    """What is new in the artifacts; ``known`` is brought up to date."""
    found: list[View] = []
    for artifact in task.get("artifacts", ()):
        id, parts = artifact.get("artifactId") or "artifact", artifact.get("parts", [])
        held = known.get(id)
        if held == parts or not parts:
            continue
        more = held is not None and parts[: len(held)] == held
        fresh = parts[len(held or ()) :] if more else parts
        known[id] = parts
        about = {"artifact_id": id} | ({"name": artifact["name"]} if artifact.get("name") else {})
        for begin in range(0, len(fresh), PARTS_MAX):
            piece: View = {**about, "parts": fresh[begin : begin + PARTS_MAX]}
            found.append(piece | ({"append": True} if more or begin else {}))
    return found


def words(task: View, last: str | None) -> list[View]:
    """The agent's messages behind the one named ``last``, the one of the status at the end."""
    found = [one for one in task.get("history", ()) if one.get("role") == "ROLE_AGENT"]
    now = task["status"].get("message")
    if now is not None:
        found = [one for one in found if one.get("messageId") != now.get("messageId")] + [now]
    names = [one.get("messageId") for one in found]
    if last is not None and last not in names:  # its history does not go back so far
        return found[-1:] if now is not None else []
    return found[names.index(last) + 1 :] if last is not None else found


def name_of(task: View) -> str:
    """Names a status, so that a question is asked once."""
    status = task["status"]
    return f"{status['state']}/{status.get('message', {}).get('messageId') or status.get('timestamp', '')}"


def message_parts(message: Mapping[str, Any], direct: bool = False) -> list[View]:
    """The parts of an agent's message, with what it wrote around them."""
    parts = list(message.get("parts", ()))[:PARTS_MAX]
    if not parts:
        return []
    names = ("messageId", "metadata", "extensions", "referenceTaskIds")
    around = {name: message[name] for name in names if message.get(name)}
    return wrapped(parts, around | ({"direct": True} if direct else {}))


def progress(task: View) -> View | None:
    """How far it is, if it says so as mailboxes do."""
    found = task.get("metadata", {}).get(PROGRESS)
    return found if isinstance(found, dict) else None
