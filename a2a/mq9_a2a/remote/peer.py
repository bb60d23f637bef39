"""The agent elsewhere, as the SDK's client sees it: asked until it answers, or says that it never will.

While it is down all who want something of it wait together, longer each time; the first answer wakes all.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import httpx
from a2a.client import A2AClientError, ClientConfig, ClientFactory
from a2a.client.client import Client
from a2a.types import a2a_pb2 as pb
from a2a.utils import errors as sdk
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError  # type: ignore[import-untyped]

from mq9_a2a.words import TERMINAL, View, whole
from mq9_mcp import __version__
from mq9_mcp.peers.pinned import OutOfReach
from mq9_mcp.peers.reach import Reach
from mq9_mcp.peers.transport import Ourselves, Own, PinnedTransport

CALL_S = 30.0
IDLE_S = 90.0  # so long may a stream say nothing, before it is looked whether it still tells all
ANSWER_S = 120.0  # and so long may an answer that is no stream take, however it comes
LOOK_S = 0.1  # between looks at a task of which a stream tells that it moves
POLL_S = (0.5, 5.0)  # between looks without a stream: the first pause, and the longest
STREAMS_LOST_MAX = 4  # one after the other, before looks alone tell
STREAM_POLL_S = 30.0  # a stream that tells nothing may be broken
PAUSE_S = (0.5, 60.0)  # between attempts while it is down
UNCLEAR_MAX = 5  # answers that are none, before it is given up
LISTED = 50
_PASSING = (408, 425, 429)
_END = {f"TASK_STATE_{state.upper()}" for state in TERMINAL}
Asking = Callable[[Client], Awaitable[Any]]


class Refusal(Exception):
    """The agent will not do it, however often it is asked; the text says why."""


class Down(Exception):
    """The agent cannot be asked now. ``sent``: it may have got what it was to get."""

    def __init__(self, why: str, sent: bool) -> None:
        super().__init__(why)
        self.sent = sent


class Peer:
    """One agent elsewhere. ``is_up`` hears why it is down, or nothing once it answers."""

    def __init__(
        self, card: Mapping[str, Any], reach: Reach, own: Own, is_up: Callable[[str], Awaitable[None]]
    ) -> None:
        self._is_up = is_up
        self._http = httpx.AsyncClient(
            transport=PinnedTransport(reach, own),
            timeout=httpx.Timeout(CALL_S, read=IDLE_S),
            headers={"accept-encoding": "identity", "user-agent": f"mq9-mcp/{__version__}"},
            trust_env=False,
        )
        self._streams = card.get("capabilities", {}).get("streaming") is True
        self._failures = 0
        self._answered = asyncio.Event()
        self._plain: Client | None = None
        self._streaming: Client | None = None
        self._wrong = ""
        try:
            read = ParseDict(dict(card), pb.AgentCard(), ignore_unknown_fields=True)
            self._plain, self._streaming = (_client(self._http, read, streams) for streams in (False, True))
        except (ParseError, ValueError) as error:
            self._wrong = f"the card names no address that can be called: {error}"

    async def close(self) -> None:
        """End the connections."""
        await self._http.aclose()

    # -- what is asked of it

    async def send(self, request: pb.SendMessageRequest) -> View:
        """``{task}`` or ``{message}``; one attempt. Raises ``Down`` and ``Refusal``."""
        return await self._once(lambda client: _first(client, request), _is_answer)

    async def task(self, id: str) -> View:
        """A task, however long the agent is down."""
        return await self._until(lambda client: client.get_task(pb.GetTaskRequest(id=id)), _is_named(id))

    async def find(self, context: str, message: str) -> View | None:
        """The task that a message opened, as far as the agent tells."""
        wanted = pb.ListTasksRequest(context_id=context, page_size=LISTED, include_artifacts=True)
        try:
            found = await self._until(lambda client: client.list_tasks(wanted), lambda _: True)
        except Refusal:
            return None  # older agents have no list
        tasks: list[View] = found.get("tasks", [])
        return next((task for task in tasks if _is_task(task) and took(task, message)), None)

    async def cancel(self, id: str) -> View:
        """The task, after it was asked to stop."""
        return await self._until(
            lambda client: client.cancel_task(pb.CancelTaskRequest(id=id)), _is_named(id)
        )

    async def snapshots(self, id: str) -> AsyncGenerator[View]:
        """The task as it is now, then whenever it may have changed; to its end, however long it is down.

        A stream only tells when to look: what it tells beside a look may overlap with it.
        """
        quiet, moved = 0, asyncio.Event()
        listening = asyncio.create_task(self._listen(id, moved)) if self._streams else None
        try:
            while True:
                moved.clear()
                task = await self.task(id)
                yield task
                if task["status"]["state"] in _END:
                    return
                quiet = 0 if moved.is_set() else quiet + 1
                await _pause(moved, quiet, listening is not None and not listening.done())
        finally:
            if listening is not None:
                listening.cancel()
                await asyncio.wait({listening})

    async def _listen(self, id: str, moved: asyncio.Event) -> None:
        """Ring whenever something happens, until the agent has no stream for the task any more."""
        failures = 0
        while failures < STREAMS_LOST_MAX:
            try:
                await self._stream(id, moved)
                failures = 0
            except Refusal:
                break
            except Down:
                failures += 1
            moved.set()
            await asyncio.sleep(LOOK_S * 2**failures)
        moved.set()

    async def _stream(self, id: str, moved: asyncio.Event) -> None:
        client = self._streaming
        assert client is not None
        try:
            async with aclosing(client.subscribe(pb.SubscribeToTaskRequest(id=id))) as events:  # type: ignore[type-var]
                async for _ in events:
                    moved.set()
        except Exception as error:
            raise _judged(error) from error

    # -- asking until there is an answer

    def _ready(self) -> Client:
        if self._plain is None:
            raise Refusal(self._wrong)
        return self._plain

    async def _once(self, ask: Asking, right: Callable[[View], bool]) -> View:
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await ask(self._ready())
        except Refusal:
            raise
        except TimeoutError:
            raise Down(f"no whole answer within {ANSWER_S:.0f} s", sent=True) from None
        except Exception as error:
            raise _judged(error) from error
        found: View = whole(MessageToDict(answer))
        if not right(found):
            raise Unclear("it answers what was not asked for", sent=True)
        self._failures = 0
        self._answered.set()
        await self._is_up("")
        return found

    async def _until(self, ask: Asking, right: Callable[[View], bool]) -> View:
        unclear = 0
        while True:
            try:
                return await self._once(ask, right)
            except Unclear as error:
                unclear += 1
                if unclear == UNCLEAR_MAX:
                    raise Refusal(str(error)) from error
                await self.pause(error)
            except Down as error:
                await self.pause(error)

    async def pause(self, error: Down) -> None:
        """Wait before the next attempt, longer each time, or until the agent has answered somebody."""
        self._failures += 1
        await self._is_up(str(error))
        first, most = PAUSE_S
        longest = min(most, first * 2 ** min(self._failures - 1, 10))
        self._answered.clear()
        try:
            async with asyncio.timeout(longest * random.uniform(0.5, 1)):
                await self._answered.wait()
        except TimeoutError:
            pass


def _client(http: httpx.AsyncClient, card: pb.AgentCard, streams: bool) -> Client:
    bindings = ["JSONRPC", "HTTP+JSON"]
    config = ClientConfig(streaming=streams, httpx_client=http, supported_protocol_bindings=bindings)
    return ClientFactory(config).create(card)


class Unclear(Down):
    """It answered something that is no answer."""


async def _first(client: Client, request: pb.SendMessageRequest) -> Any:
    async with aclosing(client.send_message(request)) as responses:  # type: ignore[type-var]
        async for response in responses:
            return response
    raise A2AClientError("it answered nothing")


async def _pause(moved: asyncio.Event, quiet: int, streaming: bool) -> None:
    """Until the next look is worth it."""
    first, most = POLL_S
    wait_s = STREAM_POLL_S if streaming else min(most, first * 2 ** min(quiet, 8)) * random.uniform(0.8, 1)
    try:
        async with asyncio.timeout(wait_s):
            await moved.wait()
    except TimeoutError:
        return
    await asyncio.sleep(LOOK_S)


def _is_task(found: View) -> bool:
    return bool(found.get("id") and found.get("status", {}).get("state"))


def _is_named(id: str) -> Callable[[View], bool]:
    return lambda found: _is_task(found) and found["id"] == id


def _is_answer(found: View) -> bool:
    return _is_task(found["task"]) if "task" in found else "message" in found


def took(task: View, message: str) -> bool:
    """True if a message is in the task's history."""
    return any(one.get("messageId") == message for one in task.get("history", ()))


def _judged(error: Exception) -> Exception:
    """Whether asking again can help. Nothing that the agent itself wrote is told, but an A2A error's text."""
    if isinstance(error, Ourselves):
        return Refusal("its address is this broker's own: a mailbox cannot deliver to itself")
    if isinstance(error, OutOfReach):
        return Refusal(
            "its address is private, loopback or link-local; "
            "the operator can allow its network with the setting card_networks"
        )
    cause = error if isinstance(error, httpx.HTTPError) else error.__cause__
    if isinstance(cause, httpx.HTTPStatusError):
        status = cause.response.status_code
        if status >= 500 or status in _PASSING:
            return Down(f"it answers {status}", sent=status not in (429, 503))
        return Refusal(f"it answers {status}")
    if isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return Down("it cannot be reached", sent=False)
    if isinstance(cause, httpx.DecodingError):
        return Unclear(f"it answers what is not read here: {cause}", sent=True)
    if isinstance(cause, httpx.RequestError):
        return Down(f"the connection broke: {type(cause).__name__}", sent=True)
    if isinstance(error, sdk.InternalError) or not isinstance(error, sdk.A2AError):
        return Unclear(f"it failed: {type(error).__name__}", sent=True)
    if isinstance(error, A2AClientError):
        return Unclear("it answers what is no A2A", sent=True)
    return Refusal(f"it refuses: {error.message or type(error).__name__}"[:500])
