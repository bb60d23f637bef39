"""A reply as people read it; what has no view of its own is shown by its shape, so new commands are too."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mq9_mcp.cli.printing import clean, cut, print_fields, print_table, print_text
from mq9_mcp.domain.clock import read_time

WORDS_WIDTH = 60
Thing = dict[str, Any]
Column = tuple[str, Callable[[Thing], str]]

_LONG_AGO = "1970-01-01T00:00:00Z"
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def show(reply: Thing) -> None:
    """Write the reply of any command."""
    fields: list[tuple[str, str]] = []
    for name, value in reply.items():
        if name in _VIEWS:
            _VIEWS[name](value)
        elif isinstance(value, list):
            _show_list(name, value)
        elif isinstance(value, dict):
            fields += _flat({key: one for key, one in value.items() if key != "history"})
        else:
            fields.append((name.replace("_", " "), cell(value)))
    print_fields(fields)
    if history := reply.get("task", {}).get("history"):
        show_table("history", history, HISTORY)


def age(at: str) -> str:
    """How long ago a time of the wire is, in one unit: ``3m``; ``in 2h`` if it is still to come."""
    seconds = time.time() - read_time(at, "time") / 1000
    unit, letter = next((one for one in _UNITS if abs(seconds) >= one[0]), (1, "s"))
    shown = f"{round(abs(seconds)) // unit}{letter}"
    return f"in {shown}" if seconds <= -1 else shown


def first_words(message: Thing, width: int = WORDS_WIDTH) -> str:
    """What a message says, on one line."""
    return cut(" ".join(_part(part) for part in message.get("parts", ())), width)


def cell(value: Any) -> str:
    """A value in a table."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return str(value)


def show_messages(messages: Sequence[Thing]) -> None:
    """Messages: those that are leased at length, others a line each."""
    leased = [one for one in messages if "lease" in one]
    for message in leased:
        show_message(message)
    if not leased:
        show_table("messages", messages, MESSAGE)


def show_message(message: Thing) -> None:
    """One message with everything that its reader needs."""
    head = [f"{message['id']}", f"from {message['from']}", f"{age(message['created_at'])} old"]
    if message["priority"] != "normal":
        head.append(message["priority"])
    if "attempt" in message:
        head.append(f"attempt {message['attempt']}")
    print(clean(", ".join(head)))
    for name in ("tags", "session", "task", "task_state", "checkpoint", "reply_to", "leased_until", "lease"):
        if name in message and message[name] != []:
            print(f"  {name.replace('_', ' ')}: {clean(cell(message[name]))}")
    if "question" in message:
        print("  question:")
        _show_parts(message["question"], "  ? ")
    _show_parts(message, "  | ")
    show_follow_ups(message.get("follow_ups", ()))


def show_follow_ups(messages: Sequence[Thing]) -> None:
    """What was said to a worker meanwhile."""
    for one in messages:
        print(clean(f"  follow-up {one['id']}, from {one['from']}, {age(one['created_at'])} old"))
        _show_parts(one, "  + ")


def _show_parts(message: Thing, indent: str) -> None:
    for part in message.get("parts", ()):
        print_text(_part(part), indent)


def _part(part: Thing) -> str:
    """A part as text; bytes and addresses are named."""
    if "text" in part:
        return str(part["text"])
    if "data" in part:
        return cell(part["data"]) if isinstance(part["data"], dict | list) else json.dumps(part["data"])
    name = part.get("filename", "")
    kind = part.get("mediaType", "")
    raw = part.get("raw", "")
    what = part.get("url", f"{len(raw) * 3 // 4 - raw[-2:].count('=')} bytes")
    return f"<{' '.join(filter(None, (name, kind, what)))}>"


def state_of(message: Thing, group: str | None = None) -> str:
    """Where a message stands: in one group, or in each."""
    if not message.get("deliveries"):  # no group has been here
        return (
            "delayed"
            if read_time(message.get("deliver_at", _LONG_AGO), "time") > time.time() * 1000
            else "waiting"
        )
    states = [
        one["state"] if one["group"] == (group or "default") else f"{one['group']}: {one['state']}"
        for one in message.get("deliveries", ())
        if group in (None, one["group"])
    ]
    return ", ".join(states)


MESSAGE: Sequence[Column] = (
    ("id", lambda one: str(one["id"])),
    ("age", lambda one: age(one["created_at"])),
    ("from", lambda one: str(one["from"])),
    ("priority", lambda one: str(one["priority"])),
    ("state", state_of),
    ("text", first_words),
)
MAILBOX: Sequence[Column] = (
    ("address", lambda one: str(one["address"])),
    ("unsettled", lambda one: str(one["counts"]["unsettled"])),
    ("delayed", lambda one: str(one["counts"]["delayed"])),
    ("settled", lambda one: str(one["counts"]["settled"])),
    ("groups", lambda one: str(one["counts"]["groups"])),
    ("owner", lambda one: str(one["owner"])),
)

INBOX: Sequence[Column] = tuple(column for column in MESSAGE if column[0] != "state")
LETTER: Sequence[Column] = (
    ("letter", lambda one: str(one["id"])),
    ("died", lambda one: age(str(_death(one).get("last_attempt_at") or one["created_at"]))),
    ("message", lambda one: cell(_death(one).get("id"))),
    ("group", lambda one: cell(_death(one).get("group"))),
    ("attempts", lambda one: cell(_death(one).get("attempts"))),
    ("reason", lambda one: cut(cell(_death(one).get("reason")), 40)),
    ("from", lambda one: str(one["from"])),
    ("text", first_words),
)


def _where(task: Thing) -> str:
    """How far a task is, in the words of its worker."""
    said = first_words(task.get("status_message", {}))
    progress = task.get("progress", {})
    done = "/".join(cell(progress[name]) for name in ("done", "total") if name in progress)
    return " ".join(filter(None, (done, said or cut(cell(progress.get("note")), WORDS_WIDTH))))


TASK: Sequence[Column] = (
    ("id", lambda one: str(one["id"])),
    ("state", lambda one: str(one["state"]) + (" (cancel asked)" if one["cancel_requested"] else "")),
    ("mailbox", lambda one: str(one["mailbox"])),
    ("asker", lambda one: str(one["asker"])),
    ("worker", lambda one: cell(one.get("worker"))),
    ("changed", lambda one: age(one["updated_at"])),
    ("so far", _where),
)
AGENT: Sequence[Column] = (
    ("name", lambda one: str(one["name"])),
    ("status", lambda one: str(one["status"])),
    ("load", lambda one: cell(one.get("load"))),
    ("score", lambda one: cell(one.get("score"))),
    ("reason", lambda one: cell(one.get("reason"))),
    ("description", lambda one: cut(cell(one.get("card", {}).get("description")), WORDS_WIDTH)),
)
ENTRY: Sequence[Column] = (
    ("age", lambda one: age(one.get("created_at") or one["at"])),
    ("from", lambda one: str(one["from"])),
    ("to", lambda one: cell(one.get("mailbox"))),
    ("id", lambda one: cell(one.get("id"))),
    ("what", lambda one: first_words(one) if one["kind"] == "message" else f"{one['task']}: {one['state']}"),
)


def entry_words(entry: Thing, width: int = WORDS_WIDTH) -> str:
    """What an entry of a task's history says, on one line."""
    words: list[str] = []
    if "progress" in entry:
        words.append(progress_words(entry["progress"], width))
    elif "artifact" in entry:
        artifact = entry["artifact"]
        words += [artifact.get("name", artifact["artifact_id"]), first_words(artifact, width)]
    elif "checkpoint" in entry:
        words.append(cut(cell(entry["checkpoint"]), width))
    elif "parts" in entry:
        words.append(first_words(entry, width))
    if "reason" in entry:
        words.append(f"({entry['reason']})")
    return " ".join(filter(None, words))


def progress_words(progress: Thing, width: int = WORDS_WIDTH) -> str:
    """How far a worker says that it is."""
    done = cell(progress.get("done", ""))
    total = f"/{cell(progress['total'])}" if "total" in progress else ""
    return " ".join(filter(None, (done + total, cut(progress.get("note", ""), width))))


HISTORY: Sequence[Column] = (
    ("entry", lambda one: str(one["number"])),
    ("age", lambda one: age(one["at"])),
    ("state", lambda one: str(one["state"])),
    ("what", lambda one: str(one["kind"])),
    ("from", lambda one: str(one["from"])),
    ("words", entry_words),
)


def _death(message: Thing) -> Thing:
    found: Thing = message.get("dead_letter", {})
    return found


def show_table(name: str, things: Sequence[Thing], columns: Sequence[Column]) -> None:
    """Things of one kind, a line each; or that there are none."""
    if things:
        print_table([head for head, _ in columns], [[value(one) for _, value in columns] for one in things])
    else:
        print(f"no {name.replace('_', ' ')}")


def _show_list(name: str, things: list[Any]) -> None:
    """A list of any kind: things with their names as columns, or values a line each."""
    if all(isinstance(one, dict) for one in things):
        heads = dict.fromkeys(key for one in things for key in one)
        if things or name not in _SILENT:
            show_table(name, things, [(head.replace("_", " "), _getter(head)) for head in heads])
    elif things:
        print_fields([(name.replace("_", " "), ", ".join(map(cell, things)))])


def _getter(name: str) -> Callable[[Thing], str]:
    return lambda one: _refusal(one[name]) if name == "error" and name in one else cell(one.get(name))


def _refusal(error: Thing) -> str:
    """What went wrong with one item, and what to do about it."""
    hint = f" (hint: {error['hint']})" if error.get("hint") else ""
    return f"{error['code']}: {error['message']}{hint}"


def _flat(thing: Thing, prefix: str = "") -> Iterable[tuple[str, str]]:
    """A thing as names and values, those of things within it behind their name and a dot."""
    for name, value in thing.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", cell(value)


def _more(count: int) -> None:
    if count:
        print(f"{count if count < 1000 else '1,000 or'} more")


def _show_tasks(things: list[Any]) -> None:
    """Tasks of a list a line each; those that a call moved by their shape."""
    if all("state" in one for one in things):
        show_table("tasks", things, TASK)
    else:
        _show_list("tasks", things)


# What has a view of its own, by its name in a reply.
_VIEWS: dict[str, Callable[[Any], None]] = {
    "messages": show_messages,
    "mailboxes": lambda things: show_table("mailboxes", things, MAILBOX),
    "tasks": _show_tasks,
    "agents": lambda things: show_table("agents", things, AGENT),
    "follow_ups": show_follow_ups,
    "entries": lambda things: show_table("entries", things, ENTRY),
    "remaining": _more,
}
_SILENT = frozenset({"cancel_requested", "skipped"})  # worth a word only if there are any
