"""Folding: records of the journal become rows, a run of them in one transaction.

Hot events only touch dictionaries (``rows``); rare ones (a dropped mailbox, a new group) first write
what was gathered, then run their own statements.
"""

from __future__ import annotations

import contextlib

import duckdb

from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.session_memory import IDLE_MS
from mq9_mcp.engine.embedded.fold_events import HANDLERS
from mq9_mcp.engine.embedded.replay import Entry
from mq9_mcp.engine.embedded.rows import NUMBERS, Rows
from mq9_mcp.engine.embedded.tables import SQL

FOLDED_MARK = "folded_mark"


def mark_of(digest: bytes) -> int:
    """A commit's hash as the tables remember it; 0 stands for none."""
    return int.from_bytes(digest[:8], "little", signed=True)


class Fold(Rows):
    """Folds records into the tables; between two calls the tables are those of ``seq``."""

    sound = True  # False after a failed transaction, until what stands here is read from the tables anew
    ahead = False  # a transaction is open that is not to be stored: reads see it, an end forgets it

    def fold(self, entries: list[Entry], digest: bytes = b"") -> None:
        """Fold ``entries`` in one transaction; on an error nothing of it is in the tables.

        ``digest`` is the hash of the commit that they end with: the tables belong to that journal.
        """
        assert not self.ahead
        self.tables.con.begin()
        try:
            self._gather(entries, {FOLDED_MARK: mark_of(digest)})
            self.tables.con.commit()
        except BaseException:
            self._take_back()
            raise

    def look_ahead(self, entries: list[Entry]) -> None:
        """Let reads see ``entries`` in a transaction that stays open, until ``begin_again``."""
        if not self.ahead:
            self.tables.con.begin()
            self.ahead = True
        try:
            self._gather(entries, {})
        except BaseException:
            self._take_back()
            raise

    def _gather(self, entries: list[Entry], marks: dict[str, int]) -> None:
        for entry in entries:
            if entry.seq > self.seq:
                self._fold_one(entry)
        self.write()
        self.tables.set_meta(folded_seq=self.seq, folded_at=self.at, **self.numbers, **marks)

    def _take_back(self) -> None:
        self.sound = self.ahead = False
        with contextlib.suppress(duckdb.Error):  # what failed may have ended the transaction
            self.tables.con.rollback()

    def _fold_one(self, entry: Entry) -> None:
        for event in entry.events:
            HANDLERS[type(event)](self, entry, event)
            self.at = max(self.at, event.at)
        self.seq = entry.seq

    def begin_again(self) -> None:
        """After a failed transaction, or one that looked ahead: know again what the tables hold."""
        if self.ahead:
            self._take_back()
        self.seq = self.tables.meta("folded_seq")
        self.at = self.tables.meta("folded_at")
        self.numbers = {name: self.tables.meta(name) for name in NUMBERS}
        self.load_open()
        self.tasks.load()
        self.pushes.load()
        self.clear()
        self.sound = True

    def forget_keys(self) -> None:
        """Delete dedup keys whose window is over, sessions that are, and tasks that ended long ago."""
        self.tables.run("forget_keys", [limit("dedup_window_s"), self.at])
        self.tables.con.execute(SQL["forget_sessions"], {"idle": IDLE_MS, "now": self.at})
        before = self.at - 1000 * limit("task_retention_s")
        self.tables.run("forget_tasks", [before])
        self.tables.run("forget_task_events", [before])
        self.tables.run("forget_task_messages")
        self.tables.run("forget_parked")
        self.tables.run("forget_pushes")
