"""Parked messages meet the agents that come: ranked in the background, given by the domain.

A message is compared with every agent once, and from then on with those that register, come back or have
become known by their meaning. What might fit is ranked in full, so it goes where a send would go now.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from mq9_mcp.domain.errors import Unavailable
from mq9_mcp.domain.park import Unpark
from mq9_mcp.domain.plan import Ask
from mq9_mcp.domain.state import SYSTEM
from mq9_mcp.engine.base import Engine, Parked

if TYPE_CHECKING:
    from mq9_mcp.broker.agents import Agents
    from mq9_mcp.routing.seam import Vectors

log = logging.getLogger("mq9.parking")
GATHER_S = 0.02  # agents come in flocks: one look at all of them is enough
AGAIN_S = 5.0  # mailboxes that were full are tried again, and a disk that was
COMPARED = 1_000  # messages compared with new agents in one go
BATCH = 64  # messages ranked and given in one command


class Home(Protocol):
    """What parking needs of the broker."""

    engine: Engine
    agents: Agents

    @property
    def draining(self) -> asyncio.Event:
        """Set when the broker takes no new work any more."""

    def ask(self) -> Ask:
        """Time, a fresh secret and chance for one command."""

    def busy(self) -> contextlib.AbstractContextManager[None]:
        """While it lasts, a broker that stops keeps its engine open."""


class Parking:
    """Gives parked messages to agents. Costs nothing while no agent comes and nothing is parked."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._seen = -1  # the mark of what was looked at
        self._through = -1  # agents that came with later records are new
        self._known: dict[int, Vectors | None] = {}  # messages that were compared with every agent
        self._held: set[int] = set()  # messages that fit an agent whose mailbox cannot take them
        self._embedded: set[str] = set()
        self._failed = False
        self._wake = asyncio.Event()
        self._looking = False
        self._rests = asyncio.Event()
        self._rests.set()
        self._task: asyncio.Task[None] | None = None
        home.agents.index.embedded = self._note

    def notice(self) -> None:
        """Look soon, if an agent came or a message was parked."""
        if self._home.engine.parking_mark != self._seen and not self._looking:
            self._look_soon()

    def _note(self, agent: str) -> None:
        if self._known or self._looking:
            self._embedded.add(agent)
            self._look_soon()

    def _look_soon(self) -> None:
        self._wake.set()
        self._rests.clear()
        if self._task is None and not self._home.draining.is_set():
            self._task = asyncio.get_running_loop().create_task(self._keep_looking(), name="mq9-parking")

    async def settled(self) -> None:
        """Return when all that is parked has been compared with everybody who came."""
        await self._rests.wait()

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _keep_looking(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), AGAIN_S if self._held or self._failed else None)
            await asyncio.sleep(GATHER_S)
            self._looking = True
            self._wake.clear()
            try:
                await self._look()
                self._failed = False
            except Unavailable as error:
                self._failed = True
                log.warning("parked messages wait on: %s", error.message, extra={"event": "parking_failed"})
            finally:
                self._looking = False
            self.notice()
            if not self._wake.is_set():
                self._rests.set()

    async def _look(self) -> None:
        """Compare what is new with what is parked."""
        engine, index = self._home.engine, self._home.agents.index
        self._seen = engine.parking_mark
        arrivals = await engine.parked(self._through)
        if not arrivals.waiting:
            self._through = arrivals.seq
            self._known, self._held = {}, set()
            return
        await self._home.agents.follow()
        await self._home.agents.one_model()  # vectors of two models say nothing of each other
        came, embedded = [*arrivals.came], self._embedded
        self._embedded = set()
        try:
            likely = [one for one in arrivals.waiting if one.id not in self._known or one.id in self._held]
            chosen = {one.id for one in likely}
            old = [one for one in arrivals.waiting if one.id not in chosen]
            changed = sorted({*came, *embedded})
            if old and changed:
                for start in range(0, len(old), COMPARED):
                    some = old[start : start + COMPARED]
                    fits = index.may_fit([(self._known[one.id], one.skill) for one in some], changed)
                    likely += [one for one, fit in zip(some, fits, strict=True) if fit]
                    await asyncio.sleep(0)  # others take their turn
            self._held &= {one.id for one in arrivals.waiting}
            for start in range(0, len(likely), BATCH):
                await self._give(likely[start : start + BATCH])
        except BaseException:
            self._embedded |= embedded
            raise
        waiting = {one.id for one in arrivals.waiting}
        self._known = {id: vector for id, vector in self._known.items() if id in waiting}
        self._through = arrivals.seq

    async def _give(self, messages: Sequence[Parked]) -> None:
        """Rank the messages as a send would, and let the domain decide."""
        home = self._home
        index, rankings = home.agents.index, {}
        vectors: dict[int, Vectors | None] = {}
        for one in messages:
            vectors[one.id] = self._known.get(one.id)
            with contextlib.suppress(Unavailable):  # the engine fails at this text: it waits for others
                if vectors[one.id] is None:
                    vectors[one.id] = await index.vector(one.text)
                rankings[one.text] = await home.agents.rank(one.text)
            await asyncio.sleep(0)  # others take their turn
        ids = [one.id for one in messages if one.text in rankings]
        with home.busy():
            ask = home.ask()
            ask.intents = rankings
            reply = await home.engine.execute(SYSTEM, Unpark(ids=ids), ask)
        self._known |= vectors
        self._held = self._held.difference(ids).union(reply["held"])
        for one in reply["delivered"]:
            self._known.pop(one["id"], None)
