"""The folder thread: it alone uses the DuckDB connection, brings committed records in, and answers reads.

Reads run on a cursor of their own thread, and only after everything acknowledged before them is folded.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import duckdb

from mq9_mcp.domain.errors import Unavailable
from mq9_mcp.engine.embedded.fold import Fold
from mq9_mcp.engine.embedded.journal import Entry
from mq9_mcp.engine.embedded.tables import Tables

T = TypeVar("T")

INTERVAL_S = 0.25  # how long committed records gather before they are folded
ENTRIES_MAX = 4_000  # records folded in one transaction: it bounds memory, and how long a read waits
BACKLOG_BYTES = 64 * 1024 * 1024  # above it commands wait for the folder: memory stays bounded
FORGET_EVERY_MS = 60_000
RETRY_S = 1.0


class Folder:
    """Brings the tables up to the journal, in its own thread; ``folded`` is how far they are."""

    def __init__(self, tables: Tables, fold: Fold, on_folded: Callable[[int], None]) -> None:
        self.tables = tables
        self.fold = fold
        self.folded = fold.seq
        self.error: str | None = None
        self.backlog_bytes = 0
        self._on_folded = on_folded
        self._entries: deque[Entry] = deque()
        self._lock = threading.Lock()
        self._bell = threading.Condition(self._lock)
        self._hurry = 0  # fold at once up to this record
        self._stopping = False
        self._forgot_at = fold.at
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._loop = asyncio.get_running_loop()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="mq9-reader")
        self._cursor: duckdb.DuckDBPyConnection | None = None
        self._thread = threading.Thread(target=self._run, name="mq9-folder", daemon=True)

    def start(self) -> None:
        """Begin to fold."""
        self._thread.start()

    def add(self, entries: list[Entry]) -> None:
        """Take records that are on disk now."""
        size = sum(len(entry.bodies) for entry in entries) + 200 * len(entries)
        with self._bell:
            if not self._entries:
                self._bell.notify()
            self._entries.extend(entries)
            self.backlog_bytes += size

    async def reach(self, seq: int) -> None:
        """Return when the tables hold everything up to record ``seq``."""
        if seq <= self.folded:
            return
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append((seq, future))
        with self._bell:
            self._hurry = max(self._hurry, seq)
            self._bell.notify()
        await future

    async def read(self, seq: int, query: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """The result of ``query`` on tables that hold everything up to record ``seq``."""
        await self.reach(seq)
        return await self._loop.run_in_executor(self._reader, self._query, query)

    def _query(self, query: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        if self._cursor is None:
            self._cursor = self.tables.con.cursor()
        self._cursor.begin()  # all statements of a query see the same tables
        try:
            return query(self._cursor)
        finally:
            self._cursor.rollback()

    def _run(self) -> None:
        while True:
            with self._bell:
                while not self._entries and not self._stopping:
                    self._bell.wait()
                if not self._entries:
                    return
                if self._hurry <= self.folded and not self._stopping and len(self._entries) < ENTRIES_MAX:
                    self._bell.wait_for(self._must_hurry, INTERVAL_S)
                count = min(len(self._entries), ENTRIES_MAX)
                entries = [self._entries[index] for index in range(count)]
            if not self._fold(entries) and self._give_up():
                return

    def _must_hurry(self) -> bool:
        return self._hurry > self.folded or self._stopping or len(self._entries) >= ENTRIES_MAX

    def _fold(self, entries: list[Entry]) -> bool:
        try:
            self.fold.fold(entries)
            if self.fold.at - self._forgot_at >= FORGET_EVERY_MS:
                self._forgot_at = self.fold.at
                self.fold.forget_keys()
        except Exception as error:  # whatever it is, reads must say so instead of waiting for ever
            self.error = (str(error).splitlines() or [repr(error)])[0]
            return False
        self.error = None
        size = sum(len(entry.bodies) for entry in entries) + 200 * len(entries)
        with self._bell:
            for _ in entries:
                self._entries.popleft()
            self.backlog_bytes -= size
        with contextlib.suppress(RuntimeError):  # the loop may be closed during a hard stop
            self._loop.call_soon_threadsafe(self._tell, entries[-1].seq)
        return True

    def _give_up(self) -> bool:
        """After a failed transaction: wait and try again, or leave the records to the next start."""
        with self._bell:
            self._bell.wait_for(lambda: self._stopping, RETRY_S)
            stopping = self._stopping
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._tell_error)
        return stopping

    def _tell(self, seq: int) -> None:
        self.folded = seq
        waiting, self._waiters = self._waiters, []
        for wanted, future in waiting:
            if wanted > seq:
                self._waiters.append((wanted, future))
            elif not future.done():
                future.set_result(None)
        self._on_folded(seq)

    def _tell_error(self) -> None:
        waiting, self._waiters = self._waiters, []
        for _, future in waiting:
            if not future.done():
                future.set_exception(
                    Unavailable(
                        "STORAGE_UNAVAILABLE",
                        f"the tables cannot be brought up to date: {self.error}",
                        "free room on the disk; the broker goes on by itself",
                    )
                )

    async def close(self) -> None:
        """Fold what is left, end both threads."""
        with self._bell:
            self._stopping = True
            self._bell.notify()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._reader.shutdown)
        if self._cursor is not None:
            self._cursor.close()
