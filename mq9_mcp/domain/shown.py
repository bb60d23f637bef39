"""Journal events as a caller may see them: names instead of numbers, no bodies, no secrets.

An event is shown to the owner of its mailbox; a message that was stored is shown to its sender too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from mq9_mcp.domain import events as e
from mq9_mcp.domain import push_events as push
from mq9_mcp.domain.clock import wire_time
from mq9_mcp.domain.commands import TIERS
from mq9_mcp.domain.past import GroupPlace, Place
from mq9_mcp.domain.state import Caller

View = dict[str, Any]


class Places(NamedTuple):
    """What the numbers in events stand for, as far as it is known."""

    mailboxes: dict[int, Place]
    groups: dict[int, GroupPlace]


class Looker(NamedTuple):
    """Who looks, and what it may know by name."""

    caller: Caller
    places: Places

    def own(self, mailbox: int | None) -> str | None:
        """The address of a mailbox that the caller owns, else None."""
        place = self.places.mailboxes.get(mailbox) if mailbox is not None else None
        return place.address if place is not None and place.owner == self.caller.principal else None

    def address(self, mailbox: int) -> str | None:
        """The address of any mailbox."""
        place = self.places.mailboxes.get(mailbox)
        return place.address if place is not None else None


def show(event: e.Event, caller: Caller, places: Places) -> View | None:
    """``event`` as ``caller`` may see it; None where it concerns others, or the broker alone."""
    view = _VIEWS[type(event)](Looker(caller, places), event)
    return None if view is None else {"event": event.__struct_config__.tag, **view}


def mailboxes_of(event: e.Event) -> Iterator[int]:
    """The numbers of the mailboxes that an event names."""
    mailbox = getattr(event, "mailbox", None)
    if mailbox is not None:
        yield mailbox
    yield from getattr(event, "mailboxes", ())
    for mail in getattr(event, "mails", ()):
        yield mail.mailbox
    if isinstance(event, e.Died):
        yield event.copy.mailbox


def groups_of(event: e.Event) -> Iterator[int]:
    """The numbers of the groups that an event names."""
    group = getattr(event, "group", None)
    if group is not None:
        yield group


def _filled(**fields: Any) -> View:
    """The fields that say something."""
    return {name: value for name, value in fields.items() if value not in (None, [])}


def _in_mailbox(looker: Looker, number: int, **fields: Any) -> View | None:
    address = looker.own(number)
    return None if address is None else _filled(mailbox=address, **fields)


def _in_group(looker: Looker, number: int, **fields: Any) -> View | None:
    group = looker.places.groups.get(number)
    if group is None:
        return None
    return _in_mailbox(looker, group.mailbox, group=group.name, **fields)


def _time(at: int | None) -> str | None:
    return None if at is None else wire_time(at)


def _nothing(_looker: Looker, _event: e.Event) -> None:
    """The broker's own business."""


def _mailbox_created(looker: Looker, event: e.MailboxCreated) -> View | None:
    if event.owner != looker.caller.principal:
        return None
    return _filled(mailbox=event.address, agent=event.agent or None, expires_at=_time(event.expires_at))


def _mailbox_updated(looker: Looker, event: e.MailboxUpdated) -> View | None:
    return _in_mailbox(looker, event.mailbox, expires_at=_time(event.expires_at))


def _mailbox_dropped(looker: Looker, event: e.MailboxDropped) -> View | None:
    return _in_mailbox(looker, event.mailbox, reason=event.reason)


def _group_made(looker: Looker, event: e.GroupMade) -> View | None:
    return _in_mailbox(looker, event.mailbox, group=event.name, settled=event.settled)


def _group_ended(looker: Looker, event: e.GroupEnded) -> View | None:
    return _in_group(looker, event.group, reason=event.reason, settled=event.settled)


def _group_seen(looker: Looker, event: e.GroupSeen) -> View | None:
    return _in_group(looker, event.group)


def _revived(looker: Looker, event: e.Revived) -> View | None:
    return _in_group(looker, event.group, ids=[mail.id for mail in event.mails])


def _stored(looker: Looker, mails: Iterable[e.Mail], at: int) -> list[View]:
    """The messages that the caller owns or sent."""
    return [
        _filled(
            id=mail.id,
            mailbox=address,
            **{"from": mail.sender},
            priority=TIERS[mail.tier],
            session=mail.session,
            deliver_at=_time(mail.visible_at) if mail.visible_at > at else None,
            expires_at=_time(mail.expires_at),
        )
        for mail in mails
        if (address := looker.own(mail.mailbox))
        or (mail.sender == looker.caller.name and (address := looker.address(mail.mailbox)))
    ]


def _sent(looker: Looker, event: e.Sent) -> View | None:
    messages = _stored(looker, event.mails, event.at)
    if not messages:
        return None
    seen = {message["id"] for message in messages}
    all_own = all(looker.own(mail.mailbox) for mail in event.mails)
    return _filled(
        messages=messages,
        answers=[{"id": answer, "in_reply_to": asked} for asked, answer in event.answers if answer in seen],
        withdrawn=event.withdrawn if all_own else None,
        superseded=event.superseded if all_own else None,
    )


def _leased(looker: Looker, event: e.Leased) -> View | None:
    until = wire_time(event.until)
    return _in_group(looker, event.group, ids=event.ids, worker=event.worker, leased_until=until)


def _some(looker: Looker, event: e.Acked | e.Released) -> View | None:
    return _in_group(looker, event.group, ids=event.ids)


def _nacked(looker: Looker, event: e.Nacked) -> View | None:
    until = wire_time(event.until)
    return _in_group(looker, event.group, ids=[event.id], reason=event.reason, waits_until=until)


def _extended(looker: Looker, event: e.Extended) -> View | None:
    return _in_group(looker, event.group, ids=event.ids, leased_until=wire_time(event.until))


def _lapsed(looker: Looker, event: e.Lapsed) -> View | None:
    return _in_group(looker, event.group, ids=event.ids, waits_until=_time(event.until or None))


def _closed(looker: Looker, event: e.Closed) -> View | None:
    return _in_group(looker, event.group, ids=[event.id], state=event.state, outcome=event.outcome)


def _died(looker: Looker, event: e.Died) -> View | None:
    group = looker.places.groups.get(event.group) if event.group is not None else None
    letter = event.copy.extra.letter if event.copy.extra is not None else None
    return _in_mailbox(
        looker,
        event.mailbox,
        group=group.name if group is not None else None,
        ids=[event.id],
        outcome=event.outcome,
        reason=letter.reason if letter is not None else None,
        letter=_filled(id=event.copy.id, mailbox=looker.own(event.copy.mailbox)),
    )


def _expired(looker: Looker, event: e.Expired) -> View | None:
    return _in_mailbox(looker, event.mailbox, ids=event.ids, held=event.held)


def _due(looker: Looker, event: e.Due) -> View | None:
    return _in_mailbox(
        looker, event.mailbox, ids=event.ids, withdrawn=event.withdrawn, superseded=event.superseded
    )


def _deleted(looker: Looker, event: e.Deleted) -> View | None:
    return _in_mailbox(looker, event.mailbox, ids=event.ids)


def _redriven(looker: Looker, event: e.Redriven) -> View | None:
    pairs = zip(event.letters, event.mails, strict=True)
    messages = [
        {"letter": letter, "id": mail.id, "mailbox": address}
        for letter, mail in pairs
        if (address := looker.own(mail.mailbox))
    ]
    return {"messages": messages} if messages else None


def _unparked(looker: Looker, event: e.Unparked) -> View | None:
    return _in_mailbox(looker, event.mailbox, ids=event.ids, tasks=event.tasks)


def _pruned(looker: Looker, event: e.Pruned) -> View | None:
    return _in_mailbox(looker, event.mailbox, count=event.count, bytes=event.bytes)


def _agent_registered(looker: Looker, event: e.AgentRegistered) -> View | None:
    return _in_mailbox(looker, event.mailbox, agent=event.agent, version=event.version)


def _agent_status(looker: Looker, event: e.AgentStatus) -> View | None:
    said = {"status": event.status, "load": event.load, "note": event.note}
    return _in_mailbox(looker, event.mailbox, agent=event.agent, **said)


def _agent_unregistered(looker: Looker, event: e.AgentUnregistered) -> View | None:
    return _in_mailbox(looker, event.mailbox, agent=event.agent)


def _session_closed(looker: Looker, event: e.SessionClosed) -> View | None:
    return {"session": event.session} if any(map(looker.own, event.mailboxes)) else None


def _session_reopened(looker: Looker, event: e.SessionReopened) -> View | None:
    if not any(map(looker.own, event.mailboxes)):
        return None
    return {"session": event.session, "turns_max": event.turns_max}


def _task_opened(looker: Looker, event: e.TaskOpened) -> View | None:
    principal = looker.caller.principal
    if principal not in (event.owner, event.principal):
        return None
    timeout = _time(event.timeout_at)
    return _filled(
        mailbox=event.address, task=event.task, id=event.message, asker=event.asker, timeout_at=timeout
    )


def _task_moved(looker: Looker, event: e.TaskMoved) -> View | None:
    return _in_mailbox(
        looker,
        event.mailbox,
        task=event.task,
        state=event.state,
        by=event.by,
        entries=[
            _filled(kind=step.kind, id=step.message or None, reason=step.reason) for step in event.steps
        ],
    )


def _push_of(looker: Looker, event: push.PushSet | push.PushDeleted | push.PushDisabled) -> View | None:
    """Nothing of the target itself: it holds secrets."""
    own = event.principal == looker.caller.principal
    trouble = getattr(event, "trouble", None)
    return _filled(task=event.task, push=event.push, trouble=trouble) if own else None


_VIEWS: dict[type[e.Event], Callable[[Looker, Any], View | None]] = {
    e.Opened: _nothing,
    e.MailboxCreated: _mailbox_created,
    e.MailboxUpdated: _mailbox_updated,
    e.MailboxDropped: _mailbox_dropped,
    e.GroupMade: _group_made,
    e.GroupEnded: _group_ended,
    e.GroupSeen: _group_seen,
    e.Revived: _revived,
    e.Sent: _sent,
    e.Leased: _leased,
    e.Acked: _some,
    e.Nacked: _nacked,
    e.Released: _some,
    e.Extended: _extended,
    e.Lapsed: _lapsed,
    e.Closed: _closed,
    e.Died: _died,
    e.Expired: _expired,
    e.Due: _due,
    e.Deleted: _deleted,
    e.Redriven: _redriven,
    e.Unparked: _unparked,
    e.Pruned: _pruned,
    e.AgentRegistered: _agent_registered,
    e.AgentStatus: _agent_status,
    e.AgentUnregistered: _agent_unregistered,
    e.SessionClosed: _session_closed,
    e.SessionReopened: _session_reopened,
    e.TaskOpened: _task_opened,
    e.TaskMoved: _task_moved,
    push.PushSet: _push_of,
    push.PushDeleted: _push_of,
    push.PushMoved: _nothing,
    push.PushDisabled: _push_of,
}
