"""What the tests of REST share: a broker behind a real uvicorn on a free port of the loopback."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.types import ASGIApp

from mq9_mcp.broker.broker import Broker
from mq9_mcp.serve import make_app
from mq9_mcp.settings import Settings
from tests.support import Desk, Reply, opened

Make = Callable[[Broker], ASGIApp]
SMALL_BYTES = 16 * 1024  # what the system may buffer for a caller that reads nothing


class Site:
    """A served desk; ``call`` and ``refused`` go over HTTP as agent ``alice`` unless said otherwise."""

    def __init__(self, desk: Desk, server: uvicorn.Server, port: int, client: httpx.AsyncClient) -> None:
        self.desk = desk
        self.server = server
        self.port = port
        self.client = client

    async def post(
        self, name: str, body: bytes = b"", agent: str = "alice", **headers: str
    ) -> httpx.Response:
        """One request with this body; ``mq9_key="x"`` is the header ``mq9-key: x``."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        sent = {"mq9-agent": agent, "content-type": "application/json", **named}
        return await self.client.post(f"/v1/{name}", content=body, headers=sent)

    async def call(self, name: str, agent: str = "alice", **arguments: Any) -> Reply:
        """The reply of a command."""
        answer = await self.post(name, json.dumps(arguments).encode(), agent)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        reply: Reply = answer.json()
        return reply

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A bare connection, for callers that behave badly."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    def deaf_connection(self) -> socket.socket:
        """A connection whose owner reads nothing, and for which the system keeps little."""
        caller = socket.socket()
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BYTES)
        caller.connect(("127.0.0.1", self.port))
        return caller

    @property
    def connections(self) -> int:
        """How many connections the server has."""
        return len(self.server.server_state.connections)


async def until(true: Callable[[], object]) -> None:
    """Let others run until ``true()``."""
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0)


def error_of(answer: httpx.Response, status: int, code: str = "INVALID_ARGUMENT") -> str:
    """The message of a refusal, which must have the error shape, this status and this code."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    shape = answer.json()["error"]
    assert shape["code"] == code
    assert {*shape} <= {"code", "message", "hint", "details"}
    message: str = shape["message"]
    return message


def raw_request(name: str, body: bytes, agent: str = "alice") -> bytes:
    """A whole request as bytes."""
    head = (
        f"POST /v1/{name} HTTP/1.1\r\nhost: 127.0.0.1\r\nmq9-agent: {agent}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@asynccontextmanager
async def served(
    folder: Path, *mailboxes: str, make: Make | None = None, **options: Any
) -> AsyncIterator[Site]:
    """A desk and its server, stopped in order at the end; ``make`` puts other doors than usual before it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BYTES)
        port = listening.getsockname()[1]
        async with opened(folder, *mailboxes, **options) as desk:
            config = uvicorn.Config(
                make(desk.broker) if make else make_app(desk.broker, Settings(data=folder)),
                http="httptools",
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
            )
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                yield Site(desk, server, port, client)
            server.should_exit = True
            await desk.broker.close()
            await serving


def run_site(
    test: Callable[[Site], Coroutine[Any, Any, None]], folder: Path, *mailboxes: str, **options: Any
) -> None:
    """Run an async test body on a served desk; a test that hangs fails after 60 s."""

    async def body() -> None:
        async with asyncio.timeout(60), served(folder, *mailboxes, **options) as site:
            await test(site)

    asyncio.run(body())
