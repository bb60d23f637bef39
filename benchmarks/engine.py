"""The engine's speed and size: ``python benchmarks/engine.py [--quick] [--only NAME] [--markdown FILE]``.

Every figure is of durable work: a reply counts when its change is on disk, and the clock stops only
when all of it is folded into DuckDB too. The floor, an fdatasync of 1 KB, is measured in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.table import Row, memory_bytes, print_table, write_markdown
from mq9_mcp.broker.broker import Broker, start_broker
from mq9_mcp.domain.state import Caller
from mq9_mcp.engine.embedded.engine import EmbeddedEngine, open_engine

BODY = "x" * 330
CALLER = Caller("local", "bench")


@asynccontextmanager
async def broker(folder: Path | None = None, **options: Any) -> AsyncIterator[tuple[Broker, EmbeddedEngine]]:
    """A broker on a fresh data directory, or on ``folder``."""
    path = folder or Path(tempfile.mkdtemp(prefix="mq9-bench-"))
    engine = await open_engine(path, **options)
    one = await start_broker(engine)
    try:
        yield one, engine
    finally:
        await one.close()
        if folder is None:
            shutil.rmtree(path)


async def folded(engine: EmbeddedEngine) -> None:
    """Return when everything acknowledged is in DuckDB."""
    await engine.folder.reach(engine.journal.durable_seq)


def floor(count: int = 500) -> list[float]:
    """Seconds of ``count`` writes of 1 KB with an fdatasync each, into a preallocated file."""
    with tempfile.NamedTemporaryFile(prefix="mq9-floor-") as file:
        fd = file.fileno()
        os.pwrite(fd, bytes(1024 * (count + 1)), 0)
        os.fsync(fd)
        times = []
        for index in range(count):
            begin = time.perf_counter()
            os.pwrite(fd, b"x" * 1024, index * 1024)
            os.fdatasync(fd)
            times.append(time.perf_counter() - begin)
    return times


def quantile(times: list[float], share: float) -> float:
    """The time that ``share`` of ``times`` do not exceed, in milliseconds."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


async def cycle(one: Broker, batch: int, mailbox: str) -> None:
    """Send, fetch and ack ``batch`` messages."""
    if batch == 1:
        await one.call(CALLER, "mailbox_send", {"to": mailbox, "text": BODY})
    else:
        messages = [{"to": mailbox, "text": BODY} for _ in range(batch)]
        await one.call(CALLER, "mailbox_send", {"messages": messages})
    reply = await one.call(CALLER, "mailbox_fetch", {"mailbox": mailbox, "max": batch})
    items = [{"lease": message["lease"]} for message in reply["messages"]]
    if items:
        await one.call(CALLER, "mailbox_ack", {"items": items})


async def cycles(callers: int, batch: int, seconds: float) -> float:
    """Cycles a second of ``callers`` that each work in turn, folding included."""
    async with broker() as (one, engine):
        for index in range(callers):
            await one.call(CALLER, "mailbox_create", {"address": f"box-{index}"})
        done = 0
        end = time.perf_counter() + seconds

        async def caller(mailbox: str) -> None:
            nonlocal done
            while time.perf_counter() < end:
                await cycle(one, batch, mailbox)
                done += batch

        begin = time.perf_counter()
        await asyncio.gather(*(caller(f"box-{index}") for index in range(callers)))
        await folded(engine)
        return done / (time.perf_counter() - begin)


async def throughput(quick: bool) -> list[Row]:
    """send -> fetch -> ack, all durable, folding included."""
    seconds = 2.0 if quick else 8.0
    rows = []
    for callers, batch, goal in ((1, 1, 800), (16, 1, 8_000), (256, 1, 20_000), (16, 100, 60_000)):
        rate = await cycles(callers, batch, seconds)
        name = f"send, fetch, ack: {callers} x {batch}"
        rows.append(Row(name, f"{rate:,.0f} cycles/s", f"{goal:,}", rate >= goal))
    return rows


async def one_send(quick: bool) -> list[Row]:
    """One durable send by one caller beside the floor, measured in turns."""
    sends: list[float] = []
    floors: list[float] = []
    async with broker() as (one, _):
        await one.call(CALLER, "mailbox_create", {"address": "box"})
        for _ in range(3 if quick else 10):
            floors += floor(200)
            for _ in range(300):
                begin = time.perf_counter()
                await one.call(CALLER, "mailbox_send", {"to": "box", "text": BODY})
                sends.append(time.perf_counter() - begin)
    p50, base = quantile(sends, 0.5), quantile(floors, 0.5)
    return [
        Row("floor: fdatasync of 1 KB", f"p50 {base:.3f} ms, p99 {quantile(floors, 0.99):.3f} ms"),
        Row(
            "one durable send, one caller",
            f"p50 {p50:.3f} ms, p99 {quantile(sends, 0.99):.3f} ms = {p50 / base:.2f} x floor",
            "3 x floor",
            p50 <= 3 * base,
        ),
    ]


async def wake_up(one: Broker, rounds: int) -> list[float]:
    """Seconds from a send's start to the waiting fetch's return."""
    times = []
    for _ in range(rounds):
        waiting = asyncio.ensure_future(one.call(CALLER, "mailbox_fetch", {"mailbox": "wake", "wait_s": 20}))
        await asyncio.sleep(0.005)
        begin = time.perf_counter()
        await one.call(CALLER, "mailbox_send", {"to": "wake", "text": BODY})
        reply = await waiting
        times.append(time.perf_counter() - begin)
        await one.call(CALLER, "mailbox_ack", {"items": [{"lease": reply["messages"][0]["lease"]}]})
    return times


async def waiting(quick: bool) -> list[Row]:
    """Empty fetches, and the wake-up of a waiting one: idle, and while others work at half speed."""
    async with broker() as (one, _):
        for name in ("empty", "wake", *(f"load-{index}" for index in range(16))):
            await one.call(CALLER, "mailbox_create", {"address": name})
        await one.call(CALLER, "mailbox_fetch", {"mailbox": "empty"})
        empty = []
        for _ in range(2_000):
            begin = time.perf_counter()
            await one.call(CALLER, "mailbox_fetch", {"mailbox": "empty"})
            empty.append(time.perf_counter() - begin)
        idle = await wake_up(one, 100 if quick else 400)
        stop = asyncio.Event()
        counts = [0]

        async def load(mailbox: str, pause: float) -> None:
            while not stop.is_set():
                begin = time.perf_counter()
                await cycle(one, 1, mailbox)
                counts[0] += 1
                await asyncio.sleep(max(0, pause - (time.perf_counter() - begin)))

        async def loaded(pause: float, work: Coroutine[Any, Any, Any]) -> tuple[Any, float]:
            stop.clear()
            counts[0] = 0
            begin = time.perf_counter()
            tasks = [asyncio.ensure_future(load(f"load-{index}", pause)) for index in range(16)]
            result = await work
            rate = counts[0] / (time.perf_counter() - begin)
            stop.set()
            await asyncio.gather(*tasks)
            return result, rate

        _, full = await loaded(0, asyncio.sleep(2))
        busy, rate = await loaded(16 / (full / 2), wake_up(one, 200 if quick else 800))
    return [
        Row("empty fetch", f"p50 {quantile(empty, 0.5):.3f} ms", "0.3 ms", quantile(empty, 0.5) <= 0.3),
        Row(
            "wake-up of a waiting fetch, idle",
            f"p50 {quantile(idle, 0.5):.2f} ms, p99 {quantile(idle, 0.99):.2f} ms",
            "p99 15 ms",
            quantile(idle, 0.99) <= 15,
        ),
        Row(
            f"wake-up at half load ({rate:,.0f} cycles/s)",
            f"p50 {quantile(busy, 0.5):.2f} ms, p99 {quantile(busy, 0.99):.2f} ms",
            "p99 50 ms",
            quantile(busy, 0.99) <= 50,
        ),
    ]


async def million(quick: bool) -> list[Row]:
    """A million waiting messages in 10,000 mailboxes: memory, fetch, restart."""
    messages, boxes = (100_000, 1_000) if quick else (1_000_000, 10_000)
    path = Path(tempfile.mkdtemp(prefix="mq9-bench-"))
    try:
        gc.collect()
        async with broker(path) as (one, engine):
            for index in range(boxes):
                await one.call(CALLER, "mailbox_create", {"address": f"box-{index}"})
            before, few = await fetch_times(one, 0, 400), 0
            few = memory_bytes()
            for start in range(0, messages, 500):
                batch = [{"to": f"box-{(start + index) % boxes}", "text": BODY} for index in range(500)]
                await one.call(CALLER, "mailbox_send", {"messages": batch})
            await folded(engine)
            gc.collect()
            each = (memory_bytes() - few) / messages
            many = await fetch_times(one, boxes, 2_000)
        begin = time.perf_counter()
        async with broker(path) as (one, engine):
            restart = time.perf_counter() - begin
            waiting_now = sum(box.unsettled for box in engine.state.mailboxes.values())
            again = await fetch_times(one, boxes, 2_000, first=3_000)
        assert waiting_now == messages, waiting_now
    finally:
        shutil.rmtree(path)
    p50, base = quantile(many, 0.5), quantile(before, 0.5)
    slow = max(quantile(many, 0.99), quantile(again, 0.99))
    name = f"{messages:,} waiting in {boxes:,} mailboxes"
    return [
        Row(f"{name}: memory each", f"{each:,.0f} bytes", "500 bytes", each <= 500),
        Row(f"{name}: fetch p50", f"{p50:.3f} ms = {p50 / base:.2f} x with few", "2 x", p50 <= 2 * base),
        Row(f"{name}: fetch p99, before and after restart", f"{slow:.2f} ms", "20 ms", slow <= 20),
        Row(f"{name}: restart", f"{restart:.1f} s", "15 s", restart <= 15),
    ]


async def fetch_times(one: Broker, boxes: int, count: int, first: int = 0) -> list[float]:
    """Seconds of fetches of one message each; with no ``boxes``, each of a message sent just before."""
    times = []
    for index in range(first, first + count):
        mailbox = f"box-{index % boxes}" if boxes else "box-0"
        if not boxes:
            await one.call(CALLER, "mailbox_send", {"to": mailbox, "text": BODY})
        begin = time.perf_counter()
        reply = await one.call(CALLER, "mailbox_fetch", {"mailbox": mailbox, "max": 1})
        times.append(time.perf_counter() - begin)
        assert len(reply["messages"]) == 1
        if not boxes:
            await one.call(CALLER, "mailbox_ack", {"items": [{"lease": reply["messages"][0]["lease"]}]})
    return times


async def tags(quick: bool) -> list[Row]:
    """One mailbox with a million waiting, and a tag that one in a thousand bears."""
    messages = 200_000 if quick else 1_000_000
    async with broker() as (one, engine):
        settings = {"messages_max": 2_000_000, "bytes_max": 2**32}
        await one.call(CALLER, "mailbox_create", {"address": "box", "settings": settings})
        for _ in range(0, messages, 1_000):
            batch: list[dict[str, Any]] = [
                {"to": "box", "text": BODY, "tags": ["common"]} for _ in range(999)
            ]
            batch.append({"to": "box", "text": BODY, "tags": ["common", "rare"]})
            await one.call(CALLER, "mailbox_send", {"messages": batch})
        await folded(engine)
        times = []
        for _ in range(messages // 10_000):
            begin = time.perf_counter()
            reply = await one.call(
                CALLER, "mailbox_fetch", {"mailbox": "box", "max": 10, "tags_all": ["rare"]}
            )
            times.append(time.perf_counter() - begin)
            assert len(reply["messages"]) == 10
    worst = max(times) * 1000
    name = f"{messages:,} waiting, 1 in 1,000 tagged: fetch of 10, {len(times)} in a row"
    return [Row(name, f"p50 {quantile(times, 0.5):.2f} ms, worst {worst:.2f} ms", "20 ms each", worst <= 20)]


def directory_bytes(path: Path) -> int:
    """Bytes that the files under ``path`` occupy on disk."""
    return sum(file.stat().st_blocks * 512 for file in path.rglob("*") if file.is_file())


async def retention(quick: bool) -> list[Row]:
    """Five million messages sent and settled under retention: data directory and memory stay flat."""
    messages = 500_000 if quick else 5_000_000
    keep = 64 * 1024 * 1024
    path = Path(tempfile.mkdtemp(prefix="mq9-bench-"))
    sizes, held, memory = [], [], []
    try:
        async with broker(path) as (one, engine):
            settings = {"retention": {"bytes": keep}}
            for index in range(16):
                await one.call(CALLER, "mailbox_create", {"address": f"box-{index}", "settings": settings})
            done = 0
            while done < messages:
                await asyncio.gather(*(cycle(one, 500, f"box-{index}") for index in range(16)))
                done += 8_000
                if done % 80_000 == 0:
                    sizes.append(directory_bytes(path))
                    boxes = engine.state.mailboxes.values()
                    held.append(sum(box.settled_bytes + box.unsettled_bytes for box in boxes))
                    memory.append(memory_bytes())
            await folded(engine)
    finally:
        shutil.rmtree(path)
    limit = 3 * max(held) + 128 * 1024 * 1024
    half = len(memory) // 2
    growth = statistics.mean(memory[-3:]) / statistics.mean(memory[half : half + 3])
    name = f"{messages:,} sent and settled under retention"
    mib = 1024 * 1024
    return [
        Row(
            f"{name}: data directory",
            f"{max(sizes) / mib:,.0f} MiB, {max(held) / mib:,.0f} MiB retained",
            f"{limit / mib:,.0f} MiB",
            max(sizes) <= limit,
        ),
        Row(f"{name}: memory, end against middle", f"{growth:.2f} x", "flat: 1.1 x", growth <= 1.1),
    ]


async def whole_task(one: Broker, mailbox: str) -> None:
    """Open a task, lease it, tell of it three times, complete it: six durable changes."""
    [receipt] = (await one.call(CALLER, "mailbox_send", {"to": mailbox, "text": BODY, "task": True}))[
        "receipts"
    ]
    [message] = (await one.call(CALLER, "mailbox_fetch", {"mailbox": mailbox, "max": 1}))["messages"]
    work = {"task": receipt["task"], "lease": message["lease"]}
    for done in range(1, 4):
        progress = {"done": done, "total": 3, "note": "working"}
        await one.call(CALLER, "task_update", {**work, "progress": progress})
    await one.call(CALLER, "task_update", {**work, "state": "completed", "message": "done"})


async def whole_tasks(callers: int, seconds: float) -> tuple[float, float]:
    """Whole tasks a second, folding included, and microseconds of this process's CPU time for each."""
    async with broker() as (one, engine):
        for index in range(callers):
            await one.call(CALLER, "mailbox_create", {"address": f"box-{index}"})
        done, begin, used = 0, time.perf_counter(), time.process_time()
        end = begin + seconds

        async def caller(mailbox: str) -> None:
            nonlocal done
            while time.perf_counter() < end:
                await whole_task(one, mailbox)
                done += 1

        await asyncio.gather(*(caller(f"box-{index}") for index in range(callers)))
        used = time.process_time() - used
        await folded(engine)
        return done / (time.perf_counter() - begin), used / done * 1_000_000


async def open_tasks(quick: bool) -> list[Row]:
    """Many open tasks: memory of each, and after a restart."""
    count = 10_000 if quick else 100_000
    path = Path(tempfile.mkdtemp(prefix="mq9-bench-"))
    try:
        async with broker(path) as (one, engine):
            for index in range(100):
                await one.call(CALLER, "mailbox_create", {"address": f"box-{index}"})
                await whole_task(one, f"box-{index}")
            await folded(engine)
            gc.collect()
            few = memory_bytes()
            for start in range(0, count, 500):
                batch = [{"to": f"box-{start // 500 % 100}", "text": BODY, "task": True} for _ in range(500)]
                await one.call(CALLER, "mailbox_send", {"messages": batch})
            await folded(engine)
            gc.collect()
            each = (memory_bytes() - few) / count
            assert len(engine.state.tasks) == count, len(engine.state.tasks)
        begin = time.perf_counter()
        async with broker(path) as (_, engine):
            restart = time.perf_counter() - begin
            assert len(engine.state.tasks) == count, len(engine.state.tasks)
    finally:
        shutil.rmtree(path)
    return [
        Row(f"{count:,} open tasks: memory each", f"{each:,.0f} bytes", "1,024 bytes", each <= 1024),
        Row(f"{count:,} open tasks: restart", f"{restart:.1f} s"),
    ]


async def task_waits(rounds: int) -> list[float]:
    """Seconds from an update's start to the return of the ``task_get`` that waits for it."""
    times = []
    async with broker() as (one, _):
        await one.call(CALLER, "mailbox_create", {"address": "box"})
        [receipt] = (await one.call(CALLER, "mailbox_send", {"to": "box", "text": BODY, "task": True}))[
            "receipts"
        ]
        [message] = (await one.call(CALLER, "mailbox_fetch", {"mailbox": "box"}))["messages"]
        work = {"task": receipt["task"], "lease": message["lease"]}
        version = (await one.call(CALLER, "task_get", {"task": work["task"]}))["task"]["version"]
        for done in range(rounds):
            look = {"task": work["task"], "after_version": version, "wait_s": 20}
            waiter = asyncio.ensure_future(one.call(CALLER, "task_get", look))
            await asyncio.sleep(0.005)
            begin = time.perf_counter()
            await one.call(CALLER, "task_update", {**work, "progress": {"done": done}})
            version = (await waiter)["task"]["version"]
            times.append(time.perf_counter() - begin)
    return times


async def tasks(quick: bool) -> list[Row]:
    """Whole tasks, open ones, and waiting for one."""
    rate, cpu = await whole_tasks(16, 2.0 if quick else 8.0)
    name = "whole task (submit, lease, 3 updates, complete): 16 callers"
    rows = [Row(name, f"{rate:,.0f} tasks/s, {cpu:,.0f} us CPU each", "1,500", rate >= 1_500)]
    rows += await open_tasks(quick)
    waits = await task_waits(100 if quick else 400)
    p50, p99 = quantile(waits, 0.5), quantile(waits, 0.99)
    rows.append(
        Row("wake-up of a waiting task_get", f"p50 {p50:.2f} ms, p99 {p99:.2f} ms", "p99 15 ms", p99 <= 15)
    )
    return rows


WORKS: dict[str, Callable[[bool], Coroutine[Any, Any, list[Row]]]] = {
    "throughput": throughput,
    "one_send": one_send,
    "waiting": waiting,
    "tasks": tasks,
    "million": million,
    "tags": tags,
    "retention": retention,
}


def main() -> int:
    """Run the works, print the table; exit code 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, to see that it runs")
    parser.add_argument("--only", choices=sorted(WORKS), action="append", help="one work; may be repeated")
    parser.add_argument("--markdown", type=Path, help="write the table to this file too")
    chosen = parser.parse_args()
    rows: list[Row] = []
    for name in chosen.only or list(WORKS):
        found = uvloop.run(WORKS[name](chosen.quick))
        print_table(found, header=not rows)
        rows += found
    if chosen.markdown:
        command = f"python benchmarks/engine.py {' '.join(sys.argv[1:])}".strip()
        write_markdown(chosen.markdown, rows, command, "Benchmarks of the engine")
    return 0 if all(row.reached is not False for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
