"""An A2A agent elsewhere: the SDK's own server on the loopback, with the executor of the other tests."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryTaskStore
from a2a.types import AgentCard
from google.protobuf.json_format import ParseDict  # type: ignore[import-untyped]
from mq9_a2a.words import PUSH_DELIVERY
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.a2a_listen.agent import Agent


def card(url: str, binding: str = "JSONRPC", streaming: bool = True) -> dict[str, Any]:
    """The card of an agent at ``url`` that asks for delivery."""
    return {
        "name": "Scales",
        "description": "Weighs cats.",
        "version": "1",
        "supportedInterfaces": [{"url": url, "protocolBinding": binding, "protocolVersion": "1.0"}],
        "capabilities": {"streaming": streaming, "extensions": [{"uri": PUSH_DELIVERY}]},
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain"],
        "skills": [],
    }


class Elsewhere:
    """The agent and what it is asked; it can be down, and up again with all it knows."""

    def __init__(self, binding: str, streaming: bool) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}" + ("" if binding == "HTTP+JSON" else "/rpc")
        self.card = card(self.url, binding, streaming)
        self.agent = Agent()
        self.store = InMemoryTaskStore()
        self.lose_answers = 0
        self.asked = 0
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.handler = DefaultRequestHandler(
            self.agent, self.store, ParseDict(self.card, AgentCard(), ignore_unknown_fields=True)
        )

    async def up(self) -> None:
        """Answer from now on."""
        routes = [*create_jsonrpc_routes(self.handler, "/rpc"), *create_rest_routes(self.handler)]
        config = uvicorn.Config(
            self._counted(Starlette(routes=routes)),
            host="127.0.0.1",
            port=self.port,
            log_config=None,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self._serving = asyncio.create_task(self._server._serve())
        while not self._server.started:
            await asyncio.sleep(0)

    def _counted(self, app: ASGIApp) -> ASGIApp:
        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            self.asked += 1
            if self.lose_answers:
                self.lose_answers -= 1

                async def nothing(_: Any) -> None:
                    raise ConnectionResetError

                try:
                    await app(scope, receive, nothing)
                except ConnectionResetError:
                    await send({"type": "http.response.start", "status": 502, "headers": []})
                    await send({"type": "http.response.body", "body": b""})
                return
            await app(scope, receive, send)

        return counted

    async def down(self) -> None:
        """Answer no more."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = self._server.force_exit = True
            await self._serving


@asynccontextmanager
async def elsewhere(
    binding: str = "JSONRPC", streaming: bool = True, up: bool = True
) -> AsyncIterator[Elsewhere]:
    """An agent elsewhere for the time of a test."""
    agent = Elsewhere(binding, streaming)
    try:
        if up:
            await agent.up()
        yield agent
    finally:
        agent.agent.go_on.set()
        await agent.down()
