"""Mixed load for long: ``python benchmarks/soak.py [--minutes 20] [--report FILE]``. Does anything grow?

Callers send, fetch and settle at a fixed pace, in every way there is, under retention. A window at a
time it records the memory of the broker and of its folder process, the bytes of its files and the
latency of durable calls. Flat means: the last quarter of the windows is at most a tenth above the
second one (latencies: or half a millisecond). The first quarter is for warming up.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from benchmarks.engine import BODY, CALLER, broker, directory_bytes, quantile
from benchmarks.plot import Panel, draw
from benchmarks.table import Row, machine, memory_bytes, print_table
from mq9_mcp.broker.broker import Broker

BOXES = [f"box-{index}" for index in range(8)]
PERIOD_S = 0.04  # each caller begins a cycle so often
RETENTION = {"retention": {"bytes": 1024 * 1024}, "backoff_first_s": 1, "dedup_window_s": 60}
JOURNAL_BYTES = 16 * 1024 * 1024
WINDOWS = 120
WINDOW_MIN_S = 1.0
GROWTH = 1.1
SLACK_MS = 0.5
MIB = 1024 * 1024
LONG_MINUTES = 15  # a shorter run says little
DONE = (
    "with dedup keys, delays, ends and priorities; fetches, also waiting ones and in a second group;",
    "acks with and without a send, nacks, releases and rejects; queries. The memory of the broker",
    "includes that of its callers.",
)
TRIAL = (
    "This was a trial: tables, journal and memory fill for some minutes, so a short run is not flat.",
    "",
)


class Window(NamedTuple):
    """What was seen in one window; bytes are in MiB."""

    minute: float
    calls: int
    broker_mib: float
    folder_mib: float
    files_mib: float
    p50_ms: float
    p99_ms: float


class Load:
    """The callers, and the latencies of the window that runs."""

    def __init__(self, one: Broker) -> None:
        self.one = one
        self.rng = random.Random(9)
        self.times: list[float] = []
        self.sent = 0
        self.stop = asyncio.Event()

    async def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """A durable call, measured."""
        begin = time.perf_counter()
        reply = await self.one.call(CALLER, name, arguments)
        self.times.append(time.perf_counter() - begin)
        return reply

    async def paced(self, work: Callable[..., Coroutine[Any, Any, None]], *arguments: str) -> None:
        """Run ``work(*arguments)`` at the pace until stopped."""
        while not self.stop.is_set():
            begin = time.perf_counter()
            await work(*arguments)
            await asyncio.sleep(max(0.0, PERIOD_S - (time.perf_counter() - begin)))

    def message(self, to: str) -> dict[str, Any]:
        """One message: some have a priority, tags, a dedup key, a delay or an end."""
        self.sent += 1
        chance = self.rng.random()
        found: dict[str, Any] = {"to": to, "text": BODY, "tags": [f"t{self.sent % 7}"]}
        if chance < 0.1:
            found["dedup_key"] = f"k{self.sent}"
        elif chance < 0.2:
            found["priority"] = self.rng.choice(("urgent", "critical"))
        elif chance < 0.25:
            found["delay_s"] = 0.5
        elif chance < 0.3:
            found["ttl_s"] = 30
        return found

    async def work(self, box: str) -> None:
        """Send one or a batch, take as many, settle them one way or another."""
        count = 20 if self.rng.random() < 0.05 else 1
        await self.call("mailbox_send", messages=[self.message(box) for _ in range(count)])
        reply = await self.call("mailbox_fetch", mailbox=box, max=count + 2)
        if not reply["messages"]:
            return
        outcome = self.rng.choices(("ack", "nack", "release", "reject"), (90, 5, 3, 2))[0]
        items = [{"lease": message["lease"], "outcome": outcome} for message in reply["messages"]]
        if outcome == "ack" and self.rng.random() < 0.3:
            await self.call("mailbox_ack", items=items, send=self.message("answers"))
        else:
            await self.call("mailbox_ack", items=items)

    async def drain(self, box: str, group: str) -> None:
        """Take what there is, waiting a moment for it, and ack it."""
        arguments = {"mailbox": box, "group": group, "max": 50, "wait_s": 0.2}
        reply = await self.one.call(CALLER, "mailbox_fetch", arguments)
        if reply["messages"]:
            items = [{"lease": message["lease"]} for message in reply["messages"]]
            await self.call("mailbox_ack", items=items)

    async def look(self) -> None:
        """A query over settled mail, and a look at a mailbox."""
        box = self.rng.choice(BOXES)
        await self.one.call(CALLER, "mailbox_query", {"mailbox": box, "tags_any": ["t3"], "order": "desc"})
        await self.one.call(CALLER, "mailbox_get", {"address": box})
        await asyncio.sleep(10 * PERIOD_S)


async def soak(minutes: float, folder: Path) -> list[Window]:
    """The windows."""
    window_s = max(WINDOW_MIN_S, minutes * 60 / WINDOWS)
    windows: list[Window] = []
    async with broker(folder, journal_bytes=JOURNAL_BYTES) as (one, engine):
        for address in (*BOXES, "answers", "dead"):
            settings = RETENTION if address == "dead" else {**RETENTION, "dead_letter": "dead"}
            await one.call(CALLER, "mailbox_create", {"address": address, "settings": settings})
        load = Load(one)
        drains = (("answers", "default"), ("dead", "default"), (BOXES[0], "audit"))
        callers = [load.paced(load.work, box) for box in BOXES * 2]
        callers += [load.paced(load.drain, *drain) for drain in drains]
        tasks = [asyncio.create_task(caller) for caller in [*callers, load.paced(load.look)]]
        begin = time.perf_counter()
        while time.perf_counter() - begin < minutes * 60:
            await asyncio.wait(tasks, timeout=window_s, return_when=asyncio.FIRST_EXCEPTION)
            if failed := [task for task in tasks if task.done()]:
                failed[0].result()
            times, load.times = load.times, []
            passed = time.perf_counter() - begin
            windows.append(seen(passed / 60, times, engine.folder.pid, folder))
            print(",".join(f"{value:g}" for value in windows[-1]), flush=True)
        load.stop.set()
        await asyncio.gather(*tasks)
    return windows


def seen(minute: float, times: list[float], folder_pid: int, folder: Path) -> Window:
    """One window."""
    return Window(
        round(minute, 2),
        len(times),
        round(memory_bytes() / MIB, 2),
        round(memory_bytes(folder_pid) / MIB, 2),
        round(directory_bytes(folder) / MIB, 2),
        round(quantile(times, 0.5), 3),
        round(quantile(times, 0.99), 3),
    )


def judge(windows: list[Window]) -> list[Row]:
    """One row for each thing that must be flat: the second quarter, the last, and whether it is."""
    quarter = len(windows) // 4
    second, last = windows[quarter : 2 * quarter], windows[-quarter:]
    rows = []
    for field, what in (
        ("broker_mib", "memory of the broker, MiB"),
        ("folder_mib", "memory of the folder process, MiB"),
        ("files_mib", "data directory, MiB"),
        ("p50_ms", "latency of a durable call, p50, ms"),
        ("p99_ms", "latency of a durable call, p99, ms"),
    ):
        latency = field.endswith("_ms")
        middle = statistics.median if latency else statistics.mean
        before = middle([getattr(one, field) for one in second])
        after = middle([getattr(one, field) for one in last])
        limit = max(before * GROWTH, before + SLACK_MS if latency else 0.0)
        rows.append(Row(what, f"{before:.2f} -> {after:.2f}", f"{limit:.2f}", after <= limit))
    return rows


def report(path: Path, windows: list[Window], rows: list[Row], command: str) -> None:
    """Write the page, the picture and the table beside it."""
    flat = all(row.reached for row in rows)
    calls = sum(window.calls for window in windows)
    lines = [
        "# Soak: does anything grow?",
        "",
        f"Measured on {datetime.now(UTC):%Y-%m-%d} with `{command}` on {machine()}.",
        "",
        f"{calls:,} durable calls in {windows[-1].minute:.0f} minutes: sends one by one and in batches,",
        *DONE,
        "",
        "Flat means: the mean of the last quarter of the windows is at most a tenth above that of the",
        "second. For latencies it is the median, and half a millisecond more is allowed. The first quarter",
        "warms up.",
        "",
        *(TRIAL if windows[-1].minute < LONG_MINUTES else ()),
        f"The result: **{'flat' if flat else 'NOT FLAT'}**.",
        "",
        "| | second quarter -> last | at most | |",
        "|---|---|---|---|",
        *(f"| {r.work} | {r.figure} | {r.goal} | {'flat' if r.reached else 'NOT FLAT'} |" for r in rows),
        "",
        "![Memory, file size and latency over time](soak.svg)",
        "",
        f"[All windows](soak.csv), {len(windows)} of them.",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    table = [",".join(Window._fields), *(",".join(f"{v:g}" for v in window) for window in windows), ""]
    path.with_suffix(".csv").write_text("\n".join(table), encoding="utf-8")
    path.with_suffix(".svg").write_text(picture(windows), encoding="utf-8")


def picture(windows: list[Window]) -> str:
    """Memory, files and latency over time."""
    memory = {"broker": [w.broker_mib for w in windows], "folder process": [w.folder_mib for w in windows]}
    latency = {"p50": [w.p50_ms for w in windows], "p99": [w.p99_ms for w in windows]}
    panels = [
        Panel("memory, MiB", memory),
        Panel("data directory, MiB", {"files": [w.files_mib for w in windows]}),
        Panel("latency of durable calls, ms", latency),
    ]
    return draw([window.minute for window in windows], panels)


def main() -> int:
    """Run it, print the table; exit code 1 if something grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="how long (20)")
    parser.add_argument("--report", type=Path, help="write this page, and .csv and .svg beside it")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mq9-soak-"))
    print(",".join(Window._fields))
    try:
        windows = uvloop.run(soak(chosen.minutes, folder))
    finally:
        shutil.rmtree(folder)
    rows = judge(windows)
    print_table(rows, header=True)
    if chosen.report:
        report(chosen.report, windows, rows, f"python benchmarks/soak.py {' '.join(sys.argv[1:])}".strip())
    return 0 if all(row.reached for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
