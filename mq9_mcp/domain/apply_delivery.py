"""How one message moves in one group: leased, settled, back in line. The table says what may follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mq9_mcp.domain import events as e
from mq9_mcp.domain.apply_mail import end_messages, let_go
from mq9_mcp.domain.delivery import BACKOFF, LEASED, WAITING, Delivery, Outcome
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.state import Group, State, due_now

PAST_MAX = limit("past_leases_max")


def _leased(state: State, event: e.Leased) -> None:
    group = state.groups[event.group]
    group.fetched_at = event.at
    if group.timers and group.timers[0][0] <= event.at:
        backoff_over(group, event.at)
    mails, open_, fence = state.mails, group.open, state.seq
    at, until, secret, worker, principal = event.at, event.until, event.secret, event.worker, event.principal
    if len(event.ids) == 1:
        group.line.take(mails[event.ids[0]])
    else:
        group.line.take_all([mails[id] for id in event.ids])
    for id in event.ids:
        delivery = open_.get(id)
        if delivery is None:
            open_[id] = Delivery(LEASED, secret, fence, until, worker, principal, at, at)
        else:
            delivery.lease_again(event, fence)
    group.leased += len(event.ids)
    group.watch(event.until, event.ids)
    if event.until < group.mailbox.alarm:
        state.watch(group.mailbox, event.until)


def _acked(state: State, event: e.Acked) -> None:
    group = state.groups[event.group]
    kept, known, settled = event.kept, state.mails, []
    for id in event.ids:
        mail = known[id]
        let_go(group, mail)
        if not kept or id not in kept:
            settled.append(mail)
    if settled:
        state.settle(group.mailbox, settled, event.at)


def _unlease(group: Group, id: int, outcome: str, receipts: str | None) -> Delivery:
    """End the lease of an unsettled message and remember how."""
    delivery = group.open[id]
    if delivery.state is LEASED:
        group.leased -= 1
    past = delivery.past = delivery.past or {}
    past[delivery.secret] = Outcome(outcome, receipts)
    if len(past) > PAST_MAX:
        del past[next(iter(past))]
    delivery.lapsed = False
    return delivery


def _nacked(state: State, event: e.Nacked) -> None:
    group = state.groups[event.group]
    mail = state.mails[event.id]
    waiting = group.open[event.id].state is WAITING
    delivery = _unlease(group, event.id, "nack", event.receipts)
    delivery.attempts += event.counted
    delivery.reason = event.reason
    delivery.state = BACKOFF
    delivery.until = event.until
    if waiting:
        group.line.take(mail)
    group.watch(event.until, [event.id])
    state.watch(group.mailbox, event.until)


def _released(state: State, event: e.Released) -> None:
    group = state.groups[event.group]
    for id in event.ids:
        if group.open[id].state is not WAITING:
            group.line.put_back(state.mails[id])
        _unlease(group, id, "release", event.receipts).state = WAITING


def _extended(state: State, event: e.Extended) -> None:
    group = state.groups[event.group]
    for id in event.ids:
        delivery = group.open[id]
        if delivery.state is not LEASED:
            if delivery.state is WAITING:
                group.line.take(state.mails[id])
            group.leased += 1
            delivery.state = LEASED
            delivery.lapsed = False
        delivery.until = event.until
    group.watch(event.until, event.ids)
    state.watch(group.mailbox, event.until)


def _lapsed(state: State, event: e.Lapsed) -> None:
    group = state.groups[event.group]
    for id in event.ids:
        delivery = group.open[id]
        delivery.attempts += 1
        delivery.lapsed = True
        group.leased -= 1
        if event.until:
            delivery.state = BACKOFF
            delivery.until = event.until
        else:
            delivery.state = WAITING
            group.line.put_back(state.mails[id])
    if event.until:
        group.watch(event.until, event.ids)
        state.watch(group.mailbox, event.until)


def _closed(state: State, event: e.Closed) -> None:
    group = state.groups[event.group]
    mail = state.mails[event.id]
    let_go(group, mail)
    if not event.kept:
        end_messages(state, group.mailbox, (event.id,), event.at)


def backoff_over(group: Group, now: int) -> int:
    """Put messages whose backoff is over back in line; no event, the nack told when. Returns how many."""
    over = [
        message
        for messages in due_now(group.timers, now)
        for message in messages
        if message in group.open and group.open[message].state is BACKOFF and group.open[message].until <= now
    ]
    for message in dict.fromkeys(over):
        group.open[message].state = WAITING
        group.line.put_back(group.mailbox.state.mails[message])
    return len(over)


DELIVERY: dict[type[e.Event], Callable[[State, Any], None]] = {
    e.Leased: _leased,
    e.Acked: _acked,
    e.Nacked: _nacked,
    e.Released: _released,
    e.Extended: _extended,
    e.Lapsed: _lapsed,
    e.Closed: _closed,
}
