"""What time does to one mailbox: leases run out, mail becomes due or expires, groups and lives end.

Each stage is decided on the state that the stage before it left, in all mailboxes: dead letters of one
come into another's line only after what is due there.
"""

from __future__ import annotations

from collections.abc import Callable

from mq9_mcp.domain.agent import decide_away
from mq9_mcp.domain.dead import dead_letters_full_ms, die, exhausted
from mq9_mcp.domain.delivery import LEASED
from mq9_mcp.domain.events import Due, Expired, Lapsed, Mail, MailboxDropped
from mq9_mcp.domain.group import decide_idle
from mq9_mcp.domain.message import replaced_by
from mq9_mcp.domain.plan import Plan
from mq9_mcp.domain.settle import close
from mq9_mcp.domain.state import Group, Mailbox, due_now
from mq9_mcp.domain.task_lease import decide_timeouts


def decide_end(plan: Plan, mailbox: Mailbox) -> None:
    """A mailbox whose lifetime is over ends with everything in it."""
    if mailbox.expires_at is not None and mailbox.expires_at <= plan.now:
        plan.events.append(MailboxDropped(at=plan.now, mailbox=mailbox.number, reason="expired"))


def decide_lapses(plan: Plan, mailbox: Mailbox) -> None:
    """Leases run out: a failed attempt, the last of which makes a dead letter."""
    for group in mailbox.groups.values():
        _lapse(plan, group)


def _lapse(plan: Plan, group: Group) -> None:
    lapsed = Lapsed(at=plan.now, group=group.number, ids=[])
    until = plan.now + dead_letters_full_ms(group.mailbox.settings)
    no_room = Lapsed(at=plan.now, group=group.number, ids=[], until=until)
    due = {message for messages in due_now(group.timers, plan.now) for message in messages}
    for message in sorted(due):
        delivery = group.open.get(message)
        if delivery is None or delivery.state is not LEASED or delivery.until > plan.now:
            continue
        mail = plan.state.mails[message]
        state = group.mailbox.ending.get(message)
        if state is not None:
            close(plan, group, mail, state, None)
        elif not exhausted(group.mailbox, delivery):
            lapsed.ids.append(message)
        elif die(plan, group.mailbox, group, mail, "max_attempts", attempts=delivery.attempts + 1):
            no_room.ids.append(message)
    plan.events.extend(event for event in (lapsed, no_room) if event.ids)


def decide_visible(plan: Plan, mailbox: Mailbox) -> None:
    """Delayed mail becomes visible and replaces older copies of its state key.

    The first of all that comes due, in every mailbox before anything follows from it: whatever else is
    stored now, such as a task's notice, joins its line behind mail that was due before.
    """
    mails = plan.state.mails
    if mailbox.expires_at is not None and mailbox.expires_at <= plan.now:
        return  # it ends now, with all that is in it
    ready = sorted((mails[id].visible_at, id) for id in due_now(mailbox.delayed, plan.now) if id in mails)
    if not ready:
        return
    event = Due(at=plan.now, mailbox=mailbox.number, ids=[], withdrawn=[], superseded=[])
    latest: dict[str, int] = {}
    for _, id in ready:
        mail = mails[id]
        event.ids.append(id)
        if _unowned(mailbox, mail):
            event.withdrawn.append(id)
        elif mail.extra is not None and mail.extra.state_key is not None:
            key = mail.extra.state_key
            if key in latest:
                event.withdrawn.append(latest[key])
            latest[key] = id
    for key in latest:
        withdrawn, superseded = replaced_by(plan, mailbox, key)
        event.withdrawn.extend(withdrawn)
        event.superseded.extend(superseded)
    plan.events.append(event)


def _unowned(mailbox: Mailbox, mail: Mail) -> bool:
    """True if the message was redriven to a group that has ended meanwhile, and others are left."""
    only = mail.extra.only_group if mail.extra is not None else None
    return only is not None and only not in mailbox.groups and bool(mailbox.groups)


def decide_expiry(plan: Plan, mailbox: Mailbox) -> None:
    """Mail past its time leaves every line; who holds it may still settle."""
    letters = mailbox.settings.dead_letter_expired
    if letters and plan.now < mailbox.expire_from:
        return
    event = Expired(at=plan.now, mailbox=mailbox.number, ids=[], held=[])
    for id in sorted(due_now(mailbox.expiries, plan.now)):
        mail = plan.state.mails.get(id)
        if mail is None or id in mailbox.ending:
            continue
        if letters and not _letters(plan, mailbox, mail):
            # No room among the dead letters: the mail stays, undeliverable, and is looked at again.
            mailbox.expire_from = plan.now + dead_letters_full_ms(mailbox.settings)
        elif any(_holds(group, id) for group in mailbox.groups.values()):
            event.held.append(id)
        else:
            event.ids.append(id)
    if event.ids or event.held:
        plan.events.append(event)


def _holds(group: Group, id: int) -> bool:
    delivery = group.open.get(id)
    return delivery is not None and delivery.state is LEASED


def _letters(plan: Plan, mailbox: Mailbox, mail: Mail) -> bool:
    """A dead letter for every group that has not settled the expired message and does not hold it."""
    if not mailbox.groups:
        return die(plan, mailbox, None, mail, "expired", kept=True) is None
    for group in mailbox.groups.values():
        if not group.owes(mail) or _holds(group, mail.id):
            continue
        delivery = group.open.get(mail.id)
        attempts = delivery.attempts if delivery is not None else 0
        if die(plan, mailbox, group, mail, "expired", attempts=attempts, kept=True):
            return False
    return True


Stage = Callable[[Plan, Mailbox], None]
# After ``decide_visible`` for all mailboxes.
STAGES: tuple[Stage, ...] = (
    decide_end,
    decide_lapses,
    decide_expiry,
    decide_idle,
    decide_away,
    decide_timeouts,
)
