"""The door in a real server process: full, listened to, and told to stop."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.mcp_door.host import BOTH, request
from tests.serve.http import JSON, Line
from tests.serve.process import Server, serving

ROOT = Path(__file__).parents[2]
AGENT = {"mq9-agent": "anna"}
BOX = "mq9://mailboxes/anna"
Body = Callable[[httpx.AsyncClient], Coroutine[Any, Any, None]]


def run(server: Server, body: Body) -> None:
    """Run a test body with a client of the server."""

    async def within() -> None:
        async with asyncio.timeout(60), httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            await body(client)

    asyncio.run(within())


async def call(client: httpx.AsyncClient, method: str, **params: Any) -> httpx.Response:
    """One request of 2026-07-28."""
    headers, content = request(method, **params)
    return await client.post("/mcp", headers=headers | AGENT, content=content)


@asynccontextmanager
async def listening(client: httpx.AsyncClient) -> AsyncIterator[AsyncIterator[str]]:
    """The lines of a stream that tells of changes, which has begun."""
    headers, content = request("subscriptions/listen", notifications={"resourceSubscriptions": [BOX]})
    async with client.stream("POST", "/mcp", headers=headers | AGENT, content=content) as answer:
        lines = answer.aiter_lines()
        async for line in lines:
            if "acknowledged" in line:
                break
        yield lines


@asynccontextmanager
async def session(client: httpx.AsyncClient) -> AsyncIterator[AsyncIterator[str]]:
    """The stream of notifications of a session of the versions before."""
    opening: dict[str, Any] = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "old", "version": "1"},
    }
    headers, content = request("initialize", modern=False, **opening)
    begun = await client.post("/mcp", headers=headers, content=content)
    known = {**BOTH, "mcp-session-id": begun.headers["mcp-session-id"]}
    await client.post("/mcp", headers=known, json={"jsonrpc": "2.0", "method": "notifications/initialized"})
    async with client.stream("GET", "/mcp", headers=known) as answer:
        assert answer.status_code == 200
        yield answer.aiter_lines()


def test_a_signal_ends_streams_and_answers_who_waits(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:

        async def body(client: httpx.AsyncClient) -> None:
            await call(client, "tools/call", name="mailbox_fetch", arguments={})
            async with listening(client) as told, session(client) as heard:
                fetch = {"name": "mailbox_fetch", "arguments": {"wait_s": 50}}
                waiting = asyncio.create_task(call(client, "tools/call", **fetch))
                while "mq9_calls_waiting 1.0" not in (await client.get("/metrics")).text:
                    assert not waiting.done()
                begin = asyncio.get_running_loop().time()
                server.signal()
                answer = await waiting
                assert answer.status_code == 200
                assert '"messages":[]' in answer.text
                assert [line async for line in told if '"result"' in line], "it ended in order"
                assert [line async for line in heard if "data" in line] == []
                assert asyncio.get_running_loop().time() - begin < 8, "nobody had to be cut off"

        run(server, body)
        assert server.end() == 0
        assert not server.logged("fault")


def test_a_full_server_says_when_to_come_again_and_listeners_take_no_room(tmp_path: Path) -> None:
    with serving(tmp_path / "data", calls_max=1) as server:

        async def body(client: httpx.AsyncClient) -> None:
            await call(client, "tools/call", name="mailbox_fetch", arguments={})
            async with listening(client) as told:
                assert (await call(client, "tools/list")).status_code == 200
                with Line(server.url) as line:
                    line.begin("/v1/mailbox_query", JSON, 2)
                    while "mq9_calls_in_work 1.0" not in (await client.get("/metrics")).text:
                        pass
                    answer = await call(client, "tools/list")
                    assert answer.status_code == 429
                    assert answer.json()["error"]["code"] == "RATE_LIMITED"
                    assert answer.headers["retry-after"] == "1"
                    line.write(b"{}")
                    line.answer()
                while "mq9_calls_in_work 0.0" not in (await client.get("/metrics")).text:
                    pass
                sent = await call(
                    client, "tools/call", name="mailbox_send", arguments={"to": "anna", "text": "x"}
                )
                assert sent.status_code == 200
                assert await anext(line async for line in told if BOX in line)

        run(server, body)


def test_the_benchmark_named_like_the_sdk_does_not_hide_it() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "mcp.py"), "--serve", "noop"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'a2a'}"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith("http://127.0.0.1:")
        finally:
            process.terminate()
