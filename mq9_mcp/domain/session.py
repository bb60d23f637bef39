"""Sessions: who may join one, when it takes no more messages, and how people end and reopen it.

A session is checked where a caller sends into it, and nowhere else: what is stored is delivered and
settled whatever becomes of its session (contract, section 5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from mq9_mcp.domain import events as e
from mq9_mcp.domain.access import owns
from mq9_mcp.domain.clock import wire_time
from mq9_mcp.domain.commands import SessionClose, SessionReopen
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.names import BROKER_PREFIX, own_session, read_own_session
from mq9_mcp.domain.plan import PagedMessage, Plan
from mq9_mcp.domain.session_memory import TURNS_MAX, status, turns_max
from mq9_mcp.domain.state import State
from mq9_mcp.domain.task import Task

TURNS_MOST = limit("turns_max_most")


# --- sending into a session


def take_turn(
    plan: Plan,
    records: list[e.SessionRecord],
    turns: dict[str, int],
    name: str,
    original: PagedMessage | None,
) -> None:
    """Count one message of this call in the session, or refuse it; every copy of a fan-out is a message.

    ``turns``: what is left in the sessions that the call has joined. ``records`` gets what memory lacks.
    """
    left = turns.get(name)
    if left is None:
        left = _join(plan, records, name, original)
    if left <= 0:
        raise _full(name, find(plan, name, original))
    turns[name] = left - 1


def _full(name: str, record: e.SessionRecord | None) -> Refused:
    """A session that is halted, or takes less than the call sends."""
    held, most = (record.turns, turns_max(record)) if record else (0, TURNS_MAX)
    why = f"the call has more than the {most - held} that it still takes" if held < most else "it is halted"
    return Refused(
        "LOOP_GUARD",
        f"session: {name!r} holds {held} messages, turns_max is {most}; {why}",
        "look at session_get for a loop; session_reopen raises turns_max; or use another session",
        session=name,
        turns=held,
        turns_max=most,
    )


def _join(plan: Plan, records: list[e.SessionRecord], name: str, original: PagedMessage | None) -> int:
    """How many messages a session takes that the caller may join; a name that nobody uses opens one."""
    record = find(plan, name, original)
    if record is None:
        if name.startswith(BROKER_PREFIX):
            raise no_session(name)
        return TURNS_MAX
    answers = original is not None and original.session == name  # holding a message is the grant to reply
    if not answers and plan.caller.name not in record.senders and not _reads(plan, record):
        raise no_session(name)
    if status(record, plan.now) == "closed":
        raise Refused(
            "SESSION_CLOSED",
            f"session: {name!r} is closed and takes no more messages",
            "name another session; with in_reply_to the message still is an answer",
            session=name,
        )
    _bring(plan, records, record)
    return turns_max(record) - record.turns


def _bring(plan: Plan, records: list[e.SessionRecord], record: e.SessionRecord) -> None:
    """Let memory have the record before a message of this plan joins the session; once is enough."""
    if record.name not in plan.brought and plan.state.sessions.get(record.name) is not record:
        plan.brought.add(record.name)
        records.append(record)


def first_message(task: Task) -> PagedMessage:
    """The message that opened a task: whoever may write to the task is in its session by it."""
    return PagedMessage(task.mailbox, task.asker, task.session or own_session(task.first), None, task.id)


def let_in(plan: Plan, sent: e.Sent, task: Task) -> None:
    """Let the notice in ``sent`` join its task's session, past the loop guard; one that is over stays so.

    What DuckDB alone remembers is not looked for: there the notice is no turn.
    """
    first = first_message(task)
    record = plan.state.sessions.get(first.session)
    if record is not None and (state := status(record, plan.now)) != "gone":
        sent.apart = state == "closed"
    elif plan.state.sessions.spilled or (
        task.session != own_session(task.first) and task.session is not None
    ):
        sent.apart = first.session not in plan.brought
    else:
        _bring(plan, sent.sessions, _alone(first, plan.now))


def _alone(first: PagedMessage, now: int) -> e.SessionRecord:
    """The session of a message before a second one joins."""
    return e.SessionRecord(first.session, 1, 0, now, (first.mailbox,), (first.sender,))


def find(plan: Plan, name: str, original: PagedMessage | None = None) -> e.SessionRecord | None:
    """The session's record, wherever it is; None if there is none, or none any more.

    A message's own session has no record before a second message joins: it is the message alone.
    """
    sessions = plan.state.sessions
    record = sessions.get(name)
    if record is None and sessions.spilled:
        record = plan.paged.sessions.get(name)
    if record is not None and status(record, plan.now) != "gone":
        return record
    own = read_own_session(name)
    if own is None:
        return None
    first = plan.paged.messages.get(own)
    if first is None and original is not None and original.session == name:
        first = original  # a dead letter is answered, and the message that died is gone
    if first is None or first.session != name:
        return None
    return _alone(first, plan.now)


def _reads(plan: Plan, record: e.SessionRecord) -> bool:
    """True if the caller may read a mailbox of the session."""
    mailboxes = plan.state.mailboxes
    return any(number in mailboxes and owns(plan.caller, mailboxes[number]) for number in record.mailboxes)


def no_session(name: str) -> Refused:
    """The refusal for a session that is not there, or that the caller takes no part in."""
    return Refused(
        "SESSION_NOT_FOUND",
        f"session: there is no session {name!r} that you sent to or read a mailbox of",
        "use the session of a message you hold, or a new name; names beginning with 'mq9.' are the broker's",
        session=name,
    )


# --- ending and reopening


def decide_close(plan: Plan, command: SessionClose) -> dict[str, Any]:
    """End a session; the reply is ``{session}``. One that is closed stays as it is."""
    record = _managed(plan, command.session)
    if status(record, plan.now) != "closed":
        plan.events.append(
            e.SessionClosed(
                at=plan.now,
                session=record.name,
                mailboxes=list(record.mailboxes),
                record=_unless_in_memory(plan, record),
            )
        )
        record = msgspec.structs.replace(record, closed=True, at=plan.now)
    return {"session": _view(plan, record)}


def decide_reopen(plan: Plan, command: SessionReopen) -> dict[str, Any]:
    """Let a closed or halted session take messages again, up to a limit; the reply is ``{session}``."""
    record = _managed(plan, command.session)
    most = command.turns_max or min(record.turns + TURNS_MAX, TURNS_MOST)
    if most <= record.turns:
        raise Refused(
            "INVALID_ARGUMENT",
            f"turns_max: {most}; accepted: more than the {record.turns} messages that the session "
            f"has seen, up to {TURNS_MOST}",
            "begin a new session" if record.turns >= TURNS_MOST else "give a larger turns_max",
            turns=record.turns,
        )
    plan.events.append(
        e.SessionReopened(
            at=plan.now,
            session=record.name,
            mailboxes=list(record.mailboxes),
            turns_max=most,
            record=_unless_in_memory(plan, record),
        )
    )
    record = msgspec.structs.replace(record, closed=False, at=plan.now, turns_max=most)
    return {"session": _view(plan, record)}


def _managed(plan: Plan, name: str) -> e.SessionRecord:
    """The session, if the caller reads a mailbox in it: who only sent to it may not end it for others."""
    record = find(plan, name)
    if record is not None:
        if _reads(plan, record):
            return record
        if plan.caller.name in record.senders:
            raise Refused(
                "FORBIDDEN",
                f"{plan.caller.name} sent to session {name!r}, but reads no mailbox in it",
                "ask a reader of the session",
            )
    raise no_session(name)


def _unless_in_memory(plan: Plan, record: e.SessionRecord) -> e.SessionRecord | None:
    return None if plan.state.sessions.get(record.name) is record else record


def _view(plan: Plan, record: e.SessionRecord) -> dict[str, Any]:
    mailboxes = [plan.state.mailboxes.get(number) for number in record.mailboxes]
    addresses = [box.address for box in mailboxes if box is not None and owns(plan.caller, box)]
    return record_view(record, addresses, plan.now)


def record_view(record: e.SessionRecord, addresses: list[str], now: int) -> dict[str, Any]:
    """A session as operators see it; ``addresses``: those of its mailboxes that the caller may know."""
    return {
        "id": record.name,
        "state": status(record, now),
        "mailboxes": sorted(addresses),
        "turns": record.turns,
        "turns_max": turns_max(record),
        "changed_at": wire_time(record.at),
    }


# --- applying


def _closed(state: State, event: e.SessionClosed) -> None:
    _know(state, event.record)
    state.sessions.close(event.session, event.at)


def _reopened(state: State, event: e.SessionReopened) -> None:
    _know(state, event.record)
    state.sessions.reopen(event.session, event.turns_max, event.at)


def _know(state: State, record: e.SessionRecord | None) -> None:
    if record is not None:
        state.sessions.keep(msgspec.structs.replace(record))


SESSION: dict[type[e.Event], Callable[[State, Any], None]] = {
    e.SessionClosed: _closed,
    e.SessionReopened: _reopened,
}
