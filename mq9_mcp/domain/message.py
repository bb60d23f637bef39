"""Sending: one message, a batch or a fan-out becomes one event, all or none (contract, section 2)."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from mq9_mcp.domain.access import may_send, owns
from mq9_mcp.domain.clock import wire_time
from mq9_mcp.domain.commands import TIERS, IntentArguments, MailboxSend, MessageArguments
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.events import DedupKey, Extra, Mail, Sent, Wish
from mq9_mcp.domain.intent import Choice, address_of_message, check_intent, choose, parked_mailbox, with_skill
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.message_times import times_of
from mq9_mcp.domain.names import PARKED, check_address, own_session
from mq9_mcp.domain.park import wish_of, with_an_end
from mq9_mcp.domain.parts import Body, check_metadata, check_parts, digest, encode_body
from mq9_mcp.domain.plan import PagedMessage, Plan
from mq9_mcp.domain.push import set_push
from mq9_mcp.domain.push_commands import PushRequest
from mq9_mcp.domain.push_target import AS_IT_STANDS
from mq9_mcp.domain.session import first_message, take_turn
from mq9_mcp.domain.state import Mailbox, key_counts, no_mailbox
from mq9_mcp.domain.task_moves import find_task
from mq9_mcp.domain.task_request import TaskRequest, repeated, with_lasting_key
from mq9_mcp.domain.task_send import Thread, default_target, shape, stored, thread_of

BATCH_MAX = limit("batch_messages_max")
REQUEST_BYTES_MAX = limit("request_bytes_max")
TIER_OF = {priority: tier for tier, priority in enumerate(TIERS)}


def decide_send(plan: Plan, command: MailboxSend) -> dict[str, Any]:
    """Store the messages of ``command``; the reply is ``{receipts}``."""
    return {"receipts": send(plan, [command] if command.messages is None else _several(command))}


def decide_request(plan: Plan, command: TaskRequest) -> dict[str, Any]:
    """Open or continue a task, once; the reply is ``{receipts}``."""
    known = repeated(plan, command)
    if known is None:
        reply = decide_send(plan, with_lasting_key(plan, command))
        if command.push is not None:
            _push(plan, command.push, reply["receipts"][0], command.task is True)
        return reply
    if command.push is not None:
        set_push(plan, known, command.push, AS_IT_STANDS)
    at, session = wire_time(known.created_at), known.session
    mailbox = plan.state.mailboxes[known.mailbox]
    return {"receipts": [_receipt(mailbox.address, known.first, at, session, True, known.id)]}


def _push(plan: Plan, push: PushRequest, receipt: dict[str, Any], opens: bool) -> None:
    """A target from the first event of a task that was opened just now; else from how it stands."""
    task = find_task(plan, receipt["task"])
    set_push(plan, task, push, 0 if opens and not receipt["duplicate"] else AS_IT_STANDS)


def _several(command: MailboxSend) -> list[MessageArguments]:
    for name in MessageArguments.__struct_fields__:
        default: Any = [] if name == "tags" else "normal" if name == "priority" else None
        if getattr(command, name) != default:
            raise Refused(
                "INVALID_ARGUMENT",
                f"{name}: given beside messages; accepted: one message, or messages",
                f"put {name} into each of the messages",
            )
    if command.wait_for is not None:
        raise Refused("INVALID_ARGUMENT", "wait_for: waits for one message, not for messages")
    return command.messages or []


class _Letterbox(Struct):
    """The Sent event of one call as it grows, and what all its messages share."""

    event: Sent
    sender: str
    stored_at: str
    keys: dict[tuple[int, str], DedupKey] = {}
    copies: dict[tuple[int, str], list[int]] = {}
    turns: dict[str, int] = {}  # messages that each session still takes in this call
    receipts: list[dict[str, Any]] = []


def send(plan: Plan, messages: list[MessageArguments]) -> list[dict[str, Any]]:
    """Add one Sent event for ``messages`` to the plan; returns their receipts in order."""
    plan.ensure_own()
    box = _Letterbox(Sent(at=plan.now, mails=[]), plan.caller.name, wire_time(plan.now))
    for index, message in enumerate(messages):
        try:
            _send_one(plan, box, message)
        except Refused as refusal:
            if len(messages) > 1:
                refusal.details["index"] = index
            raise
        if len(box.receipts) > BATCH_MAX:
            raise Refused(
                "BATCH_TOO_LARGE",
                f"the call stores more than {BATCH_MAX} messages; batch_messages_max is {BATCH_MAX}",
                "send them in several calls",
                batch_messages_max=BATCH_MAX,
            )
    if plan.body_bytes > REQUEST_BYTES_MAX:
        raise Refused(
            "BATCH_TOO_LARGE",
            f"the messages have {plan.body_bytes} bytes; request_bytes_max is {REQUEST_BYTES_MAX}",
            "send them in several calls",
            request_bytes_max=REQUEST_BYTES_MAX,
        )
    if box.event.mails:
        plan.events.append(box.event)
    return box.receipts


def _send_one(plan: Plan, box: _Letterbox, message: MessageArguments) -> None:
    intent = message.intent
    if intent is not None or message.park is not None:
        message = check_intent(message)
    parts = check_parts(message.text, message.parts)
    if message.metadata is not None:
        check_metadata(message.metadata)
    original, thread, session = None, None, message.session
    if message.in_reply_to is not None or message.task is not None:
        original, thread, session = _ties(plan, message)
    if intent is not None:
        route = _route(plan, box, message, intent, parts)
        if isinstance(route, Choice):
            message = with_skill(message, route)
            _store(plan, box, message, [route.mailbox], parts, original, thread, session)
            _note_route(box, message, route, plan)
        elif route is not None:
            wish, lasting = wish_of(plan, message, parts), with_an_end(message)
            _store(plan, box, lasting, [route], parts, original, thread, session, wish)
        return
    if isinstance(message.to, str):
        targets = [_target(plan, message.to, original)]
    else:
        targets = _targets(plan, message, message.to, original, thread)
    _store(plan, box, message, targets, parts, original, thread, session)


def _store(
    plan: Plan,
    box: _Letterbox,
    message: MessageArguments,
    targets: list[Mailbox],
    parts: list[dict[str, Any]],
    original: PagedMessage | None,
    thread: Thread | None,
    session: str | None,
    wish: Wish | None = None,
) -> None:
    """A copy for each of the mailboxes, or the first receipts again."""
    known = _known_keys(plan, box, targets, message, parts)
    if known and len(known) == len(targets):
        _repeat(box, targets, known)
        return
    visible_at, expires_at = times_of(plan, message)
    body, tier = _body(plan, box, message, parts, session, visible_at, expires_at), TIER_OF[message.priority]
    if thread is not None:
        tier = shape(thread, body, tier, targets[0])
    encoded = encode_body(body)
    tags, size, offset = tuple(message.tags) or None, len(encoded), -1
    keyed = message.state_key is not None or wish is not None
    state_key, extra = _extra(message, wish) if keyed else (None, None)
    for mailbox in targets:
        if known and mailbox.number in known:
            _repeat(box, [mailbox], known)
            continue
        if state_key is not None and visible_at <= plan.now:
            _replace(plan, box, mailbox, state_key)
        if (refusal := plan.reserve(mailbox, size)) is not None:
            raise refusal
        if session is not None:
            take_turn(plan, box.event.sessions, box.turns, session, _ground(original, thread))
        if offset < 0:
            offset = plan.add_body(encoded)
        id, number = plan.new_message(), mailbox.number
        if thread is not None:
            extra = thread.extra(plan, id, extra)
        mail = Mail(id, number, tier, visible_at, size, box.sender, offset, expires_at, session, tags, extra)
        _add(plan, box, mailbox, message, mail, parts, original, thread)


def _extra(message: MessageArguments, wish: Wish | None) -> tuple[str | None, Extra]:
    """The state key that counts where the message is stored, and what it carries; a parked one has none."""
    state_key = message.state_key if wish is None else None
    return state_key, Extra(state_key=state_key, wish=wish)


def _ground(original: PagedMessage | None, thread: Thread | None) -> PagedMessage | None:
    """The message by which the caller belongs to a session: the one that opened the task, or is answered."""
    return original if thread is None or thread.task is None else first_message(thread.task)


def _ties(plan: Plan, message: MessageArguments) -> tuple[PagedMessage | None, Thread | None, str | None]:
    """What ties the message to others: the one that it answers, a task, the session that they give it."""
    original = None
    if message.in_reply_to is not None:
        original = _original(plan, message, message.in_reply_to)
    thread = thread_of(plan, message, original)
    session = message.session or (original.session if original is not None else None)
    return original, thread, session or (thread.session if thread is not None else None)


def _repeat(box: _Letterbox, targets: list[Mailbox], known: dict[int, DedupKey]) -> None:
    """The first receipts again; the times of a repeated call do not count, they may have passed."""
    for mailbox in targets:
        key = known[mailbox.number]
        at = wire_time(key.at)
        box.receipts.append(_receipt(mailbox.address, key.message, at, key.session, True, key.task))


def _route(
    plan: Plan,
    box: _Letterbox,
    message: MessageArguments,
    intent: IntentArguments,
    parts: list[dict[str, Any]],
) -> Choice | Mailbox | None:
    """Who gets the message, or where it is parked; None if it was sent before under its key."""
    if message.dedup_key is not None:
        known = _known_key(plan, box, parked_mailbox(plan), message.dedup_key, parts)
        if known is not None:
            where = PARKED if known.parked else address_of_message(plan, known.message)
            at = wire_time(known.at)
            box.receipts.append(_receipt(where, known.message, at, known.session, True, known.task))
            return None
    choice = choose(plan, intent)
    if isinstance(choice, Choice):
        return choice
    if not message.park:
        raise choice
    return parked_mailbox(plan)


def _note_route(box: _Letterbox, message: MessageArguments, route: Choice, plan: Plan) -> None:
    """The receipt says who got the message; its key counts wherever the next one would go."""
    box.receipts[-1]["routed"] = route.routed
    if message.dedup_key is not None and not box.receipts[-1]["duplicate"]:
        parked = parked_mailbox(plan)
        if parked is not route.mailbox:
            key = box.keys[parked.number, message.dedup_key] = box.keys[
                route.mailbox.number, message.dedup_key
            ]
            box.event.keys.append((parked.number, key))


def _add(
    plan: Plan,
    box: _Letterbox,
    mailbox: Mailbox,
    message: MessageArguments,
    mail: Mail,
    parts: list[dict[str, Any]],
    original: PagedMessage | None,
    thread: Thread | None,
) -> None:
    box.event.mails.append(mail)
    if original is not None:  # a stranger's in_reply_to is a word of his, no answer
        box.event.answers.append((message.in_reply_to or 0, mail.id))
    if thread is not None:
        stored(plan, box.event, thread, mailbox, mail, message)
    task = mail.extra.task if mail.extra is not None else None
    if message.dedup_key is not None or message.state_key is not None:
        _note_keys(plan, box, message, mail, parts)
    box.receipts.append(_receipt(mailbox.address, mail.id, box.stored_at, mail.session, False, task))


def _note_keys(
    plan: Plan, box: _Letterbox, message: MessageArguments, mail: Mail, parts: list[dict[str, Any]]
) -> None:
    """What the rest of the call, and later ones, are to know of the message's dedup_key and state_key."""
    extra = mail.extra
    if message.dedup_key is not None:
        task, parked = (extra.task, extra.wish is not None) if extra is not None else (None, False)
        key = DedupKey(message.dedup_key, mail.id, plan.now, digest(parts), mail.session, task, parked)
        box.keys[mail.mailbox, key.key] = key
        box.event.keys.append((mail.mailbox, key))
    if message.state_key is not None and mail.visible_at <= plan.now:
        box.copies.setdefault((mail.mailbox, message.state_key), []).append(mail.id)


def _receipt(
    address: str, id: int, at: str, session: str | None, duplicate: bool, task: str | None
) -> dict[str, Any]:
    receipt = {
        "id": id,
        "mailbox": address,
        "stored_at": at,
        "duplicate": duplicate,
        "session": session or own_session(id),
    }
    if task is not None:
        receipt["task"] = task
    return receipt


def _original(plan: Plan, message: MessageArguments, id: int) -> PagedMessage | None:
    """The message that is answered, if the caller may know of it."""
    found = plan.paged.messages.get(id)
    if found is not None:
        mailbox = plan.state.mailboxes.get(found.mailbox)
        if (mailbox is not None and owns(plan.caller, mailbox)) or found.sender == plan.caller.name:
            return found
    if message.to is not None and id < plan.state.next_message:
        return None  # gone by retention; the address is known all the same
    raise Refused(
        "MESSAGE_NOT_FOUND",
        f"in_reply_to: there is no message {id} that the caller holds or sent",
        "give to, or the id of a message that was fetched",
    )


def _targets(
    plan: Plan,
    message: MessageArguments,
    addresses: list[str] | None,
    original: PagedMessage | None,
    thread: Thread | None,
) -> list[Mailbox]:
    if addresses is None:
        if original is None:
            if thread is not None and thread.task is not None:
                return [default_target(plan, thread)]
            raise Refused(
                "INVALID_ARGUMENT", "to: missing; accepted: an address, a list of them, or in_reply_to"
            )
        return [_reply_target(plan, message, original)]
    if len(set(addresses)) < len(addresses):
        raise Refused("INVALID_ARGUMENT", "to: an address stands twice; accepted: each address once")
    if len(addresses) > BATCH_MAX:
        raise Refused(
            "BATCH_TOO_LARGE",
            f"to: {len(addresses)} addresses; batch_messages_max is {BATCH_MAX}",
            "send in several calls",
        )
    return [_target(plan, address, original) for address in addresses]


def _target(plan: Plan, address: str, original: PagedMessage | None) -> Mailbox:
    """The mailbox at ``address``, if the caller may send there; a reply may go where the original says."""
    mailbox = plan.find(address)
    if mailbox is not None:
        if may_send(plan.caller, mailbox):
            return mailbox
        if original is not None and address in (original.reply_to, original.sender):
            return mailbox
    raise no_mailbox(check_address(address, "to"))


def _reply_target(plan: Plan, message: MessageArguments, original: PagedMessage) -> Mailbox:
    """The original's reply_to, else its sender's mailbox: holding a message is the grant to reply."""
    address = original.reply_to or original.sender
    mailbox = plan.find(address)
    if mailbox is None:
        raise Refused(
            "MAILBOX_NOT_FOUND",
            f"to: left out, and message {message.in_reply_to} came from {address!r}, which has no mailbox",
            "give to",
            mailbox=address,
        )
    return mailbox


def _body(
    plan: Plan,
    box: _Letterbox,
    message: MessageArguments,
    parts: list[dict[str, Any]],
    session: str | None,
    visible_at: int,
    expires_at: int | None,
) -> Body:
    return Body(
        box.sender,
        plan.caller.verified,
        box.stored_at,
        message.priority,
        parts,
        message.tags,
        wire_time(visible_at) if visible_at > plan.now else None,
        wire_time(expires_at) if expires_at is not None else None,
        message.dedup_key,
        message.state_key,
        session,
        message.in_reply_to,
        message.reply_to,
        message.metadata,
        message.traceparent,
        message.tracestate,
        a2a=message.a2a if type(message) is TaskRequest else None,
    )


def _known_keys(
    plan: Plan,
    box: _Letterbox,
    targets: list[Mailbox],
    message: MessageArguments,
    parts: list[dict[str, Any]],
) -> dict[int, DedupKey] | None:
    """By mailbox: the first send under the same dedup_key, where it still counts."""
    if message.dedup_key is not None:
        return _sent_before(plan, box, targets, message.dedup_key, parts)
    for mailbox in targets:
        if mailbox.settings.exactly_once:
            raise Refused(
                "INVALID_ARGUMENT",
                f"dedup_key: missing; {mailbox.address!r} is exactly-once and needs one with every send",
                "give a key that names this message, the same on every retry",
            )
    return None


def _sent_before(
    plan: Plan, box: _Letterbox, targets: list[Mailbox], dedup_key: str, parts: list[dict[str, Any]]
) -> dict[int, DedupKey]:
    found = ((mailbox.number, _known_key(plan, box, mailbox, dedup_key, parts)) for mailbox in targets)
    return {number: key for number, key in found if key is not None}


def _known_key(
    plan: Plan, box: _Letterbox, mailbox: Mailbox, dedup_key: str, parts: list[dict[str, Any]]
) -> DedupKey | None:
    where = (mailbox.number, dedup_key)
    known = box.keys.get(where) or mailbox.dedup.get(dedup_key)
    if known is None and mailbox.dedup_spilled:
        known = plan.paged.keys.get(where)
    if known is None or not key_counts(mailbox, known, plan.now):
        return None
    if known.digest != digest(parts):
        raise Refused(
            "DEDUP_CONFLICT",
            f"dedup_key: {dedup_key!r} was used for other parts, in message {known.message}",
            "use a new key for a new message, or send the same parts",
            message=known.message,
        )
    return known


def _replace(plan: Plan, box: _Letterbox, mailbox: Mailbox, state_key: str) -> None:
    """Withdraw the older visible copies of a state key, those of the same call included."""
    planned = box.copies.pop((mailbox.number, state_key), [])
    withdrawn, superseded = replaced_by(plan, mailbox, state_key)
    fresh = [id for id in withdrawn if id not in box.event.withdrawn]
    box.event.withdrawn.extend(fresh + planned)
    box.event.superseded.extend(id for id in superseded if id not in box.event.superseded)
    for id in fresh:
        plan.count(mailbox, -1, -plan.state.mails[id].size)
    for id in planned:
        size = next(mail.size for mail in box.event.mails if mail.id == id)
        plan.count(mailbox, -1, -size)


def replaced_by(plan: Plan, mailbox: Mailbox, state_key: str) -> tuple[list[int], list[int]]:
    """What a newly visible copy replaces: ids to withdraw at once, and ids that somebody holds."""
    withdrawn, held = [], []
    for id in mailbox.state_keys.get(state_key, ()):
        mail = plan.state.mails[id]
        owing = [group for group in mailbox.groups.values() if plan.still_owes(group, mail)]
        if mailbox.groups and not owing and not plan.state.awaits_default(mailbox, mail):
            continue  # this call settles it
        if not any(plan.still_leased(group, mail) for group in owing):
            withdrawn.append(id)
        elif id not in mailbox.ending:
            held.append(id)
    return withdrawn, held
