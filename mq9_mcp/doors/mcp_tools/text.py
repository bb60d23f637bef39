"""A reply as text for a model: short lines for what the broker says, fences around what others wrote.

``concise`` leaves out what rarely matters and cuts very long texts; ``full`` shows everything. What has no
form of its own here is shown as fenced JSON, so that a new command is safe from the first day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.doors.mcp_tools.fence import Fence, as_json, word
from mq9_mcp.doors.mcp_tools.forms import agent, entry, fits, message, receipt, result, task

View = dict[str, Any]
# Whose words are the broker's own, or the names of mailboxes and callers: only these stand outside.
_PLAIN = frozenset(
    {
        "id",
        "name",
        "address",
        "mailbox",
        "owner",
        "asker",
        "worker",
        "agent",
        "task",
        "letter",
        "state",
        "status",
    }
    | {"created_at", "updated_at", "expires_at", "fetched_at", "stored_at", "leased_until"}
    | {"next_cursor", "next_after", "cancel_requested", "unregistered", "dropped", "code"}
)
_COUNTED = ("counts", "settings", "waiting")  # objects that hold no word of a caller
_FULL_ONLY = ("settings",)


def shown(reply: View, full: bool) -> str:
    """The text of a reply."""
    fence = Fence(reply)
    lines: list[str] = []
    for name, value in reply.items():
        lines += _field(name, value, fence, full)
    if fence.used:
        lines.insert(0, fence.rule)
    return "\n".join(lines)


def refused(tool: str, error: Mq9Error) -> str:
    """What is wrong, what is accepted, and what to call next."""
    hint = error.hint
    if error.code == "INVALID_ARGUMENT":  # nothing was done, so a model may simply try again
        hint = f"{hint or 'provide an accepted value'} and retry {tool}"
    return f"{error.code}: {error.message}." + (f" Next: {hint}." if hint else "")


def _field(name: str, value: Any, fence: Fence, full: bool) -> Iterator[str]:
    form = _FORMS.get(name)
    if form is not None and isinstance(value, dict) and fits(name, value):
        yield from form(value, fence, full)
        return
    if form is not None and isinstance(value, list):
        if not value:
            yield f"{name}: none"
        for one in value:
            yield from form(one, fence, full)
        return
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        for one in value:
            yield from _thing(name, one, fence, full)
    elif isinstance(value, dict):
        yield from _thing(name, value, fence, full)
    else:
        yield from _words(name, value, fence)


def _words(name: str, value: Any, fence: Fence) -> Iterator[str]:
    """A value, or a list of them, on one line if all are plain words."""
    words = [_plain(name, one) for one in (value if isinstance(value, list) else [value])]
    if None in words:
        yield f"{name}:"
        yield fence.around("agents and people", as_json(value))
    else:
        yield f"{name}: {', '.join(filter(None, words)) or 'none'}"


def _thing(name: str, view: View, fence: Fence, full: bool) -> Iterator[str]:
    """An object: plain words in one line, what the broker counts behind them, all else fenced."""
    kept = {key: one for key, one in view.items() if full or key not in _FULL_ONLY}
    plain = {key: _plain(key, one) for key, one in kept.items() if word(key) and _plain(key, one) is not None}
    yield f"{name}: " + "; ".join(f"{key} {one}" for key, one in plain.items())
    rest = {}
    for key, one in kept.items():
        if key in _COUNTED and isinstance(one, dict):
            yield f"  {key}: " + ", ".join(f"{part} {count}" for part, count in one.items())
        elif key not in plain and one != []:
            rest[key] = one
    if rest:
        yield fence.around("agents and people", as_json(rest))


def _plain(name: str, value: Any) -> str | None:
    """``value`` as it may stand outside of a fence: a caller's word, be it a single one, may not."""
    return word(value) if name in _PLAIN or not isinstance(value, str) else None


_FORMS: dict[str, Callable[[View, Fence, bool], Iterator[str]]] = {
    "messages": message,
    "follow_ups": message,
    "entries": entry,
    "receipts": receipt,
    "results": result,
    "tasks": task,
    "task": task,
    "agents": agent,
    "agent": agent,
}
