"""What time does to one mailbox: leases run out, mail becomes due or expires, groups and lives end."""

from __future__ import annotations

from heapq import heapify, heappush

from mq9_mcp.domain.dead import dead_letters_full_ms, die, exhausted
from mq9_mcp.domain.delivery import DeliveryState
from mq9_mcp.domain.events import Due, Expired, Lapsed, MailboxDropped, Nacked
from mq9_mcp.domain.group import decide_idle
from mq9_mcp.domain.message import replaced_by
from mq9_mcp.domain.plan import Plan
from mq9_mcp.domain.settle import close
from mq9_mcp.domain.state import Group, Mailbox, due_now


def decide_due(plan: Plan, mailbox: Mailbox) -> None:
    """Everything that has come due in ``mailbox`` by now, lives and leases first."""
    if mailbox.expires_at is not None and mailbox.expires_at <= plan.now:
        plan.events.append(MailboxDropped(at=plan.now, mailbox=mailbox.number, reason="expired"))
        return
    for group in mailbox.groups.values():
        _lapse(plan, group)
    lapsing = {(event.group, id) for event in plan.events if isinstance(event, Lapsed) for id in event.ids}
    _expire(plan, mailbox, lapsing)
    _become_due(plan, mailbox)
    decide_idle(plan, mailbox)


def _lapse(plan: Plan, group: Group) -> None:
    lapsed = Lapsed(at=plan.now, group=group.number, ids=[])
    due = {message for messages in due_now(group.timers, plan.now) for message in messages}
    for message in sorted(due):
        delivery = group.open.get(message)
        if delivery is None or delivery.state is not DeliveryState.LEASED or delivery.until > plan.now:
            continue
        mail = plan.state.mails[message]
        state = group.mailbox.ending.get(message)
        if state is not None:
            close(plan, group, mail, state, None)
        elif not exhausted(group.mailbox, delivery):
            lapsed.ids.append(message)
        elif die(plan, group.mailbox, group, mail, "max_attempts", attempts=delivery.attempts + 1):
            until = plan.now + dead_letters_full_ms(group.mailbox.settings)
            plan.events.append(Nacked(at=plan.now, group=group.number, id=message, until=until))
    if lapsed.ids:
        plan.events.append(lapsed)


def _expire(plan: Plan, mailbox: Mailbox, lapsing: set[tuple[int, int]]) -> None:
    event = Expired(at=plan.now, mailbox=mailbox.number, ids=[], held=[])
    for id in sorted(due_now(mailbox.expiries, plan.now)):
        if id not in plan.state.mails or id in mailbox.ending or _died(plan, id):
            continue
        if mailbox.settings.dead_letter_expired and not _letters(plan, mailbox, id, lapsing):
            # No room among the dead letters: the mail stays, undeliverable, and is looked at again.
            heappush(mailbox.expiries, (plan.now + dead_letters_full_ms(mailbox.settings), id))
        elif _held(plan, mailbox, id, lapsing):
            event.held.append(id)
        else:
            event.ids.append(id)
    mailbox.expiries = [entry for entry in mailbox.expiries if entry[0] > plan.now]
    heapify(mailbox.expiries)
    if event.ids or event.held:
        plan.events.append(event)


def _held(plan: Plan, mailbox: Mailbox, id: int, lapsing: set[tuple[int, int]]) -> bool:
    return any(
        id in group.open
        and group.open[id].state is DeliveryState.LEASED
        and (group.number, id) not in lapsing
        for group in mailbox.groups.values()
    )


def _died(plan: Plan, id: int) -> bool:
    """True if this plan has ended the whole message already."""
    return any(id == getattr(event, "id", None) and not getattr(event, "kept", True) for event in plan.events)


def _letters(plan: Plan, mailbox: Mailbox, id: int, lapsing: set[tuple[int, int]]) -> bool:
    """A dead letter for every group that has not settled the expired message and does not hold it."""
    mail = plan.state.mails[id]
    if not mailbox.groups:
        return die(plan, mailbox, None, mail, "expired", kept=True) is None
    for group in mailbox.groups.values():
        if not group.owes(mail) or (group.number, id) in plan.settled:
            continue
        delivery = group.open.get(id)
        held = delivery is not None and delivery.state is DeliveryState.LEASED
        if not held or (group.number, id) in lapsing:
            attempts = delivery.attempts + held if delivery is not None else 0
            if die(plan, mailbox, group, mail, "expired", attempts=attempts, kept=True):
                return False
    return True


def _become_due(plan: Plan, mailbox: Mailbox) -> None:
    mails = plan.state.mails
    ready = sorted((mails[id].visible_at, id) for id in due_now(mailbox.delayed, plan.now) if id in mails)
    if not ready:
        return
    event = Due(at=plan.now, mailbox=mailbox.number, ids=[], withdrawn=[], superseded=[])
    latest: dict[str, int] = {}
    for _, id in ready:
        mail = mails[id]
        event.ids.append(id)
        if mail.extra is not None and mail.extra.state_key is not None:
            key = mail.extra.state_key
            if key in latest:
                event.withdrawn.append(latest[key])
            latest[key] = id
    for key in latest:
        withdrawn, superseded = replaced_by(mailbox, key)
        event.withdrawn.extend(withdrawn)
        event.superseded.extend(superseded)
    plan.events.append(event)
