"""The SDK's Streamable HTTP, both eras, for as long as the broker takes calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.types import Message, Receive, Scope, Send

from mq9_mcp.broker.broker import Broker
from mq9_mcp.doors.mcp_tools.exchange import plain
from mq9_mcp.doors.mcp_tools.listening import SESSION_HEADER
from mq9_mcp.doors.mcp_tools.server import make_server

SESSIONS_MAX = 4_096  # of clients of the handshake versions; those who come in vain get 503
SESSION_IDLE_S = 1_800
_SESSION = SESSION_HEADER.encode()


class PerRequest:
    """True where the answer to the request in hand is one piece of JSON: the SDK asks for each anew."""

    def __bool__(self) -> bool:
        return plain.get()


class Transport:
    """One server object and its sessions; ``run`` it, and ``work`` while it runs."""

    def __init__(
        self,
        broker: Broker,
        toolsets: tuple[str, ...],
        request_bytes_max: int,
        dress: Callable[[Server[Any]], None] | None,
    ) -> None:
        self.broker = broker
        self.server, self._listening = make_server(broker, toolsets)
        if dress is not None:
            dress(self.server)
        self.ready = asyncio.Event()
        self._in_work = 0
        self._idle = asyncio.Event()
        self._manager = StreamableHTTPSessionManager(
            self.server,
            json_response=cast(bool, PerRequest()),
            session_idle_timeout=SESSION_IDLE_S,
            max_request_body_size=request_bytes_max,
            max_sessions=SESSIONS_MAX,
        )

    async def run(self) -> None:
        """Serve until the broker stops and every call has its answer; then streams end."""
        async with self._manager.run():
            self.ready.set()
            await self.broker.draining.wait()
            while self._in_work:
                self._idle.clear()
                await self._idle.wait()

    async def work(self, scope: Scope, receive: Receive, send: Send, counted: bool) -> None:
        """Serve a request whose answer a stop waits for, if it is ``counted``."""
        self._in_work += counted
        try:
            await self._manager.handle_request(scope, receive, send)
        finally:
            self._in_work -= counted
            self._idle.set()

    async def watch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what is no POST: a session's stream of notifications, or its end."""
        session = next((value for name, value in scope["headers"] if name == _SESSION), b"").decode("latin-1")
        if scope["method"] == "DELETE":
            self._listening.forget(session)
        opened = False

        async def sending(message: Message) -> None:
            nonlocal opened
            await send(message)
            if message["type"] == "http.response.start" and scope["method"] == "GET":
                opened = message["status"] == HTTPStatus.OK
                if opened:
                    self._listening.opened(session)

        try:
            await self._manager.handle_request(scope, receive, sending)
        finally:
            if opened:
                self._listening.closed(session)
