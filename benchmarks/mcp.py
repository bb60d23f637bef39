"""The speed of MCP: ``python benchmarks/mcp.py [--quick] [--markdown FILE]``.

Servers, each a process of its own on the same uvicorn settings, take turns under the same load of raw
keep-alive connections of protocol version 2026-07-28: the broker, and one whose tool does nothing, by the
same SDK over the same transport, with answers of one piece of JSON. What counts is the ratio of these two.
A third one is the SDK's bare server object, without what its decorator adds: the least that a call can cost.
"""

from __future__ import annotations

import sys
from pathlib import Path

if sys.path[0] == str(Path(__file__).resolve().parent):
    del sys.path[0]  # of a script: there this file would hide the SDK of the same name

import argparse
import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import uvicorn
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.doors import ROUNDS, Connection, connections, repeat
from benchmarks.engine import BODY, quantile
from benchmarks.table import Row, print_table, write_markdown

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

ROOT = Path(__file__).resolve().parents[1]
VERSION = "2026-07-28"
CALLERS = 16
LEAST = 0.7  # of the rate of a tool that does nothing
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
}


class Place(NamedTuple):
    """A server process."""

    host: str
    port: int
    pid: int

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self.host, self.port

    def cpu_s(self) -> float:
        """The processor time that it has used; what it folds with is another process."""
        words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


# -- the servers


def serve_noop() -> None:
    """Run an application of the SDK whose one tool does nothing; prints its address as the first line."""
    from mcp.server import MCPServer
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    server: MCPServer[Any] = MCPServer("noop", log_level="ERROR")

    async def mailbox_send(to: str, text: str) -> str:  # noqa: ARG001
        """Send nothing."""
        return "message 1 in box: stored"

    server.tool(structured_output=False)(mailbox_send)
    serve_manager(StreamableHTTPSessionManager(server._lowlevel_server, json_response=True))


def serve_bare() -> None:
    """Run the SDK's server object without what decorates a tool; prints its address as the first line."""
    import mcp_types as types
    from mcp.server.lowlevel import Server
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    async def call(_ctx: Any, _params: types.CallToolRequestParams) -> dict[str, Any]:
        return {"resultType": "complete", "content": [{"type": "text", "text": "message 1 in box: stored"}]}

    server: Server[Any] = Server("bare", get_tool_input_schema=lambda _name: None)
    server.add_request_handler("tools/call", types.CallToolRequestParams, call)
    serve_manager(StreamableHTTPSessionManager(server, json_response=True))


def serve_manager(manager: StreamableHTTPSessionManager) -> None:
    """Serve the SDK's transport."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await manager.handle_request(scope, receive, send)

    serve(app, manager.run)


def serve(
    app: ASGIApp, open: Callable[[], AbstractAsyncContextManager[None]] = contextlib.nullcontext
) -> None:
    """Serve an application as the broker is served: the same uvicorn, loop and settings."""

    async def serving(listening: socket.socket) -> None:
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
        )
        async with open():
            await uvicorn.Server(config).serve(sockets=[listening])

    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        runner.run(serving(listening))


@contextmanager
def running(*command: str) -> Iterator[Place]:
    """A server process; the last word of its first line is its address."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'a2a'}"}
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        url = urlsplit(process.stdout.readline().split()[-1])
        yield Place(url.hostname or "", url.port or 0, process.pid)
    finally:
        process.terminate()
        process.wait()


# -- the load


def call_bytes(tool: str, **arguments: Any) -> bytes:
    """One call of a tool as bytes."""
    params = {"name": tool, "arguments": arguments, "_meta": META}
    body = msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    head = (
        "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nMq9-Agent: bench\r\nContent-Type: application/json\r\n"
        f"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: {VERSION}\r\n"
        f"Mcp-Method: tools/call\r\nMcp-Name: {tool}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def lease_in(answer: bytes) -> str | None:
    """The lease in the answer to a fetch of one message."""
    at = answer.find(b'"lease":"')
    return None if at < 0 else answer[at + 9 : answer.index(b'"', at + 9)].decode()


async def emptied(place: Place, count: int, seconds: float) -> int:
    """How many calls, fetches and acks in turn, empty a mailbox by so many callers in that time."""
    over = time.perf_counter() + seconds
    calls, busy, ended = 0, count, asyncio.Event()
    fetch = call_bytes("mailbox_fetch", mailbox="box", max=1)

    def answered(one: Connection, answer: bytes) -> None:
        nonlocal calls, busy
        calls += 1
        lease = lease_in(answer)
        if lease is not None:
            one.call(call_bytes("mailbox_ack", items=[{"lease": lease}]))
        elif time.perf_counter() < over:
            assert b"ack done" in answer, answer[-500:]
            one.call(fetch)
        else:
            one.transport.close()
            busy -= 1
            if not busy:
                ended.set()

    for one in await connections(place.address, count, answered):
        one.call(fetch)
    await ended.wait()
    return calls


async def prepare(place: Place) -> None:
    """A mailbox; and the first call brings the SDK in."""
    for request in (call_bytes("mailbox_create", address="box"), call_bytes("mailbox_query", mailbox="box")):
        answer: asyncio.Queue[bytes] = asyncio.Queue()
        [one] = await connections(place.address, 1, lambda _one, data, to=answer: to.put_nowait(data))  # type: ignore[misc]
        one.call(request)
        assert b'"isError":true' not in await answer.get()
        one.transport.close()


class Rate:
    """Calls, the time they took, and the processor's part of it."""

    def __init__(self) -> None:
        self.calls = 0
        self.seconds = 0.0
        self.cpu = 0.0
        self.times: list[float] = []

    def add(self, calls: int, seconds: float, cpu: float) -> None:
        """Another round."""
        self.calls += calls
        self.seconds += seconds
        self.cpu += cpu

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.seconds

    def row(self, work: str, floor: Rate | None = None) -> Row:
        """What it came to, beside the floor."""
        figure = f"{self.rate:,.0f} calls/s, {self.cpu / self.calls * 1e6:.0f} us CPU each"
        if self.times:
            figure += f", p50 {quantile(self.times, 0.5):.2f} ms, p99 {quantile(self.times, 0.99):.2f} ms"
        if floor is None:
            return Row(work, figure)
        ratio = self.rate / floor.rate
        return Row(work, f"{figure} = {ratio:.2f} x the no-op", f"{LEAST} x", ratio >= LEAST)


async def measure(broker: Place, noop: Place, bare: Place, seconds: float) -> list[Row]:
    """The servers in turns."""
    await prepare(broker)
    nothing, least, send, settle = Rate(), Rate(), Rate(), Rate()
    text = call_bytes("mailbox_send", to="box", text=BODY)
    for _ in range(ROUNDS):
        for rate, place in ((nothing, noop), (least, bare), (send, broker)):
            begun, cpu = time.perf_counter(), place.cpu_s()
            times = await repeat(place.address, CALLERS, seconds, text)
            rate.add(len(times), time.perf_counter() - begun, place.cpu_s() - cpu)
            rate.times += times
        begun, cpu = time.perf_counter(), broker.cpu_s()
        calls = await emptied(broker, CALLERS, seconds / 2)  # fewer than were sent
        settle.add(calls, time.perf_counter() - begun, broker.cpu_s() - cpu)
    return [
        nothing.row(f"a tool that does nothing: {CALLERS} connections"),
        least.row(f"the SDK's bare server object: {CALLERS} connections"),
        send.row(f"mailbox_send: {CALLERS} connections", nothing),
        settle.row(f"mailbox_fetch and mailbox_ack in turn: {CALLERS} connections", nothing),
    ]


def main() -> int:
    """Run the works, print the table; exit code 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, to see that it runs")
    parser.add_argument("--markdown", type=Path, help="write the table to this file too")
    parser.add_argument("--serve", choices=("noop", "bare"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        {"noop": serve_noop, "bare": serve_bare}[chosen.serve]()
        return 0
    folder = Path(tempfile.mkdtemp(prefix="mq9-bench-"))
    options = ("--data", str(folder / "data"), "--port", "0", "--log-level", "warning")
    try:
        with (
            running("-m", "mq9_mcp.serve", *options) as broker,
            running(__file__, "--serve", "noop") as noop,
            running(__file__, "--serve", "bare") as bare,
        ):
            seconds = 0.3 if chosen.quick else 3.0
            rows = uvloop.run(asyncio.wait_for(measure(broker, noop, bare, seconds), 60 + 100 * seconds))
    finally:
        shutil.rmtree(folder)
    print_table(rows, header=True)
    if chosen.markdown:
        command = f"python benchmarks/mcp.py {' '.join(sys.argv[1:])}".strip()
        write_markdown(chosen.markdown, rows, command, "Benchmarks of the MCP door")
    return 0 if all(row.reached is not False for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
