"""The folder's process: reads committed records from the journal's files, folds them, answers reads.

It is started by ``folder_process`` with one end of a socket pair, and ends with its parent, whatever
ends that. It alone has DuckDB open while it runs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import duckdb

from mq9_mcp.domain.errors import Unavailable
from mq9_mcp.engine.embedded.fold import Fold
from mq9_mcp.engine.embedded.frame import Damaged
from mq9_mcp.engine.embedded.replay import Entry
from mq9_mcp.engine.embedded.segments import JOURNAL_FOLDER
from mq9_mcp.engine.embedded.tables import TABLES_FILE, Tables, patiently
from mq9_mcp.engine.embedded.tail import Tail

FOLD_BYTES = 4 * 1024 * 1024  # of records, folded in one transaction: memory for their rows is bounded
FORGET_EVERY_MS = 60_000
CHECKPOINT_BYTES = 32 * 1024 * 1024  # of DuckDB's log, until it is worked into the file
RETRY_S = 1.0
CHECKPOINT_RETRY_S = 10.0


class Child:
    """One folder process: what it has open, and how far it is to fold.

    While the tables' file cannot be written, reads go on: they see what is to be folded in a
    transaction that is never stored (``look_ahead``), and folding is tried again now and then.
    """

    def __init__(self, pipe: Connection, folder: Path, tables: Tables, memory_limit: str) -> None:
        self.pipe = pipe
        self.folder = folder
        self.memory_limit = memory_limit
        self.use(tables)
        self.wanted = self.fold.seq
        self.promised = 0  # reads were told that they see everything up to here
        self.failure = ""  # why folding does not go on
        self.stopping = False
        self._retry_at = 0.0
        self._checkpoint_at = 0.0
        self._forgot_at = self.fold.at

    def use(self, tables: Tables) -> None:
        """Work on these tables."""
        self.tables = tables
        self.fold = Fold(tables)
        self.tail = Tail(self.folder / JOURNAL_FOLDER, self.fold.seq)

    def run(self) -> None:
        """Fold and answer until told to stop; raises ``EOFError`` when the parent is gone."""
        self.pipe.send(("folded", self.fold.seq))
        while True:
            behind = self.fold.seq < self.wanted or not self.fold.sound or self.fold.ahead
            if self.stopping and (not behind or self.failure):
                return
            pause = max(0.0, self._retry_at - time.monotonic())
            if self.pipe.poll(pause if behind else None):
                self.receive(self.pipe.recv())
            elif behind:
                self.fold_some()

    def receive(self, message: tuple[Any, ...]) -> None:
        """One word of the parent: fold so far, read, stop."""
        kind = message[0]
        if kind == "fold":
            self.wanted = max(self.wanted, message[1])
            if self.promised:
                self.promise()
            elif self.wanted == self.fold.seq:
                self.pipe.send(("folded", self.fold.seq))
            else:
                self._retry_at = 0.0
        elif kind == "close":
            self.stopping = True
            self.failure = ""  # once more
            self._retry_at = 0.0
        else:
            self.answer(*message[1:])

    def answer(self, number: int, query: Callable[[duckdb.DuckDBPyConnection], Any]) -> None:
        """The result of a read, or why there is none."""
        try:
            if self.fold.seq < self.promised or (self.promised and not self.fold.sound):
                self.look_ahead()
            self.pipe.send(("result", number, query(self.tables.con)))
        except Exception as error:  # the asker is told, whatever it was
            self.pipe.send(("error", number, f"{type(error).__name__}: {error}"))
            self.mend(error)

    def fold_some(self) -> None:
        """Fold the next records; what fails is tried again after a while."""
        try:
            if self.fold.ahead or not self.fold.sound:
                self.fold.begin_again()
            records = self.next_records()
            self.fold.fold(records, self.tail.hash)
        except Exception as error:  # whatever it is, reads must say so instead of waiting for ever
            self.failure = (str(error).splitlines() or [repr(error)])[0]
            self._retry_at = time.monotonic() + RETRY_S
            self.mend(error)
            if isinstance(error, OSError | duckdb.IOException | duckdb.TransactionException):
                self.promise()
            else:
                self.pipe.send(("failed", self.failure))
            return
        if self.fold.seq >= self.promised:
            self.failure, self.promised = "", 0
        self.forget_keys()
        self.checkpoint()
        self.pipe.send(("folded", self.fold.seq))

    def next_records(self) -> list[Entry]:
        """The next records after those that are folded."""
        if self.tail.seq != self.fold.seq:  # a transaction failed after its records were read
            self.tail.close()
            self.tail = Tail(self.folder / JOURNAL_FOLDER, self.fold.seq)
        return self.tail.read(self.wanted, FOLD_BYTES)

    def promise(self) -> None:
        """The tables' file cannot be written now; reads see everything all the same."""
        self.promised = self.wanted
        self.pipe.send(("stuck", self.promised, self.failure))

    def look_ahead(self) -> None:
        """Show reads what was promised, without storing it."""
        if not self.fold.sound:
            self.fold.begin_again()
        while self.fold.seq < self.promised:
            self.fold.look_ahead(self.next_records())

    def mend(self, error: Exception) -> None:
        """After a failed statement a transaction is of no use any more; after a fatal one nothing is."""
        if self.fold.ahead:
            self.fold.sound = False
        if isinstance(error, duckdb.FatalException):
            self.reopen()

    def reopen(self) -> None:
        """Open the tables anew; raises ``Damaged`` if they cannot be opened."""
        self.tail.close()
        self.tables.close()
        self.use(open_tables(self.folder / TABLES_FILE, self.memory_limit))

    def forget_keys(self) -> None:
        """Now and then remove dedup keys whose window is over; what fails is done the next time."""
        if self.fold.at - self._forgot_at >= FORGET_EVERY_MS:
            self._forgot_at = self.fold.at
            try:
                self.fold.forget_keys()
            except (duckdb.Error, OSError) as error:
                self.mend(error)

    def checkpoint(self) -> None:
        """Work DuckDB's log into its file when it is long. One that fails leaves the database unusable."""
        if self.tables.log_bytes() < CHECKPOINT_BYTES or time.monotonic() < self._checkpoint_at:
            return
        try:
            self.tables.con.execute("checkpoint")
        except duckdb.Error:
            self._checkpoint_at = time.monotonic() + CHECKPOINT_RETRY_S
            self.reopen()


def open_tables(path: Path, memory_limit: str) -> Tables:
    """Open DuckDB to write."""
    return patiently(lambda: Tables(path, memory_limit))


def serve(pipe: Connection, folder: Path, memory_limit: str) -> int:
    """Open the tables and work until the parent is done or gone; the process's exit code."""
    code = 0
    child: Child | None = None
    try:
        child = Child(pipe, folder, open_tables(folder / TABLES_FILE, memory_limit), memory_limit)
        child.run()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    except (Damaged, Unavailable, duckdb.Error) as error:
        code = 1
        with contextlib.suppress(OSError):
            pipe.send(("failed", (str(error).splitlines() or [repr(error)])[0]))
    if child is not None:
        child.tail.close()
        child.tables.close()
    pipe.close()
    return code


def main(arguments: list[str]) -> int:
    """``folder_child FD DIRECTORY MEMORY_LIMIT``: the process that ``folder_process`` starts."""
    os.umask(0o077)  # DuckDB's files hold mail; the directory may be open to others
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)  # the parent says when to stop
    return serve(Connection(int(arguments[0])), Path(arguments[1]), arguments[2])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
