"""Settling by lease: ack, nack, release, extend, reject; fenced, repeatable, alone or with a send."""

from __future__ import annotations

from collections.abc import Callable, Set
from hmac import compare_digest
from typing import Any, NamedTuple

import msgspec

from mq9_mcp.domain.clock import seconds, wire_time
from mq9_mcp.domain.commands import AckItem, MailboxAck, MessageArguments
from mq9_mcp.domain.dead import backoff_ms, dead_letters_full_ms, die, exhausted
from mq9_mcp.domain.delivery import LEASED, Delivery, Step, next_state
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.events import Acked, Closed, Extended, Mail, Nacked, Released, Settlement
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.message import send
from mq9_mcp.domain.names import read_lease_token
from mq9_mcp.domain.plan import Plan
from mq9_mcp.domain.state import Group
from mq9_mcp.domain.task_lease import check_ack, tell_news

LEASE_DEFAULT = limit("lease_s_default")
GOES_ON = ("submitted", "working")  # updates after which a task's message is not settled
_USES = {"nack": ("delay_s", "reason"), "extend": ("lease_s",), "reject": ("reason", "description")}


class _Settling(msgspec.Struct):
    """What the items of one call have decided so far."""

    together: bool = False  # all or none
    replied: Set[int | None] = frozenset()  # messages that the send of this call answers
    updated: Set[str] = frozenset()  # leases whose tasks this call ends
    acked: dict[int, Acked] = {}  # by group: the event that further acks may join
    done: dict[tuple[int, int], str] = {}  # (group, message): outcome within this call
    messages: set[int] = set()
    repeated: list[str | None] = []  # receipts stored with repeated outcomes


class _Item(NamedTuple):
    """One item whose lease stands, and that does more than ack: what it is about."""

    plan: Plan
    settling: _Settling
    group: Group
    delivery: Delivery
    mail: Mail
    asked: AckItem
    result: dict[str, Any]


def decide_ack(plan: Plan, command: MailboxAck) -> dict[str, Any]:
    """Settle the items; the reply is ``{results, receipts?}``. With ``send`` it is all or none."""
    settling = _Settling()
    if command.send is not None or command.tasks is not None:
        _settle_together(settling, command)
    results: list[dict[str, Any]] = []
    for item in command.items:
        if not (item.delay_s is item.lease_s is None and item.reason is item.description is None):
            _check_uses(item, len(results))
        try:
            results.append(_settle(plan, settling, item))
        except Refused as refusal:
            if settling.together:
                refusal.details["index"] = len(results)
                raise
            results.append(_failure(item, refusal))
    reply: dict[str, Any] = {"results": results}
    if command.tasks is not None:
        plan.outcomes = settling.done
        plan.repeats = bool(settling.repeated) and not settling.done
    if command.send is not None:
        reply["receipts"] = _send_along(plan, settling, command.send)
    return reply


def _settle_together(settling: _Settling, command: MailboxAck) -> None:
    """What a call does beside settling: then it is all or none."""
    settling.together = True
    settling.updated = {one.lease for one in command.tasks or () if one.state not in (None, *GOES_ON)}
    sends = command.send if isinstance(command.send, list) else [command.send] if command.send else []
    settling.replied = {message.in_reply_to for message in sends}


def _check_uses(item: AckItem, index: int) -> None:
    """Arguments that the outcome has no use for are refused, not ignored."""
    uses = _USES.get(item.outcome, ())
    for name in ("delay_s", "lease_s", "reason", "description"):
        if getattr(item, name) is not None and name not in uses:
            raise Refused(
                "INVALID_ARGUMENT",
                f"items[{index}].{name}: no use for outcome {item.outcome!r}; "
                f"accepted there: {', '.join(('lease', 'outcome', *uses))}",
            )


def _failure(item: AckItem, refusal: Refused) -> dict[str, Any]:
    token = read_lease_token(item.lease)
    failure: dict[str, Any] = {"outcome": item.outcome, "ok": False, "error": refusal.as_dict()}
    if token is not None and 0 < token[1] < 2**53:
        failure["id"] = token[1]
    return failure


def _send_along(
    plan: Plan, settling: _Settling, messages: MessageArguments | list[MessageArguments]
) -> list[dict[str, Any]]:
    stored = next(filter(None, settling.repeated), None)
    fresh = any(outcome != "extend" for outcome in settling.done.values())
    if fresh or (settling.done and stored is None):
        plan.outcomes = settling.done
        receipts = send(plan, messages if isinstance(messages, list) else [messages])
        encoded = msgspec.json.encode(receipts).decode()
        for event in plan.events:
            if isinstance(event, Settlement):
                event.receipts = encoded
        return receipts
    if stored is None:
        raise Refused(
            "LEASE_LOST",
            "every lease of this call was settled before, without this send",
            "send the message alone with mailbox_send",
        )
    return msgspec.json.decode(stored, type=list[dict[str, Any]])


def _settle(plan: Plan, settling: _Settling, item: AckItem) -> dict[str, Any]:
    token = read_lease_token(item.lease)
    if token is None:
        raise _lost(item, "it is not a lease")
    number, message, secret = token
    group = plan.state.groups.get(number)
    delivery = group.open.get(message) if group is not None else None
    result: dict[str, Any] = {"id": message, "outcome": item.outcome, "ok": True}
    if group is None or delivery is None:
        settling.repeated.append(_repeat_settled(plan, item, number, message, secret))
        return result
    if not compare_digest(delivery.secret, secret) or delivery.principal != plan.caller.principal:
        settling.repeated.append(_repeat_past(plan, item, delivery, secret))
        return result
    earlier = settling.done.get((number, message))
    if earlier is not None:
        if earlier != item.outcome:
            raise _lost(item, f"this call settles it with {earlier!r} already")
        return result
    if delivery.state is not LEASED:
        past = (delivery.past or {}).get(secret)
        if past is not None and past.name == item.outcome:
            settling.repeated.append(past.receipts)
            return result
        _check_lapsed(group, delivery, item)
    mail = plan.state.mails[message]
    if item.outcome == "ack":
        if mail.extra is not None and mail.extra.task is not None and item.lease not in settling.updated:
            check_ack(plan, group, mail, settling.replied)
        _ack(plan, settling, group, mail)
    else:
        _STEPS[item.outcome](_Item(plan, settling, group, delivery, mail, item, result))
    settling.done[number, message] = item.outcome
    settling.messages.add(message)
    return result


def _check_lapsed(group: Group, delivery: Delivery, item: AckItem) -> None:
    """A lease that ran out still settles while nobody has the message, unless exactly once forbids it."""
    if not delivery.lapsed:
        past = (delivery.past or {}).get(delivery.secret)
        stands = past.name if past else "nothing"
        raise _lost(item, f"{stands} stands", delivery, stands=stands)
    if group.mailbox.settings.exactly_once:
        raise _lost(
            item, "it ran out, and in an exactly-once mailbox an expired lease never settles", delivery
        )
    next_state(delivery.state, Step(item.outcome))


def _lost(item: AckItem, why: str, delivery: Delivery | None = None, **details: Any) -> Refused:
    if delivery is not None:
        details["attempt"] = delivery.attempts + 1
    return Refused(
        "LEASE_LOST",
        f"lease {item.lease[:64]!r} cannot {item.outcome}: {why}",
        "fetch again; what you did under this lease may be done by somebody else",
        **details,
    )


def _repeat_settled(plan: Plan, item: AckItem, group: int, message: int, secret: str) -> str | None:
    """The receipts of the same outcome with the same lease before; anything else lost its lease."""
    before = plan.paged.deliveries.get((group, message))
    if before is None or before.principal != plan.caller.principal:
        raise _lost(item, "there is no such lease")
    if not compare_digest(before.secret, secret):
        raise _lost(item, f"the message was leased again and is {before.state}", attempt=before.attempts + 1)
    if before.outcome != item.outcome:
        stands = before.outcome or before.state
        raise _lost(item, f"the message is settled: {stands} stands", stands=stands)
    return before.receipts


def _repeat_past(plan: Plan, item: AckItem, delivery: Delivery, secret: str) -> str | None:
    past = (delivery.past or {}).get(secret)
    if past is None or delivery.principal != plan.caller.principal:
        why = "the message was leased again" if delivery.state is LEASED else "it was replaced"
        raise _lost(item, why, delivery)
    if past.name != item.outcome:
        raise _lost(item, f"{past.name} stands", delivery, stands=past.name)
    return past.receipts


def _ack(plan: Plan, settling: _Settling, group: Group, mail: Mail) -> None:
    number, id = group.number, mail.id
    event = settling.acked.get(number)
    if event is None or id in settling.messages:
        # A message that this call settles in two groups ends with the second: keep that order.
        event = settling.acked[number] = Acked(at=plan.now, group=number, ids=[], kept=[])
        plan.events.append(event)
    event.ids.append(id)
    if len(group.mailbox.groups) > 1 or mail.extra is not None:
        if plan.owed_elsewhere(mail, group):
            event.kept.append(id)
        plan.settled.add((number, id))


def _nack(item: _Item) -> None:
    plan, group, delivery, asked = item.plan, item.group, item.delivery, item.asked
    if _close_ending(item):
        return
    counted = not delivery.lapsed
    attempts = delivery.attempts + counted
    wait = backoff_ms(group.mailbox.settings, max(1, attempts), plan.ask.chance)
    if asked.delay_s is not None:
        wait = seconds(asked.delay_s)
    if counted and exhausted(group.mailbox, delivery):
        reason = asked.reason or "max_attempts"
        full = die(plan, group.mailbox, group, item.mail, reason, attempts=attempts, outcome="nack")
        if full is None:
            return
        wait = dead_letters_full_ms(group.mailbox.settings)
    _back_off(item, wait, counted)


def _back_off(item: _Item, wait: int, counted: bool) -> None:
    now, group = item.plan.now, item.group.number
    item.plan.events.append(
        Nacked(
            at=now, group=group, id=item.mail.id, until=now + wait, reason=item.asked.reason, counted=counted
        )
    )


def _release(item: _Item) -> None:
    if not _close_ending(item):
        item.plan.events.append(Released(at=item.plan.now, group=item.group.number, ids=[item.mail.id]))


def _extend(item: _Item) -> None:
    until = item.plan.now + seconds(item.asked.lease_s or LEASE_DEFAULT)
    item.plan.events.append(
        Extended(at=item.plan.now, group=item.group.number, ids=[item.mail.id], until=until)
    )
    item.result["leased_until"] = wire_time(until)
    if item.mail.extra is not None and item.mail.extra.task is not None:
        tell_news(item.plan, item.group, item.mail.id, item.result)


def _reject(item: _Item) -> None:
    plan, group, delivery, asked = item.plan, item.group, item.delivery, item.asked
    counted = not delivery.lapsed
    full = die(
        plan,
        group.mailbox,
        group,
        item.mail,
        asked.reason or "rejected",
        asked.description,
        attempts=delivery.attempts + counted,
        outcome="reject",
    )
    if full is not None:
        if item.settling.together:
            raise full
        if _close_ending(item):
            return
        # The contract: when the dead letters are full, the message stays at its source in backoff.
        _back_off(item, dead_letters_full_ms(group.mailbox.settings), counted)
        item.result.update(outcome="nack", ok=False, error=full.as_dict())


def _close_ending(item: _Item) -> bool:
    """Expired or superseded mail that loses its lease is not delivered again."""
    state = item.group.mailbox.ending.get(item.mail.id)
    if state is None:
        return False
    close(item.plan, item.group, item.mail, state, item.asked.outcome)
    return True


def close(plan: Plan, group: Group, mail: Mail, state: str, outcome: str | None) -> None:
    """End one group's delivery of mail that expired or was superseded while it was leased."""
    if state == "expired" and group.mailbox.settings.dead_letter_expired:
        attempts = group.open[mail.id].attempts + (outcome != "release")
        full = die(plan, group.mailbox, group, mail, "expired", attempts=attempts, outcome=outcome)
        if full is None:
            return
    kept = plan.owed_elsewhere(mail, group)
    plan.settled.add((group.number, mail.id))
    plan.events.append(
        Closed(at=plan.now, group=group.number, id=mail.id, state=state, kept=kept, outcome=outcome)
    )


_STEPS: dict[str, Callable[[_Item], None]] = {
    "nack": _nack,
    "release": _release,
    "extend": _extend,
    "reject": _reject,
}
