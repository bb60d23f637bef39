"""How mail comes and goes in the state: stored, due, withdrawn, expired, dead, deleted, redriven."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Any

import msgspec

from mq9_mcp.domain import events as e
from mq9_mcp.domain.delivery import LEASED, WAITING, Delivery
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.log import OUTSIDE
from mq9_mcp.domain.state import Group, Mailbox, State, key_counts

DEDUP_KEYS_MAX = limit("dedup_keys_in_memory")


def notice_due(state: State, mailbox: Mailbox) -> None:
    """Make sure that the mailbox is looked at when time changes something in it."""
    state.watch(mailbox, mailbox.next_due())


def store(state: State, mail: e.Mail, at: int) -> None:
    """A new message enters memory, and the logs if it is visible."""
    mailbox, size = state.mailboxes[mail.mailbox], mail.size
    state.mails[mail.id] = mail
    if mail.id >= state.next_message:
        state.next_message = mail.id + 1
    mailbox.unsettled += 1
    mailbox.unsettled_bytes += size
    state.unsettled_bytes += size
    if mail.expires_at is not None:
        heappush(mailbox.expiries, (mail.expires_at, mail.id))
        state.watch(mailbox, mail.expires_at)
    if mail.extra is not None and mail.extra.wish is not None:
        state.park(mail)
    if mail.visible_at <= at:
        if mail.extra is None:
            mailbox.logs.append(mail)
            for group in mailbox.groups.values():
                group.line.add(mail)
        else:
            show(mailbox, mail)
    else:
        heappush(mailbox.delayed, (mail.visible_at, mail.id))
        state.watch(mailbox, mail.visible_at)


def store_all(state: State, mails: list[e.Mail], at: int) -> None:
    """New messages enter memory in this order; alike ones of one mailbox together, at less cost."""
    alike: list[e.Mail] = []
    for mail in mails:
        if alike and (mail.mailbox != alike[0].mailbox or mail.tier != alike[0].tier):
            _store_alike(state, alike)
            alike = []
        if _is_plain(mail, at):
            alike.append(mail)
            continue
        if alike:
            _store_alike(state, alike)
            alike = []
        store(state, mail, at)
    if alike:
        _store_alike(state, alike)


def _is_plain(mail: e.Mail, at: int) -> bool:
    """True if the message is in no index and time changes nothing about it."""
    if mail.extra is not None or mail.expires_at is not None or mail.visible_at > at:
        return False
    return mail.tags is None and mail.session is None


def _store_alike(state: State, mails: list[e.Mail]) -> None:
    """Plain messages of one tier of one mailbox."""
    mailbox, known, size = state.mailboxes[mails[0].mailbox], state.mails, 0
    for mail in mails:
        known[mail.id] = mail
        size += mail.size
    state.next_message = max(state.next_message, mails[-1].id + 1)
    state.count(mailbox, len(mails), size)
    mailbox.logs.extend(mails)
    for group in mailbox.groups.values():
        group.line.add_all(mails)


def show(mailbox: Mailbox, mail: e.Mail) -> None:
    """A message becomes visible: to all groups, or to the one that it was redriven to."""
    extra = mail.extra
    if extra is not None:
        if extra.state_key is not None:
            mailbox.state_keys.setdefault(extra.state_key, []).append(mail.id)
        if extra.only_group is not None:
            mail.place = OUTSIDE
            mailbox.outside.add(mail.id)
            group = mailbox.groups.get(extra.only_group)
            if group is not None:
                group.open[mail.id] = Delivery()
                group.line.enter(mail)
            return
    mailbox.logs.append(mail)
    for group in mailbox.groups.values():
        group.line.add(mail)


def let_go(group: Group, mail: e.Mail) -> None:
    """The group is done with the message, whatever it was to it."""
    delivery = group.open.pop(mail.id, None)
    if delivery is None:
        if group.line.waits_in_log(mail):
            group.line.drop(mail, waiting=True)
    elif delivery.state is LEASED:
        group.leased -= 1
        group.line.drop(mail, waiting=False)
    else:
        group.line.drop(mail, waiting=delivery.state is WAITING)


def end_messages(state: State, mailbox: Mailbox, ids: Iterable[int], at: int) -> None:
    """Settle messages for every group; they leave memory."""
    for id in ids:
        mail = state.mails[id]
        for group in mailbox.groups.values():
            let_go(group, mail)
        state.settle(mailbox, [mail], at)


def supersede(mailbox: Mailbox, mail: e.Mail, state: str) -> None:
    """Expired or replaced while somebody holds it: the others let go, holders may still settle."""
    mailbox.ending[mail.id] = state
    for group in mailbox.groups.values():
        delivery = group.open.get(mail.id)
        if delivery is None or delivery.state is not LEASED:
            let_go(group, mail)


def _sent(state: State, event: e.Sent) -> None:
    for record in event.sessions:
        state.sessions.keep(msgspec.structs.replace(record))
    if len(event.mails) == 1:
        store(state, event.mails[0], event.at)
    else:
        store_all(state, event.mails, event.at)
    for mail in event.mails:
        if mail.session is not None and not event.apart:
            state.sessions.join(mail.session, mail.mailbox, mail.sender, event.at)
    if event.joined:
        for id in event.joined:
            _join(state, id, event.at)
    for number, key in event.keys:
        remember_key(state, state.mailboxes[number], key)
    for id in event.withdrawn:
        mail = state.mails[id]
        end_messages(state, state.mailboxes[mail.mailbox], (id,), event.at)
    for id in event.superseded:
        mail = state.mails[id]
        supersede(state.mailboxes[mail.mailbox], mail, "withdrawn")


def _join(state: State, id: int, at: int) -> None:
    """A follow-up: stored, and in no group's line; its task tells the worker of it."""
    mail = state.mails[id]
    end_messages(state, state.mailboxes[mail.mailbox], (id,), at)


def remember_key(state: State, mailbox: Mailbox, key: e.DedupKey) -> None:
    """A dedup key counts in the mailbox from now on; the oldest ones may leave memory."""
    dedup = mailbox.dedup
    if dedup.pop(key.key, None) is not None:
        state.dedup_keys -= 1
    dedup[key.key] = key
    state.dedup_keys += 1
    forget_keys(state, mailbox, key.at)
    if state.dedup_keys > DEDUP_KEYS_MAX:
        del dedup[next(iter(dedup))]
        state.dedup_keys -= 1
        mailbox.dedup_spilled = True


def forget_keys(state: State, mailbox: Mailbox, now: int) -> None:
    """Drop the oldest dedup keys while they do not count any more."""
    dedup = mailbox.dedup
    while dedup:
        oldest = next(iter(dedup.values()))
        if key_counts(mailbox, oldest, now):
            return
        del dedup[oldest.key]
        state.dedup_keys -= 1


def _due(state: State, event: e.Due) -> None:
    mailbox = state.mailboxes[event.mailbox]
    done, delayed = set(event.ids), mailbox.delayed
    while delayed and (delayed[0][1] in done or delayed[0][1] not in state.mails):
        heappop(delayed)
    for id in event.ids:
        show(mailbox, state.mails[id])
    end_messages(state, mailbox, event.withdrawn, event.at)
    for id in event.superseded:
        supersede(mailbox, state.mails[id], "withdrawn")


def _expired(state: State, event: e.Expired) -> None:
    mailbox = state.mailboxes[event.mailbox]
    end_messages(state, mailbox, event.ids, event.at)
    for id in event.held:
        supersede(mailbox, state.mails[id], "expired")


def _died(state: State, event: e.Died) -> None:
    mailbox = state.mailboxes[event.mailbox]
    mail = state.mails[event.id]
    store(state, event.copy, event.at)
    if event.group is not None:
        let_go(state.groups[event.group], mail)
    if not event.kept:
        end_messages(state, mailbox, (event.id,), event.at)


def _deleted(state: State, event: e.Deleted) -> None:
    mailbox = state.mailboxes[event.mailbox]
    mailbox.settled -= event.settled_count
    mailbox.settled_bytes -= event.settled_bytes
    mailbox.history_version += event.settled_count
    for id in event.ids:
        if id in state.mails:
            remove(state, state.mails[id])
    for number, count, size in event.histories:
        history = state.groups[number].history
        if history is not None:
            history.count = max(0, history.count - count)
            history.bytes = max(0, history.bytes - size)


def remove(state: State, mail: e.Mail) -> None:
    """A message leaves its mailbox without a trace there."""
    mailbox = state.mailboxes[mail.mailbox]
    for group in mailbox.groups.values():
        let_go(group, mail)
    state.forget(mailbox, [mail])


def _redriven(state: State, event: e.Redriven) -> None:
    for id in event.letters:
        remove(state, state.mails[id])
    for mail in event.mails:
        store(state, mail, event.at)


MAIL: dict[type[e.Event], Callable[[State, Any], None]] = {
    e.Sent: _sent,
    e.Due: _due,
    e.Expired: _expired,
    e.Died: _died,
    e.Deleted: _deleted,
    e.Redriven: _redriven,
}
