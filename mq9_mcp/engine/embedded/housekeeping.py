"""What keeps the data directory small: retention of settled mail, and journal segments nobody needs."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import duckdb

from mq9_mcp.domain.plan import Ask, Plan
from mq9_mcp.domain.retention import decide_prune, due_for_retention
from mq9_mcp.domain.state import NEVER, Caller, Mailbox, State
from mq9_mcp.engine.embedded.folder_process import FolderProcess
from mq9_mcp.engine.embedded.journal import Journal
from mq9_mcp.engine.embedded.tables import SQL

JOURNAL_BYTES = 64 * 1024 * 1024
JOURNAL_AGE_MS = 7 * 86_400_000
SWEEP_MS = 60_000


class House(Protocol):
    """What this room needs of the engine."""

    state: State
    journal: Journal
    folder: FolderProcess

    async def durable(self) -> None:
        """Return when everything decided so far is on disk."""

    def commit(self, plan: Plan) -> None:
        """Apply and journal a plan."""


class Housekeeping:
    """Runs now and then; each step is small."""

    def __init__(self, journal_bytes: int = JOURNAL_BYTES, journal_age_ms: int = JOURNAL_AGE_MS) -> None:
        self.journal_bytes = journal_bytes
        self.journal_age_ms = journal_age_ms
        self.swept_at = 0

    def drop_segments(self, house: House) -> None:
        """Delete folded segments over ``journal_retention``; bodies of unsettled mail keep theirs longer.

        The bytes kept beyond the retention are at most one and a half times the unsettled ones, so a
        single old message does not hold everything after it; its body is then read from DuckDB.
        """
        journal = house.journal
        keep = self.journal_bytes + house.state.unsettled_bytes * 3 // 2
        held = sum(segment.size for segment in journal.segments)
        while len(journal.segments) > 1:
            oldest = journal.segments[0]
            if oldest.last_seq > house.folder.folded or oldest.last_seq > journal.durable_seq:
                return
            too_old = oldest.last_at + self.journal_age_ms < house.state.at
            if held - oldest.size < keep and not too_old:
                return
            held -= oldest.size
            try:
                journal.drop_oldest()
            except OSError:
                return  # the next time it is tried again

    def overdue(self, state: State, now: int) -> list[Mailbox]:
        """The mailboxes whose retention wants a run."""
        numbers = state.overfull
        state.overfull = set()
        found = [state.mailboxes[number] for number in numbers if number in state.mailboxes]
        if now - self.swept_at >= SWEEP_MS:
            self.swept_at = now
            found = list(state.mailboxes.values())
        return [mailbox for mailbox in found if due_for_retention(mailbox, now)]

    async def prune(self, house: House, mailbox: Mailbox, caller: Caller, ask: Ask) -> None:
        """Remove what one mailbox does not retain any more."""
        settings, number = mailbox.settings, mailbox.number
        before = ask.now - settings.retention_age_s * 1000

        horizon = partial(_horizon, number=number, before=before, keep=settings.retention_bytes)
        await house.durable()  # what was removed before must not be counted again
        version = mailbox.history_version
        through, count, size, oldest = await house.folder.read(house.journal.durable_seq, horizon)
        gone = house.state.mailboxes.get(number) is not mailbox
        if gone or version != mailbox.history_version or not due_for_retention(mailbox, ask.now):
            return
        since = NEVER if oldest is None else oldest
        if not count and since == mailbox.settled_since:
            return
        plan = Plan(house.state, caller, ask, ask.now)
        decide_prune(plan, mailbox, through, count, size, min(since, ask.now))
        house.commit(plan)


def _horizon(
    con: duckdb.DuckDBPyConnection, number: int, before: int, keep: int
) -> tuple[int, int, int, int | None]:
    """Up to which record settled mail goes, how much that is, and when the oldest that stays ended."""
    by_age = _one(con, "prune_by_age", [number, before])[0]
    by_bytes = _one(con, "prune_by_bytes", [number, keep])[0]
    through = max(by_age, by_bytes)
    count, size = _one(con, "prune_size", [number, through])
    return through, count, size, _one(con, "prune_oldest", [number, through])[0]


def _one(con: duckdb.DuckDBPyConnection, name: str, arguments: list[Any]) -> tuple[Any, ...]:
    row = con.execute(SQL[name], arguments).fetchone()
    assert row is not None
    return row
