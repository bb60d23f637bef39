"""Work for which no agent is there yet: parked by its sender, given to the agent that comes and fits.

A parked message lies in the broker's own mailbox. Nobody fetches there; whether an agent may have it now
is decided on the state as it is then, with the sender's rights and the ranking that comes with the call.
"""

from __future__ import annotations

from typing import Any

from msgspec import structs

from mq9_mcp.domain.commands import Command, IntentArguments, MessageArguments
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.events import DedupKey, Deleted, Mail, Unparked, Wish
from mq9_mcp.domain.group import wanted
from mq9_mcp.domain.intent import SKILL, best_of, candidates, told
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.names import BROKER, DEFAULT_GROUP, PARKED
from mq9_mcp.domain.parts import digest
from mq9_mcp.domain.plan import Plan
from mq9_mcp.domain.state import Caller, Mailbox, State, key_counts
from mq9_mcp.domain.task_moves import work_of

PARKED_MAX = limit("parked_messages_max")
PARKED_PER_SENDER_MAX = limit("parked_per_sender_max")
PARKED_TTL_S = limit("parked_ttl_s")


class Unpark(Command, kw_only=True, frozen=True):
    """The broker's own: give these parked messages to the agents that fit, as ``ask.intents`` ranks them."""

    ids: list[int]


# -- parking


def wish_of(plan: Plan, message: MessageArguments, parts: list[dict[str, Any]]) -> Wish:
    """What the message waits for; refused where too much waits already."""
    _check_room(plan)
    intent = message.intent
    assert intent is not None
    return Wish(
        text=intent.text,
        principal=plan.caller.principal,
        sent_at=plan.now,
        agent=plan.caller.agent,
        tags=tuple(intent.tags),
        skill=intent.skill,
        state_key=message.state_key,
        dedup_key=message.dedup_key,
        digest=digest(parts) if message.dedup_key is not None else 0,
    )


def with_an_end(message: MessageArguments) -> MessageArguments:
    """A parked message without a lifetime has one of a day; its metadata name the skill asked for."""
    intent = message.intent
    assert intent is not None
    if intent.skill is not None:
        message = told(message, SKILL, intent.skill)
    if message.ttl_s is None and message.expires_at is None:
        return structs.replace(message, ttl_s=PARKED_TTL_S)
    return message


def _check_room(plan: Plan) -> None:
    plan.parking += 1
    name, most, held = "parked_messages_max", PARKED_MAX, len(plan.state.parked) + plan.parking
    if held <= most:
        name, most = "parked_per_sender_max", PARKED_PER_SENDER_MAX
        if plan.parked < 0:
            sender = plan.caller.name
            plan.parked = sum(mail.sender == sender for mail in plan.state.parked.values())
        held = plan.parked + plan.parking
    if held > most:
        raise Refused(
            "MAILBOX_FULL",
            f"{held - 1} messages are parked and wait for an agent that fits; {name} is {most}",
            f"delete some with mailbox_delete(mailbox={PARKED!r}), or name an agent with to",
            mailbox=PARKED,
            limit=name,
        )


# -- what senders may do


def own_parked(state: State, caller: Caller) -> list[int]:
    """The parked messages that the caller sent."""
    return [id for id in state.parked if _is_own(state.parked[id], caller)]


def hidden(address: str | None, caller: Caller) -> bool:
    """True if the address is that of parked messages, of which the caller may see its own alone."""
    return address == PARKED and caller.principal != BROKER


def decide_delete_parked(plan: Plan, ids: list[int]) -> dict[str, Any]:
    """Take back parked messages, all or none; the reply is ``{deleted}``, how many."""
    known = plan.state.parked
    ids = list(dict.fromkeys(ids))
    for id in ids:
        if id not in known or not _is_own(known[id], plan.caller):
            raise Refused(
                "MESSAGE_NOT_FOUND",
                f"ids: no message {id} of yours is parked; nothing was deleted",
                f"mailbox_query(mailbox={PARKED!r}) lists those that are",
                id=id,
            )
    plan.events.append(Deleted(at=plan.now, mailbox=plan.state.addresses[PARKED].number, ids=ids))
    return {"deleted": len(ids)}


def wish_in(mail: Mail) -> Wish:
    """What a parked message waits for."""
    assert mail.extra is not None
    assert mail.extra.wish is not None
    return mail.extra.wish


def _is_own(mail: Mail, caller: Caller) -> bool:
    return wish_in(mail).principal == caller.principal


# -- giving it to an agent


def decide_unpark(plan: Plan, command: Unpark) -> dict[str, Any]:
    """Move the messages that fit an agent; the reply is ``{delivered, held}``.

    ``held`` are those that would fit an agent whose mailbox cannot take them now.
    """
    held: list[int] = []
    events: dict[int, Unparked] = {}
    for id in command.ids:
        mail = plan.state.parked.get(id)
        if mail is None:
            continue  # expired, deleted or canceled meanwhile
        target, full = _taker(plan, events, mail)
        if target is not None:
            _move(plan, events, mail, target)
        elif full:
            held.append(id)
    plan.events.extend(events.values())
    delivered = [{"id": id, "mailbox": one.address} for one in events.values() for id in one.ids]
    return {"delivered": delivered, "held": held}


def _taker(plan: Plan, events: dict[int, Unparked], mail: Mail) -> tuple[Mailbox | None, bool]:
    """Who gets the message, and whether only a mailbox that cannot take it stands in the way."""
    wish = wish_in(mail)
    assert plan.ask.intents is not None, "the broker ranks before this is decided"
    ranking = plan.ask.intents.get(wish.text, {})
    intent = IntentArguments(text=wish.text, tags=list(wish.tags), skill=wish.skill)
    caller = Caller(wish.principal, wish.agent)
    able = [one for one in candidates(plan, intent, ranking, caller) if one.able]
    mailboxes = plan.state.mailboxes
    free = [one for one in able if _takes(plan, events, mailboxes[one.agent.mailbox], mail, wish)]
    if not free:
        return None, bool(able)
    return mailboxes[best_of(free)[0].agent.mailbox], False


def _takes(plan: Plan, events: dict[int, Unparked], mailbox: Mailbox, mail: Mail, wish: Wish) -> bool:
    """True if the mailbox has room for the message, and would take it from its sender."""
    default = mailbox.groups.get(DEFAULT_GROUP)
    if default is not None and not wanted(default, _visible(plan, mail)):
        return False
    if wish.dedup_key is None:
        return not mailbox.settings.exactly_once and plan.full(mailbox, mail.size) is None
    known = mailbox.dedup.get(wish.dedup_key)
    planned = events.get(mailbox.number)
    if known is not None and key_counts(mailbox, known, plan.now):
        return False
    if planned is not None and any(key.key == wish.dedup_key for key in planned.keys):
        return False
    return plan.full(mailbox, mail.size) is None


def _visible(plan: Plan, mail: Mail) -> Mail:
    """The message with the time at which it joins the agent's line: at its end, as all that comes due."""
    return structs.replace(mail, visible_at=max(plan.now + 1, mail.visible_at))


def _move(plan: Plan, events: dict[int, Unparked], mail: Mail, target: Mailbox) -> None:
    event = events.get(target.number)
    if event is None:
        event = events[target.number] = Unparked(
            at=plan.now,
            mailbox=target.number,
            address=target.address,
            owner=target.owner,
            ids=[],
            visible=[],
            tasks=[],
            keys=[],
        )
    wish, task = wish_in(mail), work_of(plan, mail.id)
    event.ids.append(mail.id)
    event.visible.append(_visible(plan, mail).visible_at)
    if task is not None:
        event.tasks.append(task.id)
    if wish.dedup_key is not None:
        named = task.id if task is not None else None
        key = DedupKey(wish.dedup_key, mail.id, wish.sent_at, wish.digest, mail.session, named)
        if key_counts(target, key, plan.now):
            event.keys.append(key)
    plan.count(target, 1, mail.size)
