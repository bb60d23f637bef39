"""Where the simulation breaks things: the calls under the journal, and the statements of a fold.

A crash is a copy of the data directory, taken at the boundary of a call: before it, in the middle of it,
or after it. What the engine does after that moment has never happened. Nothing is synced: in this world
a crash loses nothing that was written, and that a reply waits for its sync is proved elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Literal

from mq9_mcp.engine.embedded.disk import Disk
from mq9_mcp.engine.embedded.fold import Fold
from mq9_mcp.engine.embedded.folder_child import FORGET_EVERY_MS
from mq9_mcp.engine.embedded.folder_process import FolderProcess
from mq9_mcp.engine.embedded.segments import JOURNAL_FOLDER
from mq9_mcp.engine.embedded.tables import TABLES_FILE, Tables
from mq9_mcp.engine.embedded.tail import Tail

RECORD_BYTES = 300  # about what a record has
Phase = Literal["before", "torn", "after"]


class BadDisk(Disk):
    """Counts its calls and strikes at one of them: with a crash, or with errors until it is healed."""

    def __init__(self, crash: Callable[[], None]) -> None:
        self._crash = crash
        self.left = -1  # calls until it strikes; below 0: it does not
        self.phase: Phase = "before"
        self.share = 0.5  # of a torn write
        self.error = 0  # an errno instead of a crash
        self.failing = 0  # so many calls fail in a row
        self.failed = 0

    def plan(self, left: int, phase: Phase, share: float, error: int = 0, failing: int = 1) -> None:
        """Strike after ``left`` more calls."""
        self.left, self.phase, self.share, self.error, self.failing = left, phase, share, error, failing

    def heal(self) -> None:
        """Strike no more."""
        self.left = -1

    def _strikes(self) -> bool:
        if self.left < 0:
            return False
        self.left -= 1
        if self.left >= 0:
            return False
        if self.error and self.failing > 1:
            self.failing -= 1
            self.left = 0  # the next call too
        return True

    def _call(self, call: Callable[[], None], torn: Callable[[], None] | None = None) -> None:
        """A call that may be struck; ``torn`` does half of it."""
        if not self._strikes():
            call()
            return
        half = torn if self.phase == "torn" else None
        if self.error:
            self.failed += 1
            (half or (lambda: None))()
            raise OSError(self.error, "the simulation's disk fails")
        if self.phase == "after":
            call()
            self._crash()
            return
        (half or (lambda: None))()
        self._crash()
        call()

    def allocate(self, path: Path, size: int) -> int:
        """A new segment; it is filled next, which makes a boundary in the middle."""
        made: list[int] = []
        self._call(lambda: made.append(super(BadDisk, self).allocate(path, size)))
        return made[0]

    def write(self, fd: int, data: bytes, offset: int) -> None:
        """Torn: the first bytes only."""
        size = round(self.share * len(data))
        self._call(lambda: _write(fd, data, offset), lambda: _write(fd, data[:size], offset))

    def fill(self, fd: int, start: int, end: int) -> None:
        """Room on disk."""
        self._call(lambda: super(BadDisk, self).fill(fd, start, end))

    def cut(self, fd: int, offset: int, size: int) -> None:
        """Torn: the end is cut off, the room behind it is not there yet."""
        self._call(lambda: super(BadDisk, self).cut(fd, offset, size), lambda: os.ftruncate(fd, offset))

    def sync(self, fd: int) -> None:
        """A boundary, and nothing else."""
        del fd
        self._call(lambda: None)

    def sync_file(self, fd: int) -> None:
        """A boundary, and nothing else."""
        del fd
        self._call(lambda: None)

    def sync_folder(self, path: Path) -> None:
        """A boundary, and nothing else."""
        del path
        self._call(lambda: None)


def _write(fd: int, data: bytes, offset: int) -> None:
    Disk().write(fd, data, offset)


class Broken(Exception):
    """A fold that the simulation broke off."""


class ShakyTables(Tables):
    """Tables that break in the middle of a fold when they are told to."""

    left = -1
    strike: Callable[[], None]

    def _count(self) -> None:
        if self.left >= 0:
            self.left -= 1
            if self.left < 0:
                self.strike()

    def append(self, table: str, rows: list[Any], chunk: int = 500) -> None:
        """May break first."""
        self._count()
        super().append(table, rows, chunk)

    def run(self, name: str, arguments: Any = ()) -> None:
        """May break first."""
        self._count()
        super().run(name, arguments)

    def set_meta(self, **numbers: int) -> None:
        """May break first."""
        self._count()
        super().set_meta(**numbers)


class StepFolder(FolderProcess):
    """Folds when the simulation says so, or when somebody reads; in pieces of random length."""

    tables: ShakyTables
    fold: Fold
    tail: Tail
    rng: Random
    events = 0
    forgot_at = 0

    def start(self) -> None:
        """Open the tables, as the folder process does."""
        self.tables = ShakyTables(self.path / TABLES_FILE, self._memory_limit)
        self.tables.con.execute("set threads = 1")  # quicker where tables are small
        self.fold = Fold(self.tables)
        self.tail = Tail(self.path / JOURNAL_FOLDER, self.fold.seq)

    def add(self, last_seq: int, _: int) -> None:
        """Records up to ``last_seq`` are on disk."""
        self._durable = last_seq

    async def reach(self, seq: int, stored: bool = False) -> None:
        """Fold up to ``seq``."""
        del stored  # what is folded here is stored
        while self.fold.seq < seq or not self.fold.sound:
            self.step(self.rng.choice((1, 3, 20, 400)))

    async def read(self, seq: int, query: Callable[[Any], Any]) -> Any:
        """Fold, then ask."""
        await self.reach(seq)
        return query(self.tables.con)

    def step(self, most: int) -> None:
        """One transaction; one that breaks is begun again later."""
        if not self.fold.sound:
            self.fold.begin_again()
        if self.tail.seq != self.fold.seq:
            self.tail.close()
            self.tail = Tail(self.path / JOURNAL_FOLDER, self.fold.seq)
        if self.rng.random() < 0.05:
            self.fold = Fold(self.tables)  # as after a start
        entries = self.tail.read(self._durable, most * RECORD_BYTES)
        with suppress(Broken):
            self.fold.fold(entries, self.tail.hash)
            self.events += sum(len(entry.events) for entry in entries)
            if self.fold.at - self.forgot_at >= FORGET_EVERY_MS:
                self.forgot_at = self.fold.at
                self.fold.forget_keys()
        if not self.fold.sound:
            return
        self.folded = self.fold.seq
        self._on_folded()

    def broken(self) -> None:
        """Break the fold that is under way."""
        raise Broken

    async def close(self) -> None:
        """Let the files go; what is not folded is in the journal."""
        self.tail.close()
        self.tables.close()
