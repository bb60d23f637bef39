"""persist-queue: a queue with acks in an SQLite file, used by threads of one program."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from persistqueue import Empty, SQLiteAckQueue

from benchmarks.peers.peer import DRAIN_MAX_S, TEXT, WAIT_S, Done, Peer

CLEAN_EVERY = 1_000  # acked rows stay until they are cleared, and every get walks over them
FULL = 2


class SqliteQueue(Peer):
    """As it comes: a write-ahead log that SQLite syncs at every commit."""

    name = "persist-queue, SQLiteAckQueue"
    in_process = True

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="mq9-bench-"))
        self._queues = 0
        self._queue: Any = None
        self._lock = threading.Lock()
        self._acked = 0

    async def open(self) -> None:
        """Nothing is to be started."""

    async def close(self) -> None:
        """Close the file."""
        self._queue.close()
        shutil.rmtree(self._folder)

    async def version(self) -> str:
        """The package's and SQLite's, and how far a commit is synced."""
        return f"persist-queue {version('persist-queue')}, SQLite {sqlite3.sqlite_version}"

    async def fresh(self) -> None:
        """Another file; the default of its durability must be the fullest there is."""
        if self._queue is not None:
            self._queue.close()
        self._queues += 1
        self._queue = SQLiteAckQueue(str(self._folder / f"queue-{self._queues}"), multithreading=True)
        for connection in (self._queue._getter, self._queue._putter):
            [level] = connection.execute("PRAGMA synchronous").fetchone()
            assert level >= FULL, f"PRAGMA synchronous is {level}: a commit is not synced"

    async def send(self) -> None:
        """Not used: threads call."""
        self._queue.put(TEXT)

    async def fill(self, count: int) -> None:
        """One by one; there is no other way."""
        await asyncio.to_thread(lambda: [self._queue.put(TEXT) for _ in range(count)])

    async def work(self, worker: int, most: int) -> int:  # noqa: ARG002 - any worker is like another
        """Not used: threads call."""
        return self._work(most)

    async def receive(self) -> float:
        """A blocking get in a thread of its own."""
        return await asyncio.to_thread(self._receive)

    def _receive(self) -> float:
        item = self._queue.get(timeout=WAIT_S, raw=True)
        at = time.perf_counter()
        self._queue.ack(id=item["pqid"])
        return at

    def _work(self, most: int) -> int:
        """Get and ack one after the other: it knows no batches."""
        items: list[Any] = []
        try:
            while len(items) < most:
                items.append(self._queue.get(block=False, raw=True))
        except Empty:
            pass
        for item in items:
            self._queue.ack(id=item["pqid"])
        with self._lock:
            self._acked += len(items)
            if self._acked >= CLEAN_EVERY:
                self._acked = 0
                self._queue.clear_acked_data(max_delete=2 * CLEAN_EVERY, keep_latest=0)
        return len(items)

    # -- the works, with threads instead of coroutines

    async def sending(self, callers: int, seconds: float) -> Done:
        """Sends of ``callers`` threads."""
        over = time.perf_counter() + seconds

        def caller() -> tuple[int, float]:
            count = 0
            while time.perf_counter() < over:
                self._queue.put(TEXT)
                count += 1
            return count, time.perf_counter()

        return await asyncio.to_thread(_together, [caller] * callers)

    async def draining(self, workers: int, most: int, count: int) -> Done:  # noqa: ARG002 - until it is empty
        """Get and ack by ``workers`` threads."""
        over = time.perf_counter() + DRAIN_MAX_S

        def worker() -> tuple[int, float]:
            done, ended = 0, time.perf_counter()
            while ended < over and (got := self._work(most)):
                done, ended = done + got, time.perf_counter()
            return done, ended

        return await asyncio.to_thread(_together, [worker] * workers)


def _together(works: list[Callable[[], tuple[int, float]]]) -> Done:
    """The works, each in a thread: how many messages, until the last of them."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(len(works)) as pool:
        done = [one.result() for one in [pool.submit(work) for work in works]]
    return Done(sum(count for count, _ in done), max(ended for _, ended in done) - begun)
