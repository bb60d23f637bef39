"""What a client of A2A may ask of one mailbox, over ``broker.execute``; every answer is plain values."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import NamedTuple

import msgspec

from mq9_a2a import params as p
from mq9_a2a.ask import Ask as Ask
from mq9_a2a.cards import Cards, own_card, without_older
from mq9_a2a.configs import NEW, Configs, request_of
from mq9_a2a.errors import (
    EXTENSION_REQUIRED,
    INVALID_PARAMS,
    NOT_CANCELABLE,
    NOT_FOUND,
    UNSUPPORTED,
    A2aError,
)
from mq9_a2a.follow import Event, Follows
from mq9_a2a.words import INTERRUPTED, NAMES, NUMBERS, ROUTED, TERMINAL, View, direct_reply, new_task, task_of
from mq9_mcp.broker.broker import Broker
from mq9_mcp.domain.clock import milliseconds
from mq9_mcp.domain.commands import IntentArguments
from mq9_mcp.domain.errors import Refused, Unavailable
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.push_commands import PushRequest
from mq9_mcp.domain.state import Caller
from mq9_mcp.domain.task_commands import TaskCancel, TaskGet, TaskPage
from mq9_mcp.domain.task_request import TaskRequest

INTENT_MAX = limit("intent_text_characters_max")
HISTORY_MAX = 100  # messages of a task that a look shows
STOPS = TERMINAL | INTERRUPTED
_Place = tuple[int, str]
_place = msgspec.json.Decoder(_Place)


class Sent(NamedTuple):
    """What became of a message: its task as it is known without a look, and its version then."""

    task: str
    new: View | None
    version: int


class Desk:
    """Answers requests. ``block_s``: so long may a blocking one take."""

    def __init__(self, broker: Broker, block_s: float) -> None:
        self.broker = broker
        self.block_s = block_s
        self.cards = Cards(broker)
        self.follows = Follows(broker)
        self.configs = Configs(broker, self._own)

    # -- sending

    async def send(self, ask: Ask, given: p.SendMessage) -> View:
        """``SendMessageResponse``."""
        configuration = given.configuration or p.Configuration()
        sent = await self._send(ask, given)
        most = configuration.history_length
        if not configuration.return_immediately:
            known = await self._stops(ask, sent.task, self.block_s)
            if known["version"] > sent.version:
                return await self._shown(ask, most, known)
        if sent.new is None:
            return {"task": await self._look(ask, sent.task, most)}
        if most == 0:
            del sent.new["history"]
        return {"task": sent.new}

    async def _send(self, ask: Ask, given: p.SendMessage) -> Sent:
        message = given.message
        assert message is not None
        await self._check_extensions(ask)
        known = await self._own(ask, message.task_id) if message.task_id else None
        if known is not None:
            if message.context_id and message.context_id != known["session"]:
                raise A2aError(INVALID_PARAMS, "contextId: the task belongs to another context")
            if known["state"] in TERMINAL:
                raise A2aError(UNSUPPORTED, f"Task {known['id']} is {known['state']}: it takes no messages")
        envelope = _envelope(message)
        to = known["mailbox"] if known is not None else ask.mailbox or None
        command = TaskRequest(
            to=to,
            intent=_intent(message) if to is None else None,
            parts=message.parts,
            metadata=message.metadata,
            task=known["id"] if known is not None else True,
            session=message.context_id or None if known is None else None,
            message_id=message.message_id,
            a2a=envelope,
            push=_push(ask, given.configuration),
        )
        receipt = await self._store(ask, command)
        if known is not None or receipt["duplicate"]:
            return Sent(receipt["task"], None, known["version"] if known is not None else 0)
        shown: View = {**envelope, "parts": message.parts}
        if message.metadata is not None:
            shown["metadata"] = message.metadata
        return Sent(receipt["task"], {**new_task(receipt, shown), **_routed(receipt)}, 1)

    async def _store(self, ask: Ask, command: TaskRequest) -> View:
        """The receipt. A context of strangers is replaced by a fresh one, never joined or revealed."""
        _check_context(command.session)
        try:
            reply = await self.broker.execute(ask.caller, command)
        except Refused as error:
            if error.code != "SESSION_NOT_FOUND" or command.session is None:
                raise
            reply = await self.broker.execute(ask.caller, msgspec.structs.replace(command, session=None))
        receipt: View = reply["receipts"][0]
        return receipt

    async def _stops(self, ask: Ask, task: str, wait_s: float) -> View:
        """The task when it is over, waits for its asker, or time is up."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        known: View = (await self.broker.execute(ask.caller, TaskGet(task=task)))["task"]
        while known["state"] not in STOPS and (left := deadline - loop.time()) > 0:
            look = TaskGet(task=task, after_version=known["version"], wait_s=left)
            try:
                known = (await self.broker.execute(ask.caller, look))["task"]
            except Unavailable:  # the message is stored: whatever is wrong, the client has its task
                break
            if self.broker.stopping:
                break
        return known

    async def _shown(self, ask: Ask, most: int | None, known: View) -> View:
        over = known["state"] == "completed"
        view = await self._page(known, ask.caller, most) if over or most != 0 else known
        said = view.get("said", [])
        reply = direct_reply(view, said)
        return {"message": reply} if reply is not None else {"task": task_of(view, said, most)}

    # -- looking

    async def get(self, ask: Ask, given: p.GetTask) -> View:
        """``Task``."""
        return await self._look(ask, given.id, given.history_length)

    async def _look(self, ask: Ask, task: str, most: int | None) -> View:
        known = await self._own(ask, task)
        if most == 0:
            return task_of(known, [], 0)
        view = await self._page(known, ask.caller, most)
        return task_of(view, view["said"], most)

    async def _own(self, ask: Ask, task: str) -> View:
        """The task, if it is one of this mailbox that the caller may know of."""
        if not task.isascii() or not 0 < len(task) <= 128:
            raise A2aError(NOT_FOUND)
        known: View = (await self.broker.execute(ask.caller, TaskGet(task=task)))["task"]
        if ask.mailbox and known["mailbox"] != ask.mailbox:
            raise A2aError(NOT_FOUND)
        return known

    async def _page(self, known: View, caller: Caller, most: int | None) -> View:
        """The task with what was said in it: one more than asked for, as the status has one of them."""
        said = HISTORY_MAX if most is None else min(HISTORY_MAX, most + 1)
        command = TaskPage(mailbox=known["mailbox"], task=known["id"], said=said)
        page = await self.broker.execute(caller, command)
        if not page["tasks"]:
            raise A2aError(NOT_FOUND)
        view: View = page["tasks"][0]
        return view

    async def list(self, ask: Ask, given: p.ListTasks) -> View:
        """``ListTasksResponse``."""
        size, most = given.page_size or p.PAGE_DEFAULT, given.history_length
        command = TaskPage(
            mailbox=ask.mailbox or None,
            session=given.context_id or None,
            asker=None if ask.mailbox else ask.caller.name,
            state=NAMES.get(given.status),
            since=_since(given.status_timestamp_after),
            before=_read_token(given.page_token) if given.page_token else None,
            limit=size,
            said=HISTORY_MAX if most is None else min(HISTORY_MAX, most + 1 if most else 0),
            parts=given.include_artifacts,
        )
        page = await self.broker.execute(ask.caller, command)
        tasks = [_listed(view, most, given.include_artifacts) for view in page["tasks"]]
        token = _token(page["tasks"][-1]) if page["more"] else ""
        return {"tasks": tasks, "nextPageToken": token, "pageSize": size, "totalSize": page["total"]}

    async def cancel(self, ask: Ask, given: p.CancelTask) -> View:
        """``Task``; a worker that holds it is asked, and has ``block_s`` to let go."""
        await self._own(ask, given.id)
        try:
            await self.broker.execute(ask.caller, TaskCancel(task=given.id))
        except Refused as error:
            if error.code == "ILLEGAL_TRANSITION":
                raise A2aError(NOT_CANCELABLE, error.message) from None
            raise
        await self._stops(ask, given.id, self.block_s)
        return await self._look(ask, given.id, None)

    # -- following

    async def stream(self, ask: Ask, given: p.SendMessage) -> AsyncGenerator[Event]:
        """The task, then what happens to it, until it is over."""
        sent = await self._send(ask, given)
        if sent.new is None:
            return self.follows.follow(ask.caller, sent.task)
        return self.follows.follow(ask.caller, sent.task, sent.new)

    async def subscribe(self, ask: Ask, given: p.SubscribeToTask) -> AsyncGenerator[Event]:
        """The same for a task that is not over; or what came after an event that the client knows."""
        known = await self._own(ask, given.id)
        if ask.after is not None and NUMBERS in ask.extensions:
            if ask.after > known["version"]:
                raise A2aError(INVALID_PARAMS, f"Last-Event-ID: {ask.after}; the last is {known['version']}")
            return self.follows.resume(ask.caller, known, ask.after)
        if known["state"] in TERMINAL:
            raise A2aError(UNSUPPORTED, f"Task {given.id} is {known['state']}: nothing more happens to it")
        return self.follows.follow(ask.caller, given.id)

    # -- the rest

    async def extended_card(self, ask: Ask) -> View:
        """``AgentCard``: nothing about an agent is told to some callers only, so it is the public one."""
        if not ask.mailbox:
            return own_card(ask.base)
        card = await self.cards.of(ask.caller, ask.mailbox, ask.base)
        if card is None:
            raise A2aError(NOT_FOUND)
        return without_older(card)

    async def _check_extensions(self, ask: Ask) -> None:
        missing = sorted((await self.cards.required(ask.mailbox)) - ask.extensions)
        if missing:
            raise A2aError(
                EXTENSION_REQUIRED, f"Extensions that the agent requires: {', '.join(missing)[:500]}"
            )


def _push(ask: Ask, configuration: p.Configuration | None) -> PushRequest | None:
    given = configuration.task_push_notification_config if configuration is not None else None
    return request_of(given, NEW, ask.version) if given is not None else None


def _envelope(message: p.Said) -> View:
    envelope: View = {"messageId": message.message_id, "role": message.role}
    if message.reference_task_ids:
        envelope["referenceTaskIds"] = message.reference_task_ids
    if message.extensions:
        envelope["extensions"] = message.extensions
    return envelope


def _intent(message: p.Said) -> IntentArguments:
    """What is to be done, of a message that names no mailbox: the words it begins with."""
    words = "\n".join(part["text"] for part in message.parts if isinstance(part.get("text"), str)).strip()
    if not words:
        raise A2aError(
            INVALID_PARAMS,
            "parts: no text; accepted here: a text part that says what is to be done; "
            "or call /a2a/{address}, or give a tenant",
        )
    return IntentArguments(text=words[:INTENT_MAX])


def _routed(receipt: View) -> View:
    """Whom the broker chose, and why."""
    if "routed" not in receipt:
        return {}
    return {"metadata": {ROUTED: {"mailbox": receipt["mailbox"], **receipt["routed"]}}}


def _check_context(session: str | None) -> None:
    if session is not None and (len(session) > 128 or not session.isprintable()):
        raise A2aError(INVALID_PARAMS, "contextId: accepted: 1 to 128 characters, none of them a control")


def _listed(view: View, most: int | None, artifacts: bool) -> View:
    artifacts_of = view["artifacts"] if artifacts else []
    shown = task_of({**view, "artifacts": artifacts_of}, view["said"], most)
    return {**shown, "artifacts": shown.get("artifacts", [])} if artifacts else shown


def _since(time: str | None) -> int | None:
    if time is None:
        return None
    try:
        at = datetime.fromisoformat(time)
        if at.tzinfo is None:
            raise ValueError
    except ValueError:
        raise A2aError(INVALID_PARAMS, f"statusTimestampAfter: {time[:64]!a}; accepted: RFC 3339") from None
    return milliseconds(at) + bool(at.microsecond % 1000)


def _token(view: View) -> str:
    place = (milliseconds(datetime.fromisoformat(view["updated_at"])), view["id"])
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def _read_token(token: str) -> _Place:
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        read: _Place = _place.decode(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (UnicodeEncodeError, binascii.Error, msgspec.DecodeError):
        what = "pageToken: none of ours; accepted: nextPageToken of the page before"
        raise A2aError(INVALID_PARAMS, what) from None
    return read
