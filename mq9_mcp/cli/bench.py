"""``mq9 bench``: one's own figures. A mailbox of its own is made, used for some seconds and dropped."""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mq9_mcp.cli.connect import add_connection, add_json, token_of, url_of, wants_json
from mq9_mcp.cli.exits import OK
from mq9_mcp.cli.parser import Misuse, Parser, Run
from mq9_mcp.cli.printing import print_json, print_table

SECONDS_MAX, CALLERS_MAX, BATCH_MAX, BYTES_MAX = 60, 256, 1_000, 100_000
MESSAGES_MAX = 200_000  # in a phase: well below what a mailbox takes
MAILBOX_TTL_S = 3_600  # should the drop not happen
Work = Callable[[], Awaitable[int]]


class Figures(NamedTuple):
    """One kind of call: how many a second, messages in them, and how long one took."""

    what: str
    calls_per_s: float
    messages_per_s: float
    p50_ms: float
    p99_ms: float


class Plan(NamedTuple):
    """How long, how many callers at a time, messages in a batch, bytes in a message."""

    seconds: float
    callers: int
    batch: int
    text: str


def add(parser: Parser) -> Run:
    """The options of ``mq9 bench``."""
    parser.add_argument(
        "--seconds", type=float, default=2.0, help=f"for each figure, up to {SECONDS_MAX} (2)"
    )
    parser.add_argument("--callers", type=int, default=16, help=f"calls at a time, up to {CALLERS_MAX} (16)")
    parser.add_argument(
        "--batch", type=int, default=100, help=f"messages in a batch, up to {BATCH_MAX} (100)"
    )
    parser.add_argument("--bytes", type=int, default=100, help=f"in a message, up to {BYTES_MAX:,} (100)")
    parser.add_argument(
        "--temporary",
        action="store_true",
        default=False,
        help="start a broker for it, in a folder that goes afterwards; so it is too where none runs",
    )
    add_connection(parser)
    add_json(parser)
    return _run


def _run(chosen: argparse.Namespace) -> int:
    _within(chosen, "seconds", 0.1, SECONDS_MAX)
    _within(chosen, "callers", 1, CALLERS_MAX)
    _within(chosen, "batch", 1, BATCH_MAX)
    _within(chosen, "bytes", 1, BYTES_MAX)
    plan = Plan(chosen.seconds, chosen.callers, chosen.batch, "x" * chosen.bytes)
    with _broker(chosen) as (url, where):
        figures = asyncio.run(_measure(url, token_of(chosen), plan))
    if wants_json(chosen):
        print_json(
            {
                "broker": where,
                "callers": plan.callers,
                "bytes": chosen.bytes,
                "figures": [one._asdict() for one in figures],
            }
        )
        return OK
    print(f"{where}, {plan.callers} callers at a time, {chosen.bytes} bytes a message")
    rows = [
        (
            one.what,
            f"{one.calls_per_s:,.0f}",
            f"{one.messages_per_s:,.0f}",
            f"{one.p50_ms:.1f}",
            f"{one.p99_ms:.1f}",
        )
        for one in figures
    ]
    print_table(("call", "calls/s", "messages/s", "p50 ms", "p99 ms"), rows)
    return OK


def _within(chosen: argparse.Namespace, name: str, least: float, most: float) -> None:
    value = getattr(chosen, name)
    if not least <= value <= most:
        raise Misuse(f"--{name}: {value}; accepted: {least} to {most:,}", f"leave --{name} out")


@contextmanager
def _broker(chosen: argparse.Namespace) -> Iterator[tuple[str | None, str]]:
    """The address of the broker that is measured, and what to call it."""
    from mq9_mcp.daemon import find, join, stop
    from mq9_mcp.settings import load_settings

    named = url_of(chosen) or os.environ.get("MQ9_URL")
    if not chosen.temporary:
        running = None if named else find(load_settings({}, os.environ).data)
        if named or running:
            address = named or (running.url if running else "")
            yield address, f"the broker at {address}"
            return
    with tempfile.TemporaryDirectory(prefix="mq9-bench-") as folder:
        settings = load_settings({"data": folder, "port": "0"}, {})
        try:
            yield join(settings).url, "a temporary broker"
        finally:
            stop(Path(folder), 30)


async def _measure(url: str | None, token: str | None, plan: Plan) -> list[Figures]:
    from mq9_mcp.client import Mq9Client

    async with Mq9Client(url, token=token) as client:
        settings = {"ttl_s": MAILBOX_TTL_S}
        made = await client.call("mailbox_create", {"settings": settings})
        address = made["mailbox"]["address"]
        try:
            return [
                *await _phase("1 message", plan, _Caller(client.call, address, 1, plan.text)),
                *await _phase(
                    f"{plan.batch} messages", plan, _Caller(client.call, address, plan.batch, plan.text)
                ),
            ]
        finally:
            await client.call("mailbox_drop", {"address": address})


class _Caller:
    """The calls that are measured, and how long each took."""

    def __init__(
        self, call: Callable[..., Awaitable[dict[str, Any]]], address: str, size: int, text: str
    ) -> None:
        self.call = call
        self.address = address
        self.size = size
        self.text = text
        self.times: dict[str, list[float]] = {"send": [], "fetch": [], "ack": []}

    async def timed(self, kind: str, command: str, **arguments: Any) -> dict[str, Any]:
        """One call, its time noted."""
        started = time.perf_counter()
        reply = await self.call(command, arguments)
        self.times[kind].append(time.perf_counter() - started)
        return reply

    async def send(self) -> int:
        """Send as many messages as a call carries; returns how many."""
        message = {"to": self.address, "text": self.text}
        if self.size == 1:
            await self.timed("send", "mailbox_send", **message)
        else:
            await self.timed("send", "mailbox_send", messages=[message] * self.size)
        return self.size

    async def settle(self) -> int:
        """Fetch as many messages as a call carries, and ack them; returns how many there were."""
        reply = await self.timed("fetch", "mailbox_fetch", mailbox=self.address, max=self.size)
        items = [{"lease": message["lease"]} for message in reply["messages"]]
        if items:
            await self.timed("ack", "mailbox_ack", items=items)
        return len(items)


async def _phase(what: str, plan: Plan, caller: _Caller) -> list[Figures]:
    """Send for some seconds, then fetch and ack for some seconds."""
    sent, send_s = await _repeat(caller.send, plan)
    settled, settle_s = await _repeat(caller.settle, plan)
    return [
        _figures(f"send, {what}", caller.times["send"], sent, send_s),
        _figures(f"fetch, {what}", caller.times["fetch"], settled, settle_s),
        _figures(f"ack, {what}", caller.times["ack"], settled, settle_s),
    ]


async def _repeat(work: Work, plan: Plan) -> tuple[int, float]:
    """Let all callers work until time is over or nothing is left; how much they did, and how long it took."""
    started = time.perf_counter()
    done = 0

    async def go_on() -> None:
        nonlocal done
        while time.perf_counter() - started < plan.seconds and done < MESSAGES_MAX:
            count = await work()
            if not count:
                return
            done += count

    await asyncio.gather(*(go_on() for _ in range(plan.callers)))
    return done, time.perf_counter() - started


def _figures(what: str, times: list[float], messages: int, seconds: float) -> Figures:
    ordered = sorted(times) or [0.0]
    p50, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000 for part in (0.5, 0.99))
    return Figures(
        what, round(len(times) / seconds, 1), round(messages / seconds, 1), round(p50, 2), round(p99, 2)
    )
