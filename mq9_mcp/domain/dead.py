"""Dead letters: one group's delivery ends, a copy with its own id goes to another mailbox, and back."""

from __future__ import annotations

from typing import Any

from mq9_mcp.domain.commands import MailboxRedrive
from mq9_mcp.domain.delivery import Delivery, DeliveryState
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.events import Died, Extra, Letter, Mail, Redriven, Settings
from mq9_mcp.domain.group import in_memory
from mq9_mcp.domain.names import DEFAULT_GROUP, dead_letter_address, own_session
from mq9_mcp.domain.plan import Plan
from mq9_mcp.domain.state import Group, Mailbox, no_mailbox

DEAD_LETTER_SETTINGS = Settings(max_attempts=0)


def dead_mailbox(plan: Plan, mailbox: Mailbox) -> Mailbox | None:
    """Where dead letters of ``mailbox`` go, made at need; None if another owner has that address."""
    address = mailbox.settings.dead_letter or dead_letter_address(mailbox.address)
    found = plan.find(address)
    if found is None:
        return plan.create(address, mailbox.owner, DEAD_LETTER_SETTINGS)
    return found if found.owner == mailbox.owner else None


def die(
    plan: Plan,
    mailbox: Mailbox,
    group: Group | None,
    mail: Mail,
    reason: str,
    description: str | None = None,
    attempts: int = 0,
    kept: bool | None = None,
    outcome: str | None = None,
) -> Refused | None:
    """Plan the dead letter of ``mail`` in ``group``; a refusal says why it must stay at its source."""
    target = dead_mailbox(plan, mailbox)
    if target is None:
        return Refused(
            "FORBIDDEN", f"the dead letter address of {mailbox.address!r} belongs to another owner"
        )
    refusal = plan.reserve(target, mail.size)
    if refusal is not None:
        return refusal
    if kept is None:
        kept = group is not None and plan.owed_elsewhere(mail, group)
    letter = _letter_about(mailbox, group, mail, reason, description, attempts)
    copy = _copy(plan, mail, target, plan.now, Extra(letter=letter))
    if group is not None:
        plan.settled.add((group.number, mail.id))
    plan.events.append(
        Died(
            at=plan.now,
            mailbox=mailbox.number,
            id=mail.id,
            copy=copy,
            group=group.number if group is not None else None,
            kept=kept,
            outcome=outcome,
        )
    )
    return None


def _letter_about(
    mailbox: Mailbox, group: Group | None, mail: Mail, reason: str, description: str | None, attempts: int
) -> Letter:
    delivery = group.open.get(mail.id) if group is not None else None
    return Letter(
        id=mail.id,
        source=mailbox.address,
        group=group.name if group is not None else DEFAULT_GROUP,
        reason=reason,
        description=description,
        attempts=attempts,
        first_attempt_at=delivery.first_at if delivery and delivery.first_at else None,
        last_attempt_at=delivery.last_at if delivery and delivery.last_at else None,
    )


def _copy(plan: Plan, mail: Mail, to: Mailbox, visible_at: int, extra: Extra) -> Mail:
    """The message with an id of its own in another mailbox; body and session stay, lifetime ends."""
    session = mail.session or own_session(mail.id)
    return Mail(
        plan.new_message(),
        to.number,
        mail.tier,
        visible_at,
        mail.size,
        mail.sender,
        mail.position,
        None,
        session,
        mail.tags,
        extra,
    )


def exhausted(mailbox: Mailbox, delivery: Delivery) -> bool:
    """True if one more failed attempt is the last that the mailbox allows."""
    most = mailbox.settings.max_attempts
    return most > 0 and delivery.attempts + 1 >= most


def backoff_ms(settings: Settings, attempts: int, chance: float) -> int:
    """The wait after failed attempt number ``attempts``: doubling, capped, up to a fifth more by chance."""
    doubled = settings.backoff_first_s << min(attempts - 1, 32)
    return min(round(doubled * 1000 * (1 + 0.2 * chance)), settings.backoff_max_s * 1000)


def dead_letters_full_ms(settings: Settings) -> int:
    """How long a message that finds no room among the dead letters stays in backoff."""
    return max(1, settings.backoff_max_s) * 1000


def decide_redrive(plan: Plan, command: MailboxRedrive) -> dict[str, Any]:
    """Give letters back to their mailbox and group; the reply is ``{redriven, skipped, remaining}``."""
    dead = plan.mailbox(command.mailbox)
    letters = _letters(plan, dead, command)
    event = Redriven(at=plan.now, letters=[], mails=[])
    redriven: list[dict[str, Any]] = []
    skipped: list[dict[str, Any]] = []
    gap = 1000 / command.rate if command.rate else 0
    for mail in letters[: command.limit]:
        try:
            back = _back(plan, mail, plan.now + int(gap * len(redriven)))
        except Refused as refusal:
            skipped.append({"id": mail.id, "error": refusal.as_dict()})
            continue
        event.letters.append(mail.id)
        event.mails.append(back)
        redriven.append({"letter": mail.id, "id": back.id, "mailbox": _source(mail)})
    if event.mails:
        plan.events.append(event)
    return {
        "redriven": redriven,
        "skipped": skipped,
        "remaining": min(1000, max(0, len(letters) - command.limit)),
    }


def _letters(plan: Plan, dead: Mailbox, command: MailboxRedrive) -> list[Mail]:
    held = {
        id
        for group in dead.groups.values()
        for id, delivery in group.open.items()
        if delivery.state is DeliveryState.LEASED
    }
    mails = plan.state.mails
    if command.ids is None:
        found = (mail for mail in in_memory(dead) if _letter(mail) and mail.id not in held)
        return sorted(found, key=lambda mail: mail.id)
    letters = []
    for id in dict.fromkeys(command.ids):
        mail = mails.get(id)
        if mail is None or mail.mailbox != dead.number or _letter(mail) is None:
            raise Refused(
                "MESSAGE_NOT_FOUND",
                f"ids: there is no unsettled dead letter {id} in {dead.address!r}",
                "mailbox_query lists the letters",
                id=id,
            )
        if id in held:
            raise Refused("LEASE_LOST", f"ids: letter {id} is leased to a worker", "wait until it is settled")
        letters.append(mail)
    return letters


def _letter(mail: Mail) -> Letter | None:
    return mail.extra.letter if mail.extra is not None else None


def _source(mail: Mail) -> str:
    letter = _letter(mail)
    assert letter is not None
    return letter.source


def _back(plan: Plan, mail: Mail, visible_at: int) -> Mail:
    letter = _letter(mail)
    assert letter is not None
    source = plan.find(letter.source)
    if source is None or source.owner != plan.caller.principal:
        raise no_mailbox(letter.source)
    if letter.group not in source.groups:
        raise Refused(
            "INVALID_ARGUMENT",
            f"{letter.source!r} has no group {letter.group!r} any more",
            "fetch once from that group, or send the content anew",
        )
    refusal = plan.reserve(source, mail.size)
    if refusal is not None:
        raise refusal
    return _copy(plan, mail, source, visible_at, Extra(only_group=letter.group))
