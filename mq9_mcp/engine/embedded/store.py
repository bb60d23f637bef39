"""The parts of an open data directory together: lock, journal, state, folder; start, failure, stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from mq9_mcp.domain.apply import apply
from mq9_mcp.domain.errors import Refused, Unavailable
from mq9_mcp.domain.state import State
from mq9_mcp.engine.base import Committed, Condition
from mq9_mcp.engine.embedded.agents import keep_heartbeats
from mq9_mcp.engine.embedded.commits import Commits
from mq9_mcp.engine.embedded.disk import Disk, advice
from mq9_mcp.engine.embedded.folder_child import open_tables
from mq9_mcp.engine.embedded.folder_process import FolderProcess
from mq9_mcp.engine.embedded.follow import Follower
from mq9_mcp.engine.embedded.frame import Damaged
from mq9_mcp.engine.embedded.journal import Batch, Journal
from mq9_mcp.engine.embedded.load import Replay, load_from
from mq9_mcp.engine.embedded.lock import OwnerLock
from mq9_mcp.engine.embedded.messages import Messages
from mq9_mcp.engine.embedded.prepare import read_all, read_one
from mq9_mcp.engine.embedded.replay import entries
from mq9_mcp.engine.embedded.segments import JOURNAL_FOLDER, frames_after
from mq9_mcp.engine.embedded.tables import TABLES_FILE, is_new

GC_THRESHOLD = 20_000
_RECOVER_S = 0.2
_REPAIR_S = 5.0  # reads wait so long for a rebuild after a failed write
log = logging.getLogger("mq9.engine")


class Store:
    """An open data directory. ``state`` is what memory knows; ``broken`` while it must be rebuilt."""

    def __init__(
        self,
        folder_path: Path,
        segment_bytes: int,
        memory_limit: str,
        disk: Disk | None,
        fold_apart: bool,
    ) -> None:
        self.path = folder_path
        self.broken: Unavailable | None = None
        self.closed = False
        self.commits = Commits()
        self.state = State()
        self.lock: OwnerLock
        self.folder: FolderProcess
        self.messages: Messages
        self.journal = Journal(
            folder_path / JOURNAL_FOLDER, self._committed, self._failed, segment_bytes, disk
        )
        self._memory_limit = memory_limit
        self._fold_apart = fold_apart
        self._news = asyncio.Event()
        self._recovery: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open DuckDB, rebuild the state from its tables, replay the journal after them."""
        self.journal.disk.make_folder(self.path)
        self.lock = OwnerLock(self.path)
        try:
            folded = self._open_and_rebuild()
        except Damaged as error:
            self.lock.release()
            raise Damaged(f"{error}; run: mq9 doctor {self.path}") from error
        except BaseException:
            self.lock.release()
            raise
        self.folder = self.new_folder(folded)
        self.messages = Messages(self.journal, self.folder)
        self.journal.start()
        self.folder.start()
        self.folder.add(self.journal.durable_seq, 0)
        # What was just built lives long: keep it out of every later collection.
        gc.collect()
        gc.freeze()
        # A command makes dozens of short-lived objects and hardly a cycle: look for cycles less often.
        gc.set_threshold(GC_THRESHOLD, 20, 100)

    def new_folder(self, folded: int) -> FolderProcess:
        """Who folds, beginning after record ``folded``; a simulation folds step by step instead."""
        return FolderProcess(self.path, self._memory_limit, folded, self._folded, self._fold_apart)

    def _open_and_rebuild(self) -> int:
        """Build the state; returns up to which record the tables go."""
        path = self.path / TABLES_FILE
        new = is_new(path)
        tables = open_tables(path, self._memory_limit)
        try:
            replay = Replay(tables)
            self.journal.open(replay, replay.folded)
        except duckdb.Error as error:
            raise tables.cannot("read", error) from error
        except Damaged:
            if new:  # empty tables would look as if there had been some
                tables.close()
                path.unlink(missing_ok=True)
            raise
        finally:
            tables.close()
        self.state = replay.state
        return replay.folded

    def check(self) -> None:
        """Refuse while the store is closed or being rebuilt."""
        if self.broken is not None:
            raise self.broken
        self.check_open()

    def check_open(self) -> None:
        """Refuse after the store was closed."""
        if self.closed:
            raise Unavailable("SHUTTING_DOWN", "the broker is stopping", "connect again in a moment")

    def condition(self) -> Condition:
        """Whether changes can be stored now."""
        trouble = "the data directory is closed" if self.closed else self.folder.error or ""
        if self.broken is not None:
            trouble = self.broken.message
        try:
            disk = os.statvfs(self.path)
        except OSError as error:
            return Condition(trouble or f"{self.path}: {error.strerror}", 0)
        return Condition(trouble, disk.f_bavail * disk.f_frsize)

    async def durable(self) -> None:
        """Return when everything decided so far is on disk."""
        await self.journal.stored()

    async def read_row(self, name: str, arguments: Any) -> Any:
        """The first row of a named statement over all that is on disk, or None."""
        await self.durable()
        return await self.folder.read(
            self.journal.durable_seq, partial(read_one, name=name, arguments=arguments)
        )

    async def read_rows(self, name: str, arguments: Any) -> list[Any]:
        """All rows of a named statement over all that is on disk."""
        await self.durable()
        query = partial(read_all, name=name, arguments=arguments)
        rows: list[Any] = await self.folder.read(self.journal.durable_seq, query)
        return rows

    async def vector_models(self) -> dict[tuple[str, str], int]:
        """How many vectors are kept, by model and version."""
        query = partial(read_all, name="vector_models", arguments=[])
        return {(model, version): count for model, version, count in await self.folder.read(0, query)}

    def _committed(self, batch: Batch) -> None:
        self.folder.add(batch.last_seq, batch.size)
        self.commits.add(batch.count, batch.size)
        self._news.set()

    def _folded(self) -> None:
        if not self.closed and self.broken is None:
            self.drop_segments()

    def drop_segments(self) -> None:
        """Delete segments that nobody needs; the engine knows its limits."""

    # -- a failed write

    def _failed(self, error: OSError) -> None:
        """The state holds changes that are not on disk: refuse until it is rebuilt from what is."""
        self.broken = Unavailable(
            "STORAGE_UNAVAILABLE",
            f"the journal could not be written ({error.strerror}); nothing was stored",
            advice(error),
        )
        log.error("a write failed: %s", self.broken.message, extra={"event": "write_failed"})
        self._recovery = asyncio.get_running_loop().create_task(self._recover())

    async def _recover(self) -> None:
        while not self.closed:
            try:
                state = await self._rebuilt()
            except (Unavailable, OSError, duckdb.Error):
                await asyncio.sleep(_RECOVER_S)
                continue
            keep_heartbeats(self.state, state)
            self.state = state
            self.broken = None
            log.warning("writes go on: the state was rebuilt", extra={"event": "write_recovered"})
            self.recovered()
            return

    async def _rebuilt(self) -> State:
        """The state as the tables have it, and the records on top that they do not have yet."""
        state = await self.folder.read(0, load_from)
        for segment, frame in frames_after(self.journal.segments, state.seq, self.journal.durable_seq):
            for entry in entries(segment, frame):
                if entry.seq > state.seq:
                    apply(state, entry.events)
        return state

    async def repaired(self) -> None:
        """Return when reads rest on what is on disk: at once, or after a rebuild."""
        self.check_open()
        if self.broken is not None and self._recovery is not None:
            await asyncio.wait({self._recovery}, timeout=_REPAIR_S)
        self.check()

    def recovered(self) -> None:
        """The state was rebuilt after a failed write; whoever waits looks again."""

    # -- the journal as a stream

    async def records_after(self, after: int) -> AsyncGenerator[Committed]:
        """Every durable record after ``after``, then each new one."""
        follower = Follower(after)
        while not self.closed:
            self._news.clear()
            self._check_begin(follower.seq)
            for entry in follower.read(self.journal.segments, self.journal.durable_seq):
                yield Committed(entry.seq, entry.events)
            if follower.seq >= self.journal.durable_seq:
                await self._news.wait()
            else:
                await asyncio.sleep(0)  # one who is far behind lets others have their turn

    def _check_begin(self, after: int) -> None:
        first = self.journal.segments[0].first_seq
        if after + 1 < first:
            raise Refused(
                "INVALID_ARGUMENT",
                f"after: {after}; the journal begins with record {first}",
                f"begin with after={first - 1}",
            )

    # -- stop

    async def close(self) -> None:
        """Store and fold what is pending, close everything, let the directory go."""
        if self.closed:
            return
        self.closed = True
        self._news.set()
        if self._recovery is not None:
            self._recovery.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._recovery
        await self.journal.close()
        await self.folder.close()
        self.lock.release()
        gc.unfreeze()
