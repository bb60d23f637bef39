"""An engine whose every input comes from a seed, and the other ways to come to the same state.

``live`` is the state that commands changed. ``replayed`` has seen nothing but the journal's records,
from the first on. ``from_tables`` is what DuckDB holds, at once or with the later records on top.
"""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import duckdb

from mq9_mcp.broker.arguments import read_arguments
from mq9_mcp.domain.apply import apply
from mq9_mcp.domain.plan import Ask
from mq9_mcp.domain.state import Caller, State
from mq9_mcp.engine.base import Committed
from mq9_mcp.engine.embedded.engine import EmbeddedEngine, open_engine
from mq9_mcp.engine.embedded.load import load_state
from mq9_mcp.engine.embedded.replay import entries
from mq9_mcp.engine.embedded.segments import frames_after
from tests.engine.picture import Picture, check, picture
from tests.support import START_MS

KEEP_ALL = 2**40


class Bench:
    """An engine on a data directory; the test's random numbers are its only chance and secrets."""

    def __init__(self, folder: Path, rng: random.Random, **options: Any) -> None:
        self.folder = folder
        self.rng = rng
        self.options: dict[str, Any] = {"segment_bytes": 64 * 1024, "journal_bytes": KEEP_ALL, **options}
        self.now = START_MS
        self.engine: EmbeddedEngine
        self.replayed = State()
        self.old: duckdb.DuckDBPyConnection | None = None

    async def open(self) -> None:
        """Open the data directory and be ready."""
        self.engine = await open_engine(self.folder, **self.options)
        self.engine.house.journal_age_ms = KEEP_ALL

    async def close(self) -> None:
        """Close in order."""
        if self.old is not None:
            self.old.close()
            self.old = None
        await self.engine.close()

    def ask(self) -> Ask:
        """Time, secret and chance for one command."""
        self.now = max(self.now, self.engine.time)
        return Ask(self.now, f"{self.rng.getrandbits(64):016x}", self.rng.random())

    async def call(self, agent: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """One command with arguments as the wire has them."""
        return await self.engine.execute(Caller("local", agent), read_arguments(name, arguments), self.ask())

    async def tick(self) -> None:
        """Let the engine do what has come due."""
        await self.engine.tick(self.ask())

    # -- other ways to the same state

    def follow(self) -> None:
        """Bring ``replayed`` up to the journal."""
        self._add_records(self.replayed)

    def _add_records(self, state: State) -> State:
        for record in self.records(state.seq):
            assert record.seq == state.seq + 1, "a record is missing"
            apply(state, record.events)
        return state

    def records(self, after: int) -> list[Committed]:
        """Every durable record after ``after``, read from the files."""
        journal = self.engine.journal
        return [
            Committed(entry.seq, entry.events)
            for segment, frame in frames_after(journal.segments, after, journal.durable_seq)
            for entry in entries(segment, frame)
            if entry.seq > after
        ]

    def keep_old(self) -> None:
        """Keep a view of the tables as they are now, however far they are."""
        if self.old is not None:
            self.old.close()
        self.old = self.engine.tables.con.cursor()
        self.old.begin()
        self.old.execute("select value from meta").fetchall()

    def from_tables(self, con: duckdb.DuckDBPyConnection) -> State:
        """The state that a start would build: the tables as ``con`` sees them, then later records."""
        view = copy.copy(self.engine.tables)
        view.con = con
        return self._add_records(load_state(view))

    async def compare(self) -> None:
        """All ways lead to the same state, and what must hold of it does."""
        engine = self.engine
        await engine.durable()
        check(engine.state)
        expected = picture(engine.state, self.now)
        self.follow()
        same(expected, picture(self.replayed, self.now), "the journal replayed from its first record")
        if self.old is not None:
            old = self.from_tables(self.old)
            same(expected, picture(old, self.now), "older tables and the journal after them")
        await engine.folder.reach(engine.journal.durable_seq)
        with engine.tables.con.cursor() as con:
            folded = self.from_tables(con)
            rows = con.execute("select id from messages where ended_seq is not null").fetchall()
        same(expected, picture(folded, self.now), "the tables alone")
        check(folded)
        assert engine.state.mails.keys().isdisjoint(id for (id,) in rows), "settled and in memory"

    async def restart(self) -> None:
        """Close, open again: the state that stands before the first new record is the same."""
        expected = picture(self.engine.state, self.now)
        await self.close()
        await self.open()
        same(expected, picture(self.engine.state, self.now), "a restart")
        await self.engine.begin(self.ask())


def same(expected: Picture, seen: Picture, how: str) -> None:
    """Fail with the places where two pictures differ, and nothing else."""
    found = list(differences(expected, seen, ""))
    assert not found, f"{how} gives another state:\n" + "\n".join(found[:12])


def differences(expected: Any, seen: Any, where: str) -> list[str]:
    """Where two pictures differ, one line each."""
    if isinstance(expected, dict) and isinstance(seen, dict):
        lines = []
        for name in list(expected) + [name for name in seen if name not in expected]:
            lines += differences(expected.get(name, "nothing"), seen.get(name, "nothing"), f"{where}/{name}")
        return lines
    return [] if expected == seen else [f"{where}: live {expected!r}, not {seen!r}"]
