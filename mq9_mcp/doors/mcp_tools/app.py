"""``/mcp``: what comes before the SDK. Who calls, how the answer is to travel, and who hung up.

The SDK is imported with the first call, in a thread: a server whose callers use other doors never pays for
it, and those who call meanwhile are answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Receive, Scope, Send

from mq9_mcp.broker.broker import Broker, stopping
from mq9_mcp.broker.catalogue import CATALOGUE
from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.domain.limits import limit
from mq9_mcp.doors.answer import refusal
from mq9_mcp.doors.caller import caller_of
from mq9_mcp.doors.mcp_tools.exchange import (
    CALL,
    EXCHANGE,
    LISTEN,
    Exchange,
    HungUp,
    Peek,
    plain,
    read_body,
    stripped,
    takes_streams,
)

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

    from mq9_mcp.doors.mcp_tools.transport import Transport

PATH = "/mcp"
OPENING = "initialize"
Dress = Callable[["Server[Any]"], None]
log = logging.getLogger("mq9.mcp")


class McpDoor:
    """The ASGI application at ``/mcp``. ``dress`` may add to the server object before it serves."""

    def __init__(
        self,
        broker: Broker,
        toolsets: tuple[str, ...] = (),
        request_bytes_max: int = limit("request_bytes_max"),
        dress: Dress | None = None,
    ) -> None:
        self.broker = broker
        self.toolsets = toolsets
        self.request_bytes_max = request_bytes_max
        self.dress = dress
        self.listening = 0  # calls that only listen: they take no room among those in work
        self._beginning: asyncio.Task[Transport] | None = None
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope = stripped(scope)
        try:
            caller = caller_of(scope["headers"])
            if self.broker.stopping:
                raise stopping()
            transport = await self._begun()
        except Mq9Error as error:
            await refusal(error)(scope, receive, send)
            return
        if scope["method"] != "POST":
            await transport.watch(scope, receive, send)
            return
        try:
            exchange = Exchange(caller, await read_body(receive), receive, self.broker.give_back)
        except HungUp:
            return
        await self._exchange(transport, exchange, {**scope, EXCHANGE: exchange}, send)

    async def _exchange(self, transport: Transport, exchange: Exchange, scope: Scope, send: Send) -> None:
        """Serve a POST until it is answered or its caller is gone."""
        seen = exchange.peek
        plain.set(not (_streams(seen) and takes_streams(scope)))
        listens = seen.method == LISTEN
        self.listening += listens
        ear = asyncio.create_task(exchange.listen()) if seen.waits else None
        try:
            await transport.work(scope, exchange.receive, exchange.sending(send), counted=not listens)
        finally:
            self.listening -= listens
            if ear is not None:
                ear.cancel()
            exchange.end()

    async def _begun(self) -> Transport:
        """The SDK's part, made with the first call."""
        if self._beginning is None or (self._beginning.done() and self._beginning.exception() is not None):
            self._beginning = asyncio.create_task(self._begin())
        return await asyncio.shield(self._beginning)

    async def _begin(self) -> Transport:
        make = await asyncio.to_thread(_maker)
        transport = make(self.broker, self.toolsets, self.request_bytes_max, self.dress)
        self._running = asyncio.create_task(transport.run(), name="mq9-mcp")
        await transport.ready.wait()
        return transport


def _maker() -> type[Transport]:
    from mq9_mcp.doors.mcp_tools.transport import Transport

    return Transport


def _streams(seen: Peek) -> bool:
    """The answer may need more than one piece: progress while it waits, or what is not ours to know.

    A session lives in the context of the call that opened it, and may stream only if that one did.
    """
    return seen.waits or seen.method == OPENING or (seen.method == CALL and seen.tool not in CATALOGUE)


def before(others: ASGIApp, door: McpDoor) -> ASGIApp:
    """An application that answers ``/mcp`` and leaves the rest to ``others``."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        here = scope["type"] == "http" and scope["path"] == PATH
        await (door if here else others)(scope, receive, send)

    return app
