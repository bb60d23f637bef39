"""The speed of A2A: ``python benchmarks/a2a.py [--quick] [--markdown FILE]``.

Servers, each a process of its own on the same uvicorn settings, take turns under the same load of
``SendMessage`` with ``returnImmediately``, every message with an id of its own: the broker, which stores a
task on disk before it answers; the SDK's JSON-RPC route with a handler that answers a task and keeps
nothing; and the SDK's default handler with its store in memory and an executor that completes at once.
What counts are the ratios, medians of the rounds. Then a thousand clients follow one task of the broker.
"""

from __future__ import annotations

import sys
from pathlib import Path

if sys.path[0] == str(Path(__file__).resolve().parent):
    del sys.path[0]  # of a script: there this file would hide the SDK of the same name

import argparse
import asyncio
import os
import shutil
import statistics
import tempfile
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import uvloop

from benchmarks.doors import ROUNDS, Connection, connections
from benchmarks.engine import BODY, floor, quantile
from benchmarks.followers import follow, rpc_bytes
from benchmarks.mcp import Place, prepare, running, serve
from benchmarks.table import Row, print_table, write_markdown

if TYPE_CHECKING:
    from a2a.server.request_handlers import RequestHandler

BOX = "box"
CALLERS = 16
FOLLOWERS = 1_000
UPDATES = 100
OF_ROUTE, OF_DEFAULT = 1.0, 2.0  # what our rate is to be, of theirs
ID = "m-0000000000"  # the id in the bytes of a request, which each call replaces


# -- the servers


def serve_route() -> None:
    """Run the SDK's route over a handler that keeps nothing; prints its address as the first line."""
    from a2a.server.context import ServerCallContext
    from a2a.server.request_handlers import RequestHandler
    from a2a.types import a2a_pb2 as pb

    async def send(_self: RequestHandler, _params: Any, _context: ServerCallContext) -> pb.Task:
        status = pb.TaskStatus(state=pb.TaskState.TASK_STATE_SUBMITTED)
        return pb.Task(id="task-1", context_id="context-1", status=status)

    methods: dict[str, Any] = dict.fromkeys(RequestHandler.__abstractmethods__, send)
    handler: RequestHandler = type("Trivial", (RequestHandler,), methods)()
    serve_handler(handler)


def serve_default() -> None:
    """Run the SDK's default handler; prints its address as the first line."""
    from a2a.server.agent_execution import AgentExecutor, RequestContext
    from a2a.server.events import EventQueue
    from a2a.server.request_handlers import DefaultRequestHandler
    from a2a.server.tasks import InMemoryTaskStore
    from a2a.types import a2a_pb2 as pb

    class Trivial(AgentExecutor):
        """Completes at once."""

        async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
            """One event."""
            status = pb.TaskStatus(state=pb.TaskState.TASK_STATE_COMPLETED)
            task = pb.Task(id=context.task_id, context_id=context.context_id, status=status)
            await event_queue.enqueue_event(task)

        async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
            """Nothing to cancel."""

    card = pb.AgentCard(name="default", capabilities=pb.AgentCapabilities(streaming=True))
    serve_handler(DefaultRequestHandler(Trivial(), InMemoryTaskStore(), card))


def serve_handler(handler: RequestHandler) -> None:
    """Serve it as the broker is served."""
    from a2a.server.routes import create_jsonrpc_routes
    from starlette.applications import Starlette

    serve(Starlette(routes=create_jsonrpc_routes(handler, f"/a2a/{BOX}")))


# -- the load


class Load(NamedTuple):
    """A server, and the bytes of a call before and after the id of its message."""

    place: Place
    before: bytes
    after: bytes


def message(**around: Any) -> dict[str, Any]:
    """The parameters of a send."""
    said = {"messageId": ID, "role": "ROLE_USER", "parts": [{"text": BODY}]}
    return {"message": said, "configuration": {"returnImmediately": True}, **around}


def over_rpc(place: Place) -> Load:
    """JSON-RPC."""
    request = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": message()}
    before, _, after = rpc_bytes(BOX, request).partition(ID.encode())
    return Load(place, before, after)


def over_http(place: Place) -> Load:
    """HTTP+JSON."""
    body = msgspec.json.encode(message())
    head = (
        f"POST /a2a/{BOX}/v1/message:send HTTP/1.1\r\nHost: 127.0.0.1\r\nMq9-Agent: bench\r\n"
        f"A2A-Version: 1.0\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    before, _, after = (head.encode() + body).partition(ID.encode())
    return Load(place, before, after)


class Ids:
    """An id for every message, all of one length."""

    def __init__(self) -> None:
        self.last = 0

    def request(self, load: Load) -> bytes:
        """The next call."""
        self.last += 1
        return b"%bm-%010d%b" % (load.before, self.last, load.after)


async def send_for(load: Load, ids: Ids, seconds: float) -> list[float]:
    """The seconds of every call in that time."""
    times: list[float] = []
    over = time.perf_counter() + seconds
    busy, ended = CALLERS, asyncio.Event()

    def answered(one: Connection, answer: bytes) -> None:
        nonlocal busy
        now = time.perf_counter()
        assert b'"TASK_STATE_' in answer, answer[-500:]
        times.append(now - one.begun)
        if now < over:
            one.call(ids.request(load))
            return
        one.transport.close()
        busy -= 1
        if not busy:
            ended.set()

    for one in await connections(load.place.address, CALLERS, answered):
        one.call(ids.request(load))
    await ended.wait()
    return times


class Rounds:
    """What each round came to."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.rates: list[float] = []
        self.cpus: list[float] = []
        self.times: list[float] = []

    async def run(self, ids: Ids, seconds: float) -> None:
        """One more."""
        begun, cpu = time.perf_counter(), self.load.place.cpu_s()
        times = await send_for(self.load, ids, seconds)
        self.rates.append(len(times) / (time.perf_counter() - begun))
        self.cpus.append((self.load.place.cpu_s() - cpu) / len(times) * 1e6)
        self.times += times

    def figure(self) -> str:
        """Rate, processor time, latency."""
        return (
            f"{statistics.median(self.rates):,.0f} calls/s, {statistics.median(self.cpus):.0f} us CPU each, "
            f"p50 {quantile(self.times, 0.5):.2f} ms, p99 {quantile(self.times, 0.99):.2f} ms"
        )

    def of(self, other: Rounds) -> float:
        """Our rate in terms of the other's, in the middle round."""
        return statistics.median(ours / theirs for ours, theirs in zip(self.rates, other.rates, strict=True))


async def measure(broker: Place, route: Place, default: Place, seconds: float) -> list[Row]:
    """The servers in turns."""
    await prepare(broker)  # what it imports by itself a second after its start is there before the load
    ids = Ids()
    theirs, heavy, ours, http = (
        Rounds(load) for load in (over_rpc(route), over_rpc(default), over_rpc(broker), over_http(broker))
    )
    for one in (theirs, heavy, ours, http):
        await send_for(one.load, ids, seconds / 10)  # the first calls bring in what is imported late
    commits: list[float] = []
    for _ in range(ROUNDS):
        commits += floor(50)
        for one in (theirs, ours, heavy, http):
            await one.run(ids, seconds)
    light, full = ours.of(theirs), ours.of(heavy)
    return [
        Row(
            "floor: fdatasync of 1 KB",
            f"p50 {quantile(commits, 0.5):.3f} ms, p99 {quantile(commits, 0.99):.3f} ms",
        ),
        Row(f"the SDK's route, a handler that keeps nothing: {CALLERS} connections", theirs.figure()),
        Row(f"the SDK's default handler, in memory: {CALLERS} connections", heavy.figure()),
        Row(f"SendMessage, JSON-RPC, on disk: {CALLERS} connections", ours.figure()),
        Row(f"SendMessage, HTTP+JSON, on disk: {CALLERS} connections", http.figure()),
        Row("of the SDK's route", f"{light:.2f} x", f"{OF_ROUTE} x", light >= OF_ROUTE),
        Row("of the SDK's default handler", f"{full:.2f} x", f"{OF_DEFAULT} x", full >= OF_DEFAULT),
    ]


def run(folder: Path, quick: bool) -> list[Row]:
    """All servers, all works."""
    seconds = 0.3 if quick else 2.0
    os.environ["OTEL_INSTRUMENTATION_A2A_SDK_ENABLED"] = "false"  # the SDK at its best
    options = ("--data", str(folder / "data"), "--port", "0", "--log-level", "warning")
    with ExitStack() as stack:
        broker = stack.enter_context(running("-m", "mq9_mcp.serve", *options))
        route = stack.enter_context(running(__file__, "--serve", "route"))
        default = stack.enter_context(running(__file__, "--serve", "default"))
        work = measure(broker, route, default, seconds)
        rows = uvloop.run(asyncio.wait_for(work, 60 + 100 * seconds))
        followers = follow(broker, FOLLOWERS, 10 if quick else UPDATES)
        return rows + uvloop.run(asyncio.wait_for(followers, 120))


def main() -> int:
    """Run the works, print the table; exit code 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, to see that it runs")
    parser.add_argument("--markdown", type=Path, help="write the table to this file too")
    parser.add_argument("--serve", choices=("route", "default"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        {"route": serve_route, "default": serve_default}[chosen.serve]()
        return 0
    folder = Path(tempfile.mkdtemp(prefix="mq9-bench-"))
    try:
        rows = run(folder, chosen.quick)
    finally:
        shutil.rmtree(folder)
    print_table(rows, header=True)
    if chosen.markdown:
        command = f"python benchmarks/a2a.py {' '.join(sys.argv[1:])}".strip()
        write_markdown(chosen.markdown, rows, command, "Benchmarks of the A2A door")
    return 0 if all(row.reached is not False for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
