"""The broker's tasks and what was said in them, in A2A's words. Who asks is the user, who works the agent."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from mq9_mcp.domain.names import own_session

View = dict[str, Any]

PROGRESS = "urn:mq9:a2a:progress:v1"
ROUTED = "urn:mq9:a2a:routed:v1"
ENVELOPE = "urn:mq9:a2a:message:v1"
NUMBERS = "urn:mq9:a2a:event-numbers:v1"
TERMINAL = frozenset({"completed", "failed", "canceled", "rejected"})
INTERRUPTED = frozenset({"input-required", "auth-required"})
STATES = {
    state: "TASK_STATE_" + state.upper().replace("-", "_")
    for state in ("submitted", "working", *sorted(TERMINAL), *sorted(INTERRUPTED))
}
NAMES = {word: state for state, word in STATES.items()}
_ASKED = ("submitted", "answer", "follow_up")
_AROUND = {"messageId": str, "metadata": dict, "extensions": list, "referenceTaskIds": list}
_encode = msgspec.json.Encoder(order="sorted").encode


def message_of(task: View, entry: View) -> View:
    """A message in ``task`` from an entry of its history."""
    around = entry.get("a2a")
    if around is not None:
        message: View = {**around}
    else:
        asked = entry["kind"] in _ASKED or (entry["kind"] == "message" and entry["from"] == task["asker"])
        role = "ROLE_USER" if asked else "ROLE_AGENT"
        message = {"messageId": _name(task["id"], entry), "role": role}
    message |= {"taskId": task["id"], "contextId": task["session"], "parts": entry["parts"]}
    if "metadata" in entry:
        message["metadata"] = entry["metadata"]
    if message["role"] == "ROLE_AGENT":
        message |= _around(entry["parts"])
    return message


def wrapped(parts: list[View], around: View) -> list[View]:
    """A worker's parts with what A2A writes around them, which is kept on the first of them.

    ``around``: ``messageId``, ``metadata``, ``extensions`` and ``referenceTaskIds``, each as in a Message;
    ``direct``: true if the message alone is the answer, and no task.
    """
    first, *rest = parts
    return [{**first, "metadata": {**first.get("metadata", {}), ENVELOPE: around}}, *rest]


def _envelope(parts: list[View]) -> View:
    metadata = parts[0].get("metadata") if parts else None
    around = metadata.get(ENVELOPE) if isinstance(metadata, dict) else None
    return around if isinstance(around, dict) else {}


def _around(parts: list[View]) -> View:
    """What a worker wrote around its parts, and the parts without it; nothing if it wrote nothing."""
    around = _envelope(parts)
    if not around:
        return {}
    first = {name: value for name, value in parts[0].items() if name != "metadata"}
    metadata = {name: value for name, value in parts[0]["metadata"].items() if name != ENVELOPE}
    shown: View = {"parts": [{**first, "metadata": metadata} if metadata else first, *parts[1:]]}
    for name, kind in _AROUND.items():
        value = around.get(name)
        if isinstance(value, kind) and value and (kind is not list or all(isinstance(v, str) for v in value)):
            shown[name] = value
    return shown


def _name(task: str, entry: View) -> str:
    if "message" in entry:
        return f"mq9-{entry['message']}"
    return _said_at(task, entry["at"], entry["parts"])


def _said_at(task: str, at: str, parts: list[View]) -> str:
    """Names a status message: its time and words are all that every look at it has."""
    said = f"{task}/{at}/".encode() + _encode(parts)
    return "mq9-" + hashlib.blake2b(said, digest_size=12).hexdigest()


def task_of(view: View, said: list[View], most: int | None) -> View:
    """A task with the last ``most`` messages; the one of its status is not repeated among them."""
    status: View = {"state": STATES[view["state"]], "timestamp": view["updated_at"]}
    entries = list(said)
    word = view.get("status_message")
    if word is not None:
        found = [entry for entry in entries if entry["kind"] == "status"][-1:]
        entries = [entry for entry in entries if entry not in found]
        last = found[0] if found else {**word, "at": word["created_at"], "kind": "status"}
        status["message"] = message_of(view, last)
    task: View = {"id": view["id"], "contextId": view["session"], "status": status}
    if view["artifacts"]:
        task["artifacts"] = [artifact_of(one) for one in view["artifacts"]]
    shown = entries if most is None else entries[len(entries) - most :] if most < len(entries) else entries
    if shown:
        task["history"] = [message_of(view, entry) for entry in shown]
    if "progress" in view:
        task["metadata"] = {PROGRESS: view["progress"]}
    return task


def new_task(receipt: View, message: View) -> View:
    """A task that was just opened: what it holds is what its first message said."""
    session = receipt["session"] or own_session(receipt["id"])
    message = {**message, "taskId": receipt["task"], "contextId": session}
    status = {"state": STATES["submitted"], "timestamp": receipt["stored_at"]}
    return {"id": receipt["task"], "contextId": session, "status": status, "history": [message]}


def direct_reply(view: View, said: list[View]) -> View | None:
    """The bare message with which a worker answered, if it gave no other account of the task."""
    last = said[-1] if said else None
    if view["state"] != "completed" or last is None or last["kind"] != "status":
        return None
    if "message" not in last and _envelope(last.get("parts", [])).get("direct") is not True:
        return None
    message = message_of(view, last)
    del message["taskId"]
    return message


def artifact_of(artifact: View) -> View:
    """``Artifact``."""
    shown: View = {"artifactId": artifact["artifact_id"]}
    if "name" in artifact:
        shown["name"] = artifact["name"]
    return shown | {"parts": artifact["parts"]}


def event_of(task: View, entry: View) -> View | None:
    """What a follower of ``task`` is told of an entry of its history: a ``StreamResponse``, or nothing."""
    kind = entry["kind"]
    about = {"taskId": task["id"], "contextId": task["session"]}
    if kind == "artifact":
        piece = entry["artifact"]
        event: View = {**about, "artifact": artifact_of(piece)}
        if piece.get("append"):
            event["append"] = True
        if piece.get("last_chunk"):
            event["lastChunk"] = True
        return {"artifactUpdate": event}
    if kind in ("checkpoint", "follow_up", "ask_cancel") or (
        kind == "progress" and entry["state"] != "working"
    ):
        return None
    if kind == "message" and entry["from"] == task["asker"]:
        return None
    status: View = {"state": STATES[entry["state"]], "timestamp": entry["at"]}
    if "parts" in entry and kind in ("status", "message"):
        status["message"] = message_of(task, entry)
    event = {**about, "status": status}
    if kind == "progress":
        event["metadata"] = {PROGRESS: entry["progress"]}
    return {"statusUpdate": event}


def numbered(event: View, number: int) -> View:
    """The event with its number, for a client that asked for them."""
    [(name, value)] = event.items()
    metadata = {**value.get("metadata", {}), NUMBERS: {"number": number}}
    return {name: {**value, "metadata": metadata}}
