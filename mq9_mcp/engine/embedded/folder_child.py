"""The folder's process: reads committed records from the journal's files, folds them, answers reads.

It is started by ``folder_process`` with one end of a socket pair, and ends with its parent, whatever
ends that. It alone has DuckDB open while it runs.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import duckdb

from mq9_mcp.engine.embedded.fold import Fold
from mq9_mcp.engine.embedded.frame import Damaged
from mq9_mcp.engine.embedded.segments import JOURNAL_FOLDER
from mq9_mcp.engine.embedded.tables import TABLES_FILE, Tables
from mq9_mcp.engine.embedded.tail import Tail

FOLD_BYTES = 4 * 1024 * 1024  # of records, folded in one transaction: memory for their rows is bounded
FORGET_EVERY_MS = 60_000
RETRY_S = 1.0
LOCK_WAIT_S = 10.0
_POLL_S = 0.02


class Child:
    """One folder process: what it has open, and how far it is to fold."""

    def __init__(self, pipe: Connection, folder: Path, tables: Tables) -> None:
        self.pipe = pipe
        self.journal = folder / JOURNAL_FOLDER
        self.tables = tables
        self.fold = Fold(tables)
        self.wanted = self.fold.seq
        self.stopping = False
        self.tail = Tail(self.journal, self.fold.seq)
        self._forgot_at = self.fold.at

    def run(self) -> None:
        """Fold and answer until told to stop; raises ``EOFError`` when the parent is gone."""
        self.pipe.send(("folded", self.fold.seq))
        pause = 0.0
        while True:
            behind = self.fold.seq < self.wanted or not self.fold.sound
            if self.stopping and (not behind or pause):
                return
            if self.pipe.poll(pause if behind else None):
                self.receive(self.pipe.recv())
                pause = 0.0
            elif behind:
                pause = 0.0 if self.fold_some() else RETRY_S

    def receive(self, message: tuple[Any, ...]) -> None:
        """One word of the parent: fold so far, read, stop."""
        kind = message[0]
        if kind == "fold":
            self.wanted = max(self.wanted, message[1])
            if self.wanted == self.fold.seq:
                self.pipe.send(("folded", self.fold.seq))
        elif kind == "close":
            self.stopping = True
        else:
            number, query = message[1:]
            try:
                self.pipe.send(("result", number, query(self.tables.con)))
            except Exception as error:  # the asker is told, whatever it was
                self.pipe.send(("error", number, f"{type(error).__name__}: {error}"))

    def fold_some(self) -> bool:
        """Fold the next records; False if that failed and is to be tried again."""
        try:
            if not self.fold.sound:
                self.fold.begin_again()
            if self.tail.seq != self.fold.seq:  # a transaction failed after its records were read
                self.tail.close()
                self.tail = Tail(self.journal, self.fold.seq)
            self.fold.fold(self.tail.read(self.wanted, FOLD_BYTES))
        except Exception as error:  # whatever it is, reads must say so instead of waiting for ever
            self.pipe.send(("failed", (str(error).splitlines() or [repr(error)])[0]))
            return False
        self.forget_keys()
        self.pipe.send(("folded", self.fold.seq))
        return True

    def forget_keys(self) -> None:
        """Now and then remove dedup keys whose window is over; what fails is done the next time."""
        if self.fold.at - self._forgot_at >= FORGET_EVERY_MS:
            self._forgot_at = self.fold.at
            with contextlib.suppress(duckdb.Error, OSError):
                self.fold.forget_keys()


def open_tables(path: Path, memory_limit: str) -> Tables:
    """Open DuckDB; a folder process whose broker was killed may hold it for a moment still."""
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return Tables(path, memory_limit)
        except Damaged as error:
            if "lock" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)


def serve(pipe: Connection, folder: Path, memory_limit: str) -> int:
    """Open the tables and work until the parent is done or gone; the process's exit code."""
    try:
        tables = open_tables(folder / TABLES_FILE, memory_limit)
    except Damaged as error:
        with contextlib.suppress(OSError):
            pipe.send(("failed", str(error)))
        pipe.close()
        return 1
    child = Child(pipe, folder, tables)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        child.run()
    child.tail.close()
    tables.close()
    pipe.close()
    return 0


def main(arguments: list[str]) -> int:
    """``folder_child FD DIRECTORY MEMORY_LIMIT``: the process that ``folder_process`` starts."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)  # the parent says when to stop
    return serve(Connection(int(arguments[0])), Path(arguments[1]), arguments[2])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
