"""The fold of events into the state: the only place where the state changes.

``apply`` trusts its events: they were decided on this very state. It reads no clock and refuses nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappush
from typing import Any

from mq9_mcp.domain import events as e
from mq9_mcp.domain.agent import AGENTS, end_agent, hear_all
from mq9_mcp.domain.apply_delivery import DELIVERY
from mq9_mcp.domain.apply_mail import MAIL, end_messages, forget_keys, notice_due
from mq9_mcp.domain.apply_park import PARK
from mq9_mcp.domain.apply_task import TASKS
from mq9_mcp.domain.delivery import Delivery, DeliveryState
from mq9_mcp.domain.group import in_memory, left_out, wanted
from mq9_mcp.domain.log import OUTSIDE
from mq9_mcp.domain.past import GroupPlace, Place
from mq9_mcp.domain.push import PUSH
from mq9_mcp.domain.session import SESSION
from mq9_mcp.domain.state import IDLE_GRACE, Group, History, Mailbox, State


def apply(state: State, events: list[e.Event]) -> None:
    """Fold the events of one record into the state."""
    state.seq += 1
    for event in events:
        if event.at > state.at:
            state.at = event.at
        _APPLY[type(event)](state, event)


def _opened(state: State, event: e.Opened) -> None:
    for group in state.groups.values():
        # A fetch leaves a trace in the journal only now and then: idleness gets the benefit of the doubt.
        group.grace = IDLE_GRACE
        for id, delivery in group.open.items():
            if delivery.state is DeliveryState.LEASED and delivery.until < event.lease_floor:
                delivery.until = event.lease_floor
                group.watch(event.lease_floor, [id])
        notice_due(state, group.mailbox)
    hear_all(state, event.at)


def _mailbox_created(state: State, event: e.MailboxCreated) -> None:
    mailbox = Mailbox(state, event.mailbox, event.address, event.owner, event.settings)
    mailbox.description = event.description
    mailbox.created_at = event.at
    mailbox.expires_at = event.expires_at
    mailbox.agent = event.agent
    state.mailboxes[event.mailbox] = mailbox
    state.addresses[event.address] = mailbox
    state.next_mailbox = max(state.next_mailbox, event.mailbox + 1)
    notice_due(state, mailbox)


def _mailbox_updated(state: State, event: e.MailboxUpdated) -> None:
    mailbox = state.mailboxes[event.mailbox]
    reordered = mailbox.settings.ordered_by != event.settings.ordered_by
    forget_keys(state, mailbox, event.at)  # a longer window does not bring keys back
    mailbox.set(event.settings)
    if not event.settings.dead_letter_expired:
        mailbox.expire_from = 0  # what waited for room among the dead letters waits for nothing now
    mailbox.description = event.description
    mailbox.expires_at = event.expires_at
    if reordered:
        for group in mailbox.groups.values():
            group.line = mailbox.new_line()
    notice_due(state, mailbox)


def _mailbox_dropped(state: State, event: e.MailboxDropped) -> None:
    mailbox = state.mailboxes.pop(event.mailbox)
    del state.addresses[mailbox.address]
    if mailbox.registered is not None:
        end_agent(state, mailbox.registered)
    state.past.add_mailbox(mailbox.number, Place(mailbox.address, mailbox.owner))
    for group in mailbox.groups.values():
        state.past.add_group(group.number, GroupPlace(group.name, mailbox.number))
        del state.groups[group.number]
    for mail in [*in_memory(mailbox), *(state.mails[id] for id in mailbox.delayed_ids())]:
        del state.mails[mail.id]
    state.unsettled_bytes -= mailbox.unsettled_bytes
    state.dedup_keys -= len(mailbox.dedup)


def _group_made(state: State, event: e.GroupMade) -> None:
    mailbox = state.mailboxes[event.mailbox]
    group = Group(event.group, mailbox, event.name, event.start_id, event.start_at)
    group.seen_at = group.fetched_at = event.at
    if event.history_through:
        group.history = History(event.history_through, event.history_count, event.history_bytes)
    ending = (state.mails[id] for id in mailbox.ending)
    unwanted = {mail.id: mail for mail in (*left_out(group, mailbox), *ending) if mail.place >= 0}
    for mail in unwanted.values():
        group.line.drop(mail, waiting=True)
    for id in sorted(mailbox.outside):
        mail = state.mails[id]
        if wanted(group, mail) and id not in mailbox.ending:
            group.open[id] = Delivery()
            group.line.enter(mail)
    mailbox.groups[event.name] = group
    state.groups[event.group] = group
    state.next_group = max(state.next_group, event.group + 1)
    mailbox.history_version += 1
    end_messages(state, mailbox, event.settled, event.at)
    notice_due(state, mailbox)


def _group_ended(state: State, event: e.GroupEnded) -> None:
    group = state.groups.pop(event.group)
    mailbox = group.mailbox
    state.past.add_group(group.number, GroupPlace(group.name, mailbox.number))
    del mailbox.groups[group.name]
    mailbox.history_version += 1
    end_messages(state, mailbox, event.settled, event.at)


def _group_seen(state: State, event: e.GroupSeen) -> None:
    state.groups[event.group].seen_at = event.at


def _revived(state: State, event: e.Revived) -> None:
    reader = state.groups[event.group]
    mailbox = reader.mailbox
    mailbox.history_version += 1
    for mail in event.mails:
        if mail.id not in state.mails:
            _bring_back(state, mailbox, mail)
        known = state.mails[mail.id]
        for group in mailbox.groups.values():
            _join_history(group, known, always=group is reader)
    if event.through is None:
        reader.history = None
    elif reader.history is not None:
        reader.history.after = event.through


def _bring_back(state: State, mailbox: Mailbox, mail: e.Mail) -> None:
    mail.place = OUTSIDE
    state.mails[mail.id] = mail
    mailbox.outside.add(mail.id)
    if mail.extra is not None and mail.extra.state_key is not None:
        mailbox.state_keys.setdefault(mail.extra.state_key, []).append(mail.id)
    mailbox.settled -= 1
    mailbox.settled_bytes -= mail.size
    state.count(mailbox, 1, mail.size)
    if mail.expires_at is not None:
        heappush(mailbox.expiries, (mail.expires_at, mail.id))
        state.watch(mailbox, mail.expires_at)


def _join_history(group: Group, mail: e.Mail, always: bool) -> None:
    """Let a group that still has this message before it in its history see it now that it is back."""
    history = group.history
    if history is None or mail.id in group.open or not wanted(group, mail):
        return
    if always or group.history_key(mail) > history.after:
        group.open[mail.id] = Delivery()
        group.line.enter(mail)
        history.count = max(0, history.count - 1)
        history.bytes = max(0, history.bytes - mail.size)


def _pruned(state: State, event: e.Pruned) -> None:
    mailbox = state.mailboxes[event.mailbox]
    mailbox.settled -= event.count
    mailbox.settled_bytes -= event.bytes
    mailbox.settled_since = event.oldest
    mailbox.history_version += 1


_APPLY: dict[type[e.Event], Callable[[State, Any], None]] = {
    e.Opened: _opened,
    e.MailboxCreated: _mailbox_created,
    e.MailboxUpdated: _mailbox_updated,
    e.MailboxDropped: _mailbox_dropped,
    e.GroupMade: _group_made,
    e.GroupEnded: _group_ended,
    e.GroupSeen: _group_seen,
    e.Revived: _revived,
    e.Pruned: _pruned,
    **MAIL,
    **DELIVERY,
    **AGENTS,
    **SESSION,
    **TASKS,
    **PARK,
    **PUSH,
}
