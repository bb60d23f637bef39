"""An engine whose every input comes from a seed, and the other ways to come to the same state.

``replayed`` has seen nothing but the journal's records, from the first on. ``tables`` are folded from
the same records by the bench itself, as far and in such pieces as chance has it.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from mq9_mcp.broker.arguments import read_arguments
from mq9_mcp.domain.apply import apply
from mq9_mcp.domain.park import Unpark, wish_in
from mq9_mcp.domain.plan import Ask
from mq9_mcp.domain.registry import Match
from mq9_mcp.domain.state import SYSTEM, Caller, State
from mq9_mcp.engine.embedded.engine import EmbeddedEngine, open_engine
from mq9_mcp.engine.embedded.fold import Fold
from mq9_mcp.engine.embedded.load import load_state
from mq9_mcp.engine.embedded.replay import Entry, entries
from mq9_mcp.engine.embedded.segments import frames_after
from mq9_mcp.engine.embedded.tables import Tables
from tests.engine.picture import Picture, check, check_idle, picture
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
        self.tables = Tables(folder / "own.duckdb")
        self.fold = Fold(self.tables)

    async def open(self) -> None:
        """Open the data directory and be ready."""
        self.engine = await open_engine(self.folder, **self.options)
        self.engine.house.journal_age_ms = KEEP_ALL

    async def close(self) -> None:
        """Close for good."""
        await self.engine.close()
        self.tables.close()

    def ask(self) -> Ask:
        """Time, secret and chance for one command."""
        self.now = max(self.now, self.engine.time)
        return Ask(self.now, f"{self.rng.getrandbits(64):016x}", self.rng.random())

    async def call(self, agent: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """One command with arguments as the wire has them."""
        ask = self.ask()
        if "intent" in arguments:
            ask.intents = self.rankings([arguments["intent"]["text"]])
        return await self.engine.execute(Caller("local", agent), read_arguments(name, arguments), ask)

    async def unpark(self) -> None:
        """Let the agents have what is parked and fits them."""
        parked = self.engine.state.parked
        ask = self.ask()
        ask.intents = self.rankings([wish_in(mail).text for mail in parked.values()])
        await self.engine.execute(SYSTEM, Unpark(ids=list(parked)), ask)

    def rankings(self, texts: list[str]) -> dict[str, dict[str, Match]]:
        """An agent fits a text that names it."""
        names = self.engine.state.agents
        return {text: {name: Match(0.9, "", None) for name in names if name in text} for text in texts}

    async def tick(self) -> None:
        """Let the engine do what has come due."""
        await self.engine.tick(self.ask())

    # -- other ways to the same state

    def records(self, after: int) -> list[Entry]:
        """Every durable record after ``after``, read from the files."""
        journal = self.engine.journal
        found = [
            entry
            for segment, frame in frames_after(journal.segments, after, journal.durable_seq)
            for entry in entries(segment, frame)
            if entry.seq > after
        ]
        assert [entry.seq for entry in found] == list(range(after + 1, journal.durable_seq + 1))
        return found

    def bring_up(self, state: State) -> State:
        """Apply every record that ``state`` has not seen."""
        for entry in self.records(state.seq):
            apply(state, entry.events)
        return state

    def fold_some(self, share: float) -> None:
        """Fold about this share of what is not folded, in transactions of random length."""
        pending = self.records(self.fold.seq)
        last = self.fold.seq + round(share * len(pending))
        while self.fold.seq < last:
            size = self.rng.choice((1, 2, 7, 40, 400))
            if self.rng.random() < 0.1:
                self.fold = Fold(self.tables)  # as after a start
            piece = [entry for entry in pending if self.fold.seq < entry.seq <= last][:size]
            self.fold.fold(piece)

    async def compare(self) -> None:
        """All ways lead to the same state, and what must hold of it does."""
        engine = self.engine
        await engine.durable()
        check(engine.state)
        expected = picture(engine.state, self.now)
        same(expected, picture(self.bring_up(self.replayed), self.now), "the journal from its first record")
        self.fold_some(self.rng.random())
        same(expected, picture(self.bring_up(load_state(self.tables)), self.now), "tables and later records")
        self.fold_some(1)
        folded = load_state(self.tables)
        same(expected, picture(folded, self.now), "the tables alone")
        check(folded)
        check_idle(engine.state, folded)
        self._check_tables()

    def _check_tables(self) -> None:
        con, mails = self.tables.con, self.engine.state.mails
        ended = con.execute("select id from messages where ended_seq is not null").fetchall()
        assert mails.keys().isdisjoint(id for (id,) in ended), "settled and in memory"
        waiting = con.execute("select id from messages where ended_seq is null").fetchall()
        assert sorted(mails) == sorted(id for (id,) in waiting), "unsettled and not once in the tables"
        open_ = con.execute("select grp, message from open_deliveries").fetchall()
        assert len(set(open_)) == len(open_), "a delivery stands twice in the tables"

    async def restart(self) -> None:
        """Close, open again: the state that stands before the first new record is the same."""
        expected = picture(self.engine.state, self.now)
        await self.engine.close()
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
