"""From events to bells: which mailboxes have something new, and how far a watched message has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mq9_mcp.domain import events as e
from mq9_mcp.domain import push_events as push
from mq9_mcp.domain.names import DEFAULT_GROUP
from mq9_mcp.domain.state import State
from mq9_mcp.engine.base import Listener


def tell(listener: Listener, watched: set[int], state: State, events: list[e.Event]) -> None:
    """Tell ``listener`` what ``events``, applied to ``state`` by now, mean to those who wait."""
    for event in events:
        ring = _RINGS.get(type(event))
        if ring is not None:
            ring(listener, state, event)
        if watched:
            _moved(listener, watched, state, event)


def _sent(listener: Listener, state: State, event: e.Sent) -> None:
    _stored(listener, state, event.mails, event.at)
    if event.withdrawn or event.superseded:
        for number in {mail.mailbox for mail in event.mails}:
            _unblocked(listener, state, number, len(event.withdrawn) + len(event.superseded))


def _due(listener: Listener, state: State, event: e.Due) -> None:
    listener.arrived(state.mailboxes[event.mailbox].address, len(event.ids))
    _unblocked(listener, state, event.mailbox, len(event.withdrawn) + len(event.superseded))


def _redriven(listener: Listener, state: State, event: e.Redriven) -> None:
    _stored(listener, state, event.mails, event.at)


def _free_again(listener: Listener, state: State, event: e.Released | e.Lapsed) -> None:
    group = state.groups.get(event.group)
    if group is not None:
        listener.arrived(group.mailbox.address, len(event.ids), group.name)


def _group_made(listener: Listener, state: State, event: e.GroupMade) -> None:
    """A group that was reset while somebody waits in it."""
    group = state.groups[event.group]
    history = group.history.count if group.history else 0
    listener.arrived(group.mailbox.address, group.line.waiting_count() + history, group.name)


def _settled(listener: Listener, state: State, event: e.Acked | e.Closed | e.Died) -> None:
    group = state.groups.get(event.group) if event.group is not None else None
    if group is not None:
        _unblocked(listener, state, group.mailbox.number, len(getattr(event, "ids", "1")), group.name)


def _died(listener: Listener, state: State, event: e.Died) -> None:
    _stored(listener, state, [event.copy], event.at)
    _settled(listener, state, event)


def _gone(listener: Listener, state: State, event: e.Expired | e.Deleted) -> None:
    _unblocked(listener, state, event.mailbox, len(event.ids) + len(getattr(event, "held", ())))


def _unblocked(listener: Listener, state: State, mailbox: int, count: int, group: str | None = None) -> None:
    """So many messages are done with: where order is by session, what follows them may be free now."""
    found = state.mailboxes[mailbox]
    if count and found.settings.ordered_by:
        listener.arrived(found.address, count, group)


def _task_moved(listener: Listener, state: State, event: e.TaskMoved) -> None:
    if event.steps:
        task = state.tasks.get(event.task)
        listener.task_moved(event.task, task.worker if task is not None and task.news else None)


def _push_set(listener: Listener, _: State, event: push.PushSet) -> None:
    """Whoever posts has something to do."""
    listener.task_moved(event.task, None)


def _stored(listener: Listener, state: State, mails: list[e.Mail], at: int) -> None:
    number, count = 0, 0
    for mail in mails:
        if mail.visible_at > at:
            continue
        if mail.mailbox != number:
            if count:
                listener.arrived(state.mailboxes[number].address, count)
            number, count = mail.mailbox, 0
        count += 1
    if count:
        listener.arrived(state.mailboxes[number].address, count)


def _moved(listener: Listener, watched: set[int], state: State, event: e.Event) -> None:
    """Report what happens to watched messages in the group ``default``, or to all of their groups."""
    group = getattr(event, "group", None)
    rung = event.state if isinstance(event, e.Closed) else _RUNGS.get(type(event))
    if rung is not None:
        ids = getattr(event, "ids", None) or [getattr(event, "id", 0)]
        known = state.groups.get(group) if group is not None else None
        if known is None or known.name == DEFAULT_GROUP:
            for id in watched.intersection(ids):
                listener.moved(id, rung)
    for id in watched.intersection(getattr(event, "withdrawn", ())):
        listener.moved(id, "withdrawn")
    if isinstance(event, e.Sent):
        for id in watched.intersection(event.joined):
            listener.moved(id, "acked")
        for original, reply in event.answers:
            if original in watched:
                listener.moved(original, "replied", reply)
    elif isinstance(event, e.MailboxDropped):
        for id in [id for id in watched if id not in state.mails]:
            listener.moved(id, "canceled")


_RINGS: dict[type[e.Event], Callable[[Listener, State, Any], None]] = {
    e.Sent: _sent,
    e.Due: _due,
    e.Redriven: _redriven,
    e.Released: _free_again,
    e.Lapsed: _free_again,
    e.GroupMade: _group_made,
    e.Acked: _settled,
    e.Closed: _settled,
    e.Died: _died,
    e.Expired: _gone,
    e.Deleted: _gone,
    e.TaskMoved: _task_moved,
    push.PushSet: _push_set,
}

_RUNGS: dict[type[e.Event], str] = {
    e.Leased: "leased",
    e.Acked: "acked",
    e.Died: "dead",
    e.Expired: "expired",
    e.Deleted: "canceled",
}
