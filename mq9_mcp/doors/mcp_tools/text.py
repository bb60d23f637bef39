"""A reply as text for a model: short lines for what the broker says, fences around what others wrote.

``concise`` leaves out what rarely matters and cuts very long texts; ``full`` shows everything. What has no
form of its own here is shown as fenced JSON, so that a new command is safe from the first day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.doors.mcp_tools.fence import Fence, as_json, word

View = dict[str, Any]
TEXT_CHARACTERS = 8_000  # of one part in a concise text: a model's reply is to leave room for its work
_HEAD = (
    "id",
    "mailbox",
    "from",
    "verified",
    "parts",
    "lease",
    "leased_until",
    "attempt",
    "fence",
    "priority",
)
_BROKERS = ("task", "task_state", "in_reply_to", "created_at", "deliver_at", "expires_at")
_SENDERS = ("session", "reply_to", "tags", "dead_letter", "checkpoint", "question")
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
_PART = ("text", "data", "raw", "url")


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


def _message(view: View, fence: Fence, full: bool) -> Iterator[str]:
    sender = f"{word(view['from']) or 'somebody'} ({'' if view['verified'] else 'not '}verified)"
    head = [f"message {view['id']} in {view['mailbox']} from {sender}, {view['priority']}"]
    brokers = _BROKERS if full else [name for name in _BROKERS if name != "created_at"]
    head += [f"{name} {word(view[name])}" for name in brokers if word(view.get(name))]
    if view.get("attempt", 1) > 1:
        head.append(f"attempt {view['attempt']}")
    yield "; ".join(head)
    if "lease" in view:
        yield f"lease {view['lease']} until {view['leased_until']}, fence {view['fence']}"
    for one in view.get("deliveries", ()):
        yield f"group {as_json(one['group'])}: {one['state']}, attempt {one['attempt']}"
    yield fence.around(sender, "\n".join(_written(view, full)))


def _written(view: View, full: bool) -> Iterator[str]:
    """What the sender wrote."""
    for name in _SENDERS:
        if view.get(name):
            yield f"{name}: {as_json(view[name])}"
    if full:
        rest = {name: one for name, one in view.items() if name not in (*_HEAD, *_BROKERS, *_SENDERS)}
        rest.pop("deliveries", None)
        if rest:
            yield as_json(rest)
    for part in view["parts"]:
        yield from _part(part, full)


def _part(part: View, full: bool) -> Iterator[str]:
    about = {name: one for name, one in part.items() if name not in _PART}
    if about:
        yield as_json(about)
    if "text" in part:
        yield _cut(part["text"], full)
    elif "data" in part:
        yield _cut(as_json(part["data"]), full)
    elif "url" in part:
        yield f"url: {part['url']}"
    elif full:
        yield f"base64: {part['raw']}"
    else:
        yield f'[{len(part["raw"]) * 3 // 4} bytes; detail="full" shows them in base64]'


def _cut(text: str, full: bool) -> str:
    if full or len(text) <= TEXT_CHARACTERS:
        return text
    left = len(text) - TEXT_CHARACTERS
    rest = f'[{left} characters more; mailbox_query(ids=[...], detail="full") shows all]'
    return f"{text[:TEXT_CHARACTERS]}\n{rest}"


def _receipt(view: View, fence: Fence, full: bool) -> Iterator[str]:
    line = f"message {view['id']} in {view['mailbox']}: "
    line += "known already, nothing was stored again" if view["duplicate"] else "stored"
    more = [f"{name} {word(view[name])}" for name in ("task", "reached") if word(view.get(name))]
    yield "; ".join([line, *more])
    if "routed" in view:
        yield from _field("routed", view["routed"], fence, full)
    if "reply" in view:
        yield "the reply:"
        yield from _message(view["reply"], fence, full)


def _result(view: View, fence: Fence, full: bool) -> Iterator[str]:
    name = f"message {view['id']}" if "id" in view else "a lease"
    if not view["ok"]:
        error = view["error"]
        hint = f" Next: {error['hint']}." if error.get("hint") else ""
        yield f"{name}: {view['outcome']} refused: {error['code']}: {error['message']}.{hint}"
        return
    until = f"; leased until {view['leased_until']}" if "leased_until" in view else ""
    yield f"{name}: {view['outcome']} done{until}"
    for follow_up in view.get("follow_ups", ()):
        yield from _message(follow_up, fence, full)


def _entry(view: View, fence: Fence, full: bool) -> Iterator[str]:
    if "parts" in view:
        yield from _message(view, fence, full)
    else:
        yield fence.around("agents and people", as_json(view))


_FORMS: dict[str, Callable[[View, Fence, bool], Iterator[str]]] = {
    "messages": _message,
    "follow_ups": _message,
    "entries": _entry,
    "receipts": _receipt,
    "results": _result,
}
