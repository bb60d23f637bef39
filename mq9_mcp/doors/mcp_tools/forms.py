"""How messages, tasks and agents look to a model: one line of the broker's words, the rest fenced."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mq9_mcp.doors.mcp_tools.fence import Fence, as_json, in_line, word

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
_PART = ("text", "data", "raw", "url")
_ENTRY = ("task", "state", "number", "at", "from", "kind")
_TASK = ("version", "mailbox", "asker", "worker")
_KNOWN = frozenset(
    {"id", "state", "session", "progress", "status_message", "artifacts", "history"} | {*_TASK}
)
_KNOWN |= {"created_at", "updated_at", "cancel_requested"}
_AGENT = ("status", "mailbox", "version", "load", "score")


def message(view: View, fence: Fence, full: bool) -> Iterator[str]:
    """A message: who sent it and under which lease, then what was written."""
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


def receipt(view: View, fence: Fence, full: bool) -> Iterator[str]:
    """What became of a message that was sent."""
    line = f"message {view['id']} in {view['mailbox']}: "
    line += "known already, nothing was stored again" if view["duplicate"] else "stored"
    more = [f"{name} {word(view[name])}" for name in ("task", "reached") if word(view.get(name))]
    yield "; ".join([line, *more])
    if "routed" in view:
        yield from agent({"name": view["routed"]["agent"], **view["routed"]}, fence, full)
    if "reply" in view:
        yield "the reply:"
        yield from message(view["reply"], fence, full)


def result(view: View, fence: Fence, full: bool) -> Iterator[str]:
    """What became of a lease that was settled."""
    name = f"message {view['id']}" if "id" in view else "a lease"
    if not view["ok"]:
        error = view["error"]
        hint = f" Next: {error['hint']}." if error.get("hint") else ""
        yield f"{name}: {view['outcome']} refused: {error['code']}: {error['message']}.{hint}"
        return
    until = f"; leased until {view['leased_until']}" if "leased_until" in view else ""
    yield f"{name}: {view['outcome']} done{until}"
    for follow_up in view.get("follow_ups", ()):
        yield from message(follow_up, fence, full)


def entry(view: View, fence: Fence, full: bool) -> Iterator[str]:
    """A message of a conversation, or a state that a task came to in it."""
    if "parts" in view:
        yield from message(view, fence, full)
        return
    rest = {name: one for name, one in view.items() if name not in _ENTRY}
    line = [f"{name} {word(view[name])}" for name in ("number", "at", "from") if word(view.get(name))]
    yield "; ".join([f"task {word(view.get('task'))}: {word(view.get('state'))}", *line])
    if rest:
        yield fence.around("agents and people", as_json(rest))


def task(view: View, fence: Fence, full: bool) -> Iterator[str]:
    """A task: how it stands, then what its worker said and made."""
    if "id" not in view:  # of an update within an ack
        yield from update(view, fence, full)
        return
    line = [f"task {word(view['id'])}: {word(view.get('state'))}"]
    shown = (*_TASK, "created_at", "updated_at") if full else _TASK
    line += [f"{name} {word(view[name])}" for name in shown if word(view.get(name))]
    if view.get("cancel_requested"):
        line.append("cancel requested")
    session = view.get("session")
    if own_session(session):
        line.append(f"session {session}")
    yield "; ".join(line)
    written = [] if own_session(session) or session is None else [f"session: {in_line(session)}"]
    written += _of_task(view, full)
    if written:
        yield fence.around(word(view.get("worker")) or "agents and people", "\n".join(written))


def _of_task(view: View, full: bool) -> Iterator[str]:
    """What was said and made in a task."""
    if "progress" in view:
        yield f"progress: {in_line(view['progress'])}"
    said = view.get("status_message")
    if isinstance(said, dict):
        yield f"{in_line(said.get('from'))} said:"
        for part in said.get("parts", ()):
            yield from _part(part, full)
    for artifact in view.get("artifacts", ()):
        about = {name: one for name, one in artifact.items() if name != "parts"}
        yield f"artifact {in_line(about)}" + (":" if artifact.get("parts") else "")
        for part in artifact.get("parts", ()):
            yield from _part(part, full)
    for one in view.get("history", ()):
        yield f"history: {in_line(one)}"
    rest = {name: one for name, one in view.items() if name not in _KNOWN and not isinstance(one, bool)}
    if said is not None and not isinstance(said, dict):
        rest["status_message"] = said
    if rest:
        yield as_json(rest)


def update(view: View, fence: Fence, full: bool) -> Iterator[str]:
    """What became of an update of a task within an ack."""
    until = f"; leased until {view['leased_until']}" if "leased_until" in view else ""
    yield f"task {word(view.get('task'))}: updated{until}"
    for follow_up in view.get("follow_ups", ()):
        yield from message(follow_up, fence, full)


def agent(view: View, fence: Fence, full: bool) -> Iterator[str]:
    """An agent: how it is and how well it fits, then what it says of itself."""
    line = [f"agent {word(view['name'])}"]
    line += [f"{name} {word(view[name])}" for name in _AGENT if word(view.get(name))]
    yield "; ".join(line)
    card = view.get("card")
    rest = {name: one for name, one in view.items() if name not in ("name", "card", *_AGENT)}
    written = [f"{name}: {in_line(one)}" for name, one in rest.items()]
    if full and card is not None:
        written.append(f"card: {as_json(card)}")
    elif isinstance(card, dict):
        written += _of_card(card)
    if written:
        yield fence.around(word(view["name"]) or "agents and people", "\n".join(written))


def _of_card(card: View) -> Iterator[str]:
    """What an agent can do, in short."""
    if card.get("description"):
        yield f"description: {card['description']}"
    for skill in card.get("skills", ()):
        yield f"skill {skill.get('name')}: {skill.get('description')}"


def fits(name: str, view: View) -> bool:
    """``view`` has what the form of ``name`` rests on; other things of that name are shown as data."""
    needed = {"agent": ("name",), "task": ("id", "state")}.get(name, ())
    return all(one in view for one in needed)


def own_session(session: Any) -> bool:
    """The session that a message has of its own: its name is the broker's."""
    return isinstance(session, str) and re.fullmatch(r"mq9\.[0-9]{1,20}", session) is not None
