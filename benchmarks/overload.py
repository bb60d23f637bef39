"""Far too many calls: ``python benchmarks/overload.py [--connections 2000] [--seconds 30] [--load 4]``.

A server in a process of its own gets ``load`` times the sends that it can do, over that many
connections, without a pause for those that it refuses. Its memory must stay bounded, ``/health`` must
answer soon, every refusal must say when to come again, and afterwards every message whose receipt came
must be there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import uvloop

from benchmarks.engine import quantile
from benchmarks.table import Row, memory_bytes, print_table

ROOT = Path(__file__).parents[1]
TEXT = "x" * 330
AGENT = "overload"
BODY = json.dumps({"to": AGENT, "text": TEXT}).encode()
TICK_S = 0.005
PROBE_S = 0.05
CAPACITY_CONNECTIONS = 64
CAPACITY_S = 3.0
WORKERS = 2  # processes that call; one alone could not call often enough
HEALTH_MS = 100.0
MEMORY_MIB = 512
FETCH = 1000
MIB = 1024 * 1024
_LENGTH = re.compile(rb"content-length: (\d+)")
_ID = re.compile(rb'"id":(\d+)')


class Pressed(NamedTuple):
    """What became of the calls of one process."""

    offered: int  # calls that were due
    sent: int  # of these, those for which a connection was free
    stored: list[int]  # message ids of the receipts
    again: int  # refused for now, with the time to come again
    bare: int  # refused for now, without it
    other: int  # any other answer
    lost: int  # connections that ended


class Overloaded(NamedTuple):
    """What one run saw."""

    capacity: float  # sends a second
    pressed: Pressed
    seconds: float
    memory: list[int]  # bytes, in the order of time
    kept_ms: list[float]  # /health on a kept connection
    fresh_ms: list[float]  # /health on a new connection each
    there: set[int]  # ids of the messages that were there afterwards
    exit_code: int


class Caller(asyncio.Protocol):
    """One connection that sends the same message again and again."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.transport: asyncio.Transport
        self._answer = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Stand by."""
        self.transport = transport
        self.crowd.idle.append(self)

    def data_received(self, data: bytes) -> None:
        """Take an answer in; stand by again."""
        self._answer += data
        end = self._answer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._answer, 0, end)
        if length is not None and len(self._answer) >= end + 4 + int(length[1]):
            answer, self._answer = self._answer, b""
            self.crowd.answered(self, answer)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """The server ended it."""
        self.crowd.lost += not self.crowd.over


class Crowd:
    """Many connections to one server; ``rate`` calls a second in all, or, at 0, always one on each."""

    def __init__(self, url: str, rate: float) -> None:
        self.rate = rate
        self.idle: list[Caller] = []
        self.offered = self.sent = self.again = self.bare = self.other = self.lost = 0
        self.stored: list[int] = []
        self.over = False
        host = urlsplit(url).netloc
        self.request = (
            f"POST /v1/mailbox_send HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            f"Mq9-Agent: {AGENT}\r\nContent-Length: {len(BODY)}\r\n\r\n"
        ).encode() + BODY

    def answered(self, caller: Caller, answer: bytes) -> None:
        """Count an answer."""
        status = answer[9:12]
        if status == b"200":
            found = _ID.search(answer)
            assert found is not None
            self.stored.append(int(found[1]))
        elif status in (b"429", b"503"):
            timely = b"\nretry-after: " in answer
            self.again += timely
            self.bare += not timely
        else:
            self.other += 1
        self.idle.append(caller)
        if not self.rate and not self.over:
            self.send(1)

    def send(self, count: int) -> None:
        """Begin so many calls, as far as there are connections for them."""
        self.offered += count
        for _ in range(min(count, len(self.idle))):
            caller = self.idle.pop()
            if not caller.transport.is_closing():
                caller.transport.write(self.request)
                self.sent += 1

    async def press(self, url: str, connections: int, seconds: float) -> Pressed:
        """Connect, call for so long, wait for the last answers."""
        host, port = _address(url)
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            await loop.create_connection(lambda: Caller(self), host, port)
        everybody = list(self.idle)
        assert len(everybody) == connections
        await ready()
        begin = loop.time()
        if not self.rate:
            self.send(connections)
        while (elapsed := loop.time() - begin) < seconds:
            if self.rate:
                self.send(int(elapsed * self.rate) - self.offered)
            await asyncio.sleep(TICK_S)
        self.over = True
        deadline = loop.time() + 30
        while len(self.idle) + self.lost < connections and loop.time() < deadline:
            await asyncio.sleep(TICK_S)
        for caller in everybody:
            caller.transport.close()
        return Pressed(self.offered, self.sent, self.stored, self.again, self.bare, self.other, self.lost)


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


async def ready() -> None:
    """Say so, and wait for the word to begin."""
    print("connected", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def probe(url: str, seconds: float) -> tuple[list[float], list[float]]:
    """Seconds that ``/health`` took: on a kept connection, and on a new one each time."""
    address = _address(url)
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    kept: list[float] = []
    fresh: list[float] = []
    reader, writer = await asyncio.open_connection(*address)
    await ready()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.perf_counter()
        await _health(reader, writer, request)
        kept.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        one = await asyncio.open_connection(*address)
        await _health(*one, request)
        fresh.append(time.perf_counter() - begin)
        one[1].close()
        await asyncio.sleep(PROBE_S)
    writer.close()
    return kept, fresh


async def _health(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
    writer.write(request)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(answer)
    assert answer[9:12] == b"200"
    assert length is not None
    await reader.readexactly(int(length[1]))


def room_for(connections: int) -> None:
    """Let this process open so many connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 100
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (max(soft, resource.getrlimit(resource.RLIMIT_NOFILE)[0]), hard)
    )


@contextmanager
def server(folder: Path, connections: int, *flags: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server on fresh data; killed if nobody stops it."""
    room = ["--connections-max", str(connections + 16), *flags]
    process = _python("mq9_mcp.serve", "--data", str(folder), "--port", "0", "--log-level", "warning", *room)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().decode().split()[-1], process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@contextmanager
def sampled(pid: int) -> Iterator[list[int]]:
    """The memory of a process, looked at ten times a second."""
    memory = [memory_bytes(pid)]
    over = threading.Event()

    def sample() -> None:
        while not over.wait(0.1):
            memory.append(memory_bytes(pid))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield memory
    finally:
        over.set()
        thread.join()


def _python(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "a2a")))}
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )


class Worker:
    """A process of the load: it has connected, and waits for the word to begin."""

    def __init__(self, *arguments: object) -> None:
        handle, name = tempfile.mkstemp(prefix="mq9-overload-")
        os.close(handle)
        self.file = Path(name)
        self.process = _python("benchmarks.overload", "--worker", *map(str, arguments), name)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"connected\n"

    def go(self) -> None:
        """Begin."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()

    def told(self) -> Any:
        """What it saw."""
        self.process.communicate()
        assert self.process.returncode == 0
        text = self.file.read_text()
        self.file.unlink()
        return json.loads(text)


def _crowds(url: str, connections: int, rate: float, seconds: float) -> list[Worker]:
    share = max(1, connections // WORKERS)
    return [Worker("press", url, share, rate / WORKERS, seconds) for _ in range(WORKERS)]


def _sum(told: list[Any]) -> Pressed:
    parts = [Pressed(*one) for one in told]
    return Pressed(*(sum(column, type(column[0])()) for column in zip(*parts, strict=True)))


def overload(
    connections: int, seconds: float, load: float, *flags: str, capacity_s: float = CAPACITY_S
) -> Overloaded:
    """One run, from an empty data directory to the look at what is there; ``flags`` are the server's."""
    folder = Path(tempfile.mkdtemp(prefix="mq9-overload-"))
    try:
        with server(folder / "data", connections, *flags) as (url, process):
            crowds = _crowds(url, CAPACITY_CONNECTIONS, 0, capacity_s)
            for one in crowds:
                one.go()
            able = _sum([one.told() for one in crowds])
            capacity = len(able.stored) / capacity_s
            crowds = _crowds(url, connections, load * capacity, seconds)
            prober = Worker("probe", url, seconds)
            for one in (prober, *crowds):
                one.go()
            with sampled(process.pid) as memory:
                pressed = _sum([one.told() for one in crowds])
                kept, fresh = prober.told()
            pressed.stored.extend(able.stored)
            there = _there(url)
            process.terminate()
            exit_code = process.wait(60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    kept_ms, fresh_ms = ([1000 * one for one in times] for times in (kept, fresh))
    return Overloaded(capacity, pressed, seconds, memory, kept_ms, fresh_ms, there, exit_code)


def _there(url: str) -> set[int]:
    """The ids of all messages, taken from the mailbox."""
    found: set[int] = set()
    body = json.dumps({"max": FETCH, "lease_s": 3600}).encode()
    headers = {"Content-Type": "application/json", "Mq9-Agent": AGENT}
    while True:
        with urlopen(Request(f"{url}/v1/mailbox_fetch", body, headers)) as answer:
            messages = json.load(answer)["messages"]
        if not messages:
            return found
        found.update(message["id"] for message in messages)


def rows(run: Overloaded, load: float) -> list[Row]:
    """The table of a run."""
    pressed, seconds = run.pressed, run.seconds
    missing = set(pressed.stored) - run.there
    most, last = max(run.memory) / MIB, run.memory[-1] / MIB
    p99 = quantile([one / 1000 for one in run.kept_ms], 0.99)
    fresh = quantile([one / 1000 for one in run.fresh_ms], 0.99)
    return [
        Row("sends a second that it can do (64 connections)", f"{run.capacity:,.0f}"),
        Row(f"sends a second that were due ({load:g} x)", f"{pressed.offered / seconds:,.0f}"),
        Row("of these sent: a connection was free", f"{pressed.sent / seconds:,.0f}"),
        Row("refused a second, with Retry-After", f"{pressed.again / seconds:,.0f}"),
        Row(
            "refused without it, other answers, connections lost",
            _counts(pressed),
            "0, 0, 0",
            not _bad(pressed),
        ),
        Row(
            "memory of the server: first, most, last",
            f"{run.memory[0] / MIB:.0f}, {most:.0f}, {last:.0f} MiB",
            f"most {MEMORY_MIB} MiB",
            most <= MEMORY_MIB,
        ),
        Row("/health p50, p99, most", _times(run.kept_ms), f"p99 {HEALTH_MS:g} ms", p99 <= HEALTH_MS),
        Row(
            "/health on a new connection each",
            _times(run.fresh_ms),
            f"p99 {HEALTH_MS:g} ms",
            fresh <= HEALTH_MS,
        ),
        Row(
            "receipts, and those whose message is missing",
            f"{len(pressed.stored):,}, {len(missing)}",
            "0 missing",
            not missing,
        ),
        Row("exit code after SIGTERM", str(run.exit_code), "0", run.exit_code == 0),
    ]


def _bad(pressed: Pressed) -> int:
    return pressed.bare + pressed.other + pressed.lost


def _counts(pressed: Pressed) -> str:
    return f"{pressed.bare}, {pressed.other}, {pressed.lost}"


def _times(found: list[float]) -> str:
    seconds = [one / 1000 for one in found]
    return f"{quantile(seconds, 0.5):.1f}, {quantile(seconds, 0.99):.1f}, {max(found):.1f} ms"


def work(what: str, url: str, *rest: str) -> None:
    """One process of the load, or the one that looks at ``/health``; it writes down what it saw."""
    *numbers, file = rest
    seen: Any
    if what == "probe":
        seen = uvloop.run(probe(url, float(numbers[0])))
    else:
        connections, rate, seconds = int(numbers[0]), float(numbers[1]), float(numbers[2])
        room_for(connections)
        seen = uvloop.run(_press(url, connections, rate, seconds))
    Path(file).write_text(json.dumps(seen))


async def _press(url: str, connections: int, rate: float, seconds: float) -> Pressed:
    return await Crowd(url, rate).press(url, connections, seconds)


def main() -> int:
    """Run once and print the table; 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--load", type=float, default=4, help="times what the server can do")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        work(*chosen.worker)
        return 0
    table = rows(overload(chosen.connections, chosen.seconds, chosen.load), chosen.load)
    print_table(table, header=True)
    return int(any(row.reached is False for row in table))


if __name__ == "__main__":
    sys.exit(main())
