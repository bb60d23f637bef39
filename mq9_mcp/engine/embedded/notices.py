"""From events to bells: which mailboxes have something new, and how far a watched message has come."""

from __future__ import annotations

from mq9_mcp.domain import events as e
from mq9_mcp.domain.names import DEFAULT_GROUP
from mq9_mcp.domain.state import State
from mq9_mcp.engine.base import Listener


def tell(listener: Listener, watched: set[int], state: State, events: list[e.Event]) -> None:
    """Tell ``listener`` what ``events``, applied to ``state`` by now, mean to those who wait."""
    for event in events:
        kind = type(event)
        if kind is e.Sent:
            assert isinstance(event, e.Sent)
            _stored(listener, state, event.mails, event.at)
        elif kind in _IN_GROUP:
            _freed(listener, state, event)
        elif isinstance(event, e.Due):
            listener.arrived(state.mailboxes[event.mailbox].address, len(event.ids))
        elif isinstance(event, e.Died):
            _stored(listener, state, [event.copy], event.at)
        elif isinstance(event, e.Redriven):
            _stored(listener, state, event.mails, event.at)
        if watched:
            _moved(listener, watched, state, event)


# After these a message of the group is free again, or others of its session, where that is the order.
_IN_GROUP = {e.Released, e.Lapsed, e.GroupMade, e.Acked, e.Closed, e.Died}
_UNBLOCKS = {e.Acked, e.Closed, e.Died}


def _freed(listener: Listener, state: State, event: Any) -> None:
    group = state.groups.get(event.group) if event.group is not None else None
    if group is None:
        return
    if isinstance(event, e.GroupMade):
        count = group.line.waiting_count() + (group.history.count if group.history else 0)
    elif type(event) in _UNBLOCKS and not group.mailbox.settings.ordered_by:
        return
    else:
        count = len(getattr(event, "ids", ())) or 1
    listener.arrived(group.mailbox.address, count, group.name)


def _unblocked(listener: Listener, state: State, event: e.Event) -> None:
    """Messages went from every group: in a mailbox ordered by session, others of theirs may be free."""
    ids = [
        id for name in ("ids", "held", "withdrawn", "superseded", "settled") for id in getattr(event, name, ())
    ]
    if isinstance(event, e.Sent):
        numbers = {mail.mailbox for mail in event.mails} if ids else set()
    else:
        numbers = {getattr(event, "mailbox", 0)}
    for number in numbers:
        mailbox = state.mailboxes.get(number)
        if mailbox is not None and ids and mailbox.settings.ordered_by:
            listener.arrived(mailbox.address, len(ids))


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
    rung = _RUNGS.get(type(event))
    if rung is not None:
        ids = getattr(event, "ids", None) or [getattr(event, "id", 0)]
        known = state.groups.get(group) if group is not None else None
        if known is None or known.name == DEFAULT_GROUP:
            for id in watched.intersection(ids):
                listener.moved(id, rung)
    for id in watched.intersection(getattr(event, "withdrawn", ())):
        listener.moved(id, "withdrawn")
    if isinstance(event, e.Sent):
        for original, reply in event.answers:
            if original in watched:
                listener.moved(original, "replied", reply)
    elif isinstance(event, e.MailboxDropped):
        for id in [id for id in watched if id not in state.mails]:
            listener.moved(id, "canceled")


_RUNGS: dict[type[e.Event], str] = {
    e.Leased: "leased",
    e.Acked: "acked",
    e.Died: "dead",
    e.Closed: "expired",
    e.Expired: "expired",
    e.Deleted: "canceled",
}
