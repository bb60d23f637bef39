"""The speed of REST: ``python benchmarks/doors.py [--quick] [--markdown FILE]``.

Two servers, each a process of its own on the same uvicorn settings, take turns under the same load: the
broker, and a bare Starlette route that reads JSON and answers JSON. What counts is the ratio of the two,
and what a commit to this disk costs, measured in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.engine import BODY, floor, quantile
from benchmarks.table import Row, print_table, write_markdown

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 5
BATCH = 100
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

# -- the servers


async def bare(request: Request) -> JSONResponse:
    """What REST cannot be faster than: JSON in, the answer of a send out."""
    arguments = await request.json()
    receipt = {
        "id": 1,
        "mailbox": arguments["to"],
        "stored_at": "2027-01-15T08:00:00.000Z",
        "duplicate": False,
        "session": "mq9.1",
    }
    return JSONResponse({"receipts": [receipt]})


def serve_bare() -> None:
    """Run the bare route; its address is the first line that it prints."""
    config = uvicorn.Config(
        Starlette(routes=[Route("/v1/mailbox_send", bare, methods=["POST"])]),
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
    )
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        runner.run(uvicorn.Server(config).serve(sockets=[listening]))


@contextmanager
def running(*command: str) -> Iterator[tuple[str, int]]:
    """A server process; the last word of its first line is its address."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'a2a'}"}
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        yield urlsplit(url).hostname or "", urlsplit(url).port or 0
    finally:
        process.terminate()
        process.wait()


# -- the load


def request_bytes(name: str, arguments: dict[str, Any]) -> bytes:
    """One call as bytes."""
    body = _encode(arguments)
    head = (
        f"POST /v1/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nMq9-Agent: bench\r\nContent-Type: application/json"
        f"\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection(asyncio.Protocol):
    """One caller: its next call goes out when the answer to the last one is whole."""

    def __init__(self, answered: Callable[[Connection, bytes], None]) -> None:
        self.transport: asyncio.Transport
        self.answered = answered
        self.begun = 0.0
        self._data = b""
        self._whole = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The line is there."""
        self.transport = cast(asyncio.Transport, transport)

    def call(self, request: bytes) -> None:
        """Send a call."""
        self.begun = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Hand a whole answer on."""
        self._data = data if not self._data else self._data + data
        if not self._whole:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            assert self._data.startswith(b"HTTP/1.1 200"), self._data[:500]
            at = self._data.index(b"content-length: ") + 16
            self._whole = end + 4 + int(self._data[at : self._data.index(b"\r", at)])
        if len(self._data) >= self._whole:
            answer, self._data, self._whole = self._data, b"", 0
            self.answered(self, answer)


async def connections(
    place: tuple[str, int], count: int, answered: Callable[[Connection, bytes], None]
) -> list[Connection]:
    """So many callers."""
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: Connection(answered), *place) for _ in range(count)]
    return [one for _, one in made]


async def repeat(place: tuple[str, int], count: int, seconds: float, request: bytes) -> list[float]:
    """The seconds of every call of ``count`` callers that repeat ``request``."""
    times: list[float] = []
    over = time.perf_counter() + seconds
    busy, ended = count, asyncio.Event()

    def answered(one: Connection, _answer: bytes) -> None:
        nonlocal busy
        now = time.perf_counter()
        times.append(now - one.begun)
        if now < over:
            one.call(request)
        else:
            one.transport.close()
            busy -= 1
            if not busy:
                ended.set()

    for one in await connections(place, count, answered):
        one.call(request)
    await ended.wait()
    return times


async def once(place: tuple[str, int], name: str, arguments: dict[str, Any]) -> Any:
    """One call on a connection of its own; its reply."""
    reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    [one] = await connections(place, 1, lambda _one, answer: reply.set_result(answer))
    one.call(request_bytes(name, arguments))
    answer = await reply
    one.transport.close()
    return _decode(answer[answer.index(b"\r\n\r\n") + 4 :])


class Worker:
    """Sends a batch, fetches it and acks it, over and over on one connection."""

    def __init__(self, mailbox: str, over: float) -> None:
        self.over = over
        self.done = 0
        self.ended = asyncio.Event()
        message = {"to": mailbox, "text": BODY}
        self._send = request_bytes("mailbox_send", {"messages": [message] * BATCH})
        self._fetch = request_bytes("mailbox_fetch", {"mailbox": mailbox, "max": BATCH})

    def answered(self, one: Connection, answer: bytes) -> None:
        """The next step."""
        reply = _decode(answer[answer.index(b"\r\n\r\n") + 4 :])
        if "receipts" in reply:
            one.call(self._fetch)
        elif "messages" in reply:
            items = [{"lease": message["lease"]} for message in reply["messages"]]
            one.call(request_bytes("mailbox_ack", {"items": items}))
        else:
            self.done += len(reply["results"])
            if time.perf_counter() < self.over:
                self.start(one)
            else:
                one.transport.close()
                self.ended.set()

    def start(self, one: Connection) -> None:
        """The first step."""
        one.call(self._send)


async def batches(place: tuple[str, int], count: int, seconds: float) -> float:
    """Messages a second through send, fetch and ack in batches."""
    begin = time.perf_counter()
    workers = []
    for index in range(count):
        await once(place, "mailbox_create", {"address": f"batch-{index}"})
        worker = Worker(f"batch-{index}", begin + seconds)
        [one] = await connections(place, 1, worker.answered)
        worker.start(one)
        workers.append(worker)
    for worker in workers:
        await worker.ended.wait()
    return sum(worker.done for worker in workers) / (time.perf_counter() - begin)


# -- the works


async def measure(broker: tuple[str, int], route: tuple[str, int], seconds: float) -> list[Row]:
    """Both servers in turns, then batches."""
    await once(broker, "mailbox_create", {"address": "box"})
    send = request_bytes("mailbox_send", {"to": "box", "text": BODY})
    rates: dict[str, list[float]] = {"broker": [], "route": []}
    times: dict[str, list[float]] = {"broker": [], "route": [], "commit": []}
    for _ in range(ROUNDS):
        times["commit"] += floor(100)
        for name, place in (("route", route), ("broker", broker)):
            rates[name].append(len(await repeat(place, 64, seconds, send)) / seconds)
            times[name] += await repeat(place, 16, seconds, send)
    ratio = sum(rates["broker"]) / sum(rates["route"])
    p50 = {name: quantile(found, 0.5) for name, found in times.items()}
    most = p50["route"] + 2 * p50["commit"]
    many = await batches(broker, 4, 4 * seconds)
    shown = {name: sum(found) / ROUNDS for name, found in rates.items()}
    return [
        Row(
            "floor: fdatasync of 1 KB",
            f"p50 {p50['commit']:.3f} ms, p99 {quantile(times['commit'], 0.99):.3f} ms",
        ),
        Row("a bare route: 64 connections", f"{shown['route']:,.0f} calls/s"),
        Row(
            "mailbox_send: 64 connections",
            f"{shown['broker']:,.0f} calls/s = {ratio:.2f} x the route",
            "0.5 x",
            ratio >= 0.5,
        ),
        Row(
            "a bare route: 16 connections",
            f"p50 {p50['route']:.2f} ms, p99 {quantile(times['route'], 0.99):.2f} ms",
        ),
        Row(
            "mailbox_send: 16 connections",
            f"p50 {p50['broker']:.2f} ms, p99 {quantile(times['broker'], 0.99):.2f} ms",
            f"p50 {most:.2f} ms",
            p50["broker"] <= most,
        ),
        Row(
            f"send, fetch, ack: 4 connections x {BATCH}",
            f"{many:,.0f} messages/s",
            "8,000",
            many >= 8_000,
        ),
    ]


def main() -> int:
    """Run the works, print the table; exit code 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, to see that it runs")
    parser.add_argument("--markdown", type=Path, help="write the table to this file too")
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.bare:
        serve_bare()
        return 0
    folder = Path(tempfile.mkdtemp(prefix="mq9-bench-"))
    try:
        server = (
            "-m",
            "mq9_mcp.serve",
            "--data",
            str(folder / "data"),
            "--port",
            "0",
            "--log-level",
            "warning",
        )
        with running(*server) as broker, running(__file__, "--bare") as route:
            seconds = 0.3 if chosen.quick else 3.0
            rows = uvloop.run(asyncio.wait_for(measure(broker, route, seconds), 60 + 100 * seconds))
    finally:
        shutil.rmtree(folder)
    print_table(rows, header=True)
    if chosen.markdown:
        command = f"python benchmarks/doors.py {' '.join(sys.argv[1:])}".strip()
        write_markdown(chosen.markdown, rows, command, "Benchmarks of the doors")
    return 0 if all(row.reached is not False for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
