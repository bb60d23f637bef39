"""Folding: records of the journal become rows, a run of them in one transaction.

Hot events only touch dictionaries (``rows``); rare ones (a dropped mailbox, a new group) first write
what was gathered, then run their own statements.
"""

from __future__ import annotations

import contextlib

import duckdb

from mq9_mcp.domain.limits import limit
from mq9_mcp.engine.embedded.fold_events import HANDLERS
from mq9_mcp.engine.embedded.replay import Entry
from mq9_mcp.engine.embedded.rows import NUMBERS, Rows


class Fold(Rows):
    """Folds records into the tables; between two calls the tables are those of ``seq``."""

    sound = True  # False after a failed transaction, until what stands here is read from the tables anew

    def fold(self, entries: list[Entry]) -> None:
        """Fold ``entries`` in one transaction; on an error nothing of it is in the tables."""
        con = self.tables.con
        con.begin()
        try:
            for entry in entries:
                if entry.seq > self.seq:
                    self._fold_one(entry)
            self.write()
            self.tables.set_meta(folded_seq=self.seq, folded_at=self.at, **self.numbers)
            con.commit()
        except BaseException:
            self.sound = False
            with contextlib.suppress(duckdb.Error):  # what failed may have ended the transaction
                con.rollback()
            raise

    def _fold_one(self, entry: Entry) -> None:
        for event in entry.events:
            HANDLERS[type(event)](self, entry, event)
            self.at = max(self.at, event.at)
        self.seq = entry.seq

    def begin_again(self) -> None:
        """After a failed transaction: know again what the tables hold."""
        self.seq = self.tables.meta("folded_seq")
        self.at = self.tables.meta("folded_at")
        self.numbers = {name: self.tables.meta(name) for name in NUMBERS}
        self.load_open()
        self.clear()
        self.sound = True

    def forget_keys(self) -> None:
        """Delete dedup keys whose window is over, in a transaction of their own."""
        self.tables.run("forget_keys", [limit("dedup_window_s"), self.at])
