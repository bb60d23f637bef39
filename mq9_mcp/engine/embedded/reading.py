"""What an engine tells without deciding anything, and the vectors that it keeps for others."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from typing import Any

from mq9_mcp.domain.names import DEFAULT_GROUP
from mq9_mcp.domain.outcome import Outcomes
from mq9_mcp.domain.push_target import Push
from mq9_mcp.domain.shown import Places
from mq9_mcp.engine.base import Arrivals, Committed, Figures, Registry
from mq9_mcp.engine.embedded.figures import figures
from mq9_mcp.engine.embedded.messages import copy_of
from mq9_mcp.engine.embedded.outcomes import read_outcomes
from mq9_mcp.engine.embedded.parked import arrivals
from mq9_mcp.engine.embedded.store import Store
from mq9_mcp.engine.embedded.task_words import task_steps
from mq9_mcp.engine.embedded.vectors import find_vectors, keep_vectors, prune_vectors


class ReadingStore(Store):
    """A store with everything that can be asked of it."""

    async def standing(self, message: int) -> tuple[str, int]:
        """How far a message has come in the group ``default``, and the id of its first reply or 0."""
        await self.durable()
        replies = await self.read_row("reply_to_message", [message, message])
        reply = int(replies[0] or 0)
        mail = self.state.mails.get(message)
        if mail is not None:
            group = self.state.mailboxes[mail.mailbox].groups.get(DEFAULT_GROUP)
            delivery = group.open.get(message) if group is not None else None
            if delivery is not None and delivery.first_at:
                return "leased", reply
        row = await self.read_row("standing", [message])
        if row is not None:
            return str(row[0]), reply
        known = await self.read_row("standing_message", [message])
        if known is None:
            return "canceled", reply
        return known[0] or "stored", reply

    async def copies(self, messages: Sequence[int]) -> list[dict[str, Any]]:
        """The messages as the wire shows them, without delivery fields; missing ones are left out."""
        await self.durable()
        ids = list(messages)
        rows = await self.read_rows("page_copies", [min(ids), max(ids), ids]) if ids else []
        return [copy_of(row) for row in rows]

    async def registry(self, mark: object) -> Registry | None:
        """The cards of all agents, unless they are those that were given with ``mark``."""
        state = self.state
        if mark is state.registry:
            return None
        agents = state.agents.items()
        cards, owners = ({name: getattr(agent, what) for name, agent in agents} for what in ("card", "owner"))
        return Registry(state.registry, cards, owners)

    @property
    def parking_mark(self) -> int:
        """Another one when an agent came or a message was parked; cheap."""
        return self.state.parking_mark

    async def parked(self, after: int) -> Arrivals:
        """What waits for an agent, and the agents that came after record ``after``."""
        return arrivals(self.state, after)

    def pushes(self, task: str | None = None) -> list[Push]:
        """The push targets to which something may be left to post, of one task or of all."""
        known = self.state.pushes
        places = known.values() if task is None else (known.get(task, {}),)
        return [push for place in places for push in place.values() if push.live]

    async def outcomes(self, after: int, agents: Collection[str]) -> Outcomes:
        """How tasks of agents ended of late."""
        return await read_outcomes(self, after, agents)

    async def find_vectors(
        self, model: str, version: str, hashes: Sequence[bytes]
    ) -> dict[bytes, Sequence[float]]:
        """The vectors of the texts with these hashes, as far as they are kept."""
        return await find_vectors(self, model, version, hashes)

    async def keep_vectors(self, model: str, version: str, vectors: Mapping[bytes, Sequence[float]]) -> None:
        """Keep vectors by the hash of their text."""
        await keep_vectors(self, model, version, vectors)

    async def prune_vectors(self, model: str, version: str, hashes: Sequence[bytes]) -> None:
        """Keep only the vectors of this model and these texts."""
        await prune_vectors(self, model, version, hashes)

    async def figures(self) -> Figures:
        """The engine in numbers; gives way to others while it counts."""
        return await figures(self)

    def journal_span(self) -> tuple[int, int]:
        """The first record that ``follow`` still tells, and the last one on disk."""
        return self.journal.segments[0].first_seq, self.journal.durable_seq

    async def places(self, mailboxes: Collection[int], groups: Collection[int]) -> Places:
        """What these numbers in events stand for, and the mailboxes of the groups, as far as known."""
        state = self.state
        named = {number: found for number in groups if (found := state.group_place(number))}
        wanted = {*mailboxes, *(group.mailbox for group in named.values())}
        known = {number: place for number in wanted if (place := state.place(number))}
        return Places(known, named)

    async def follow(self, after: int) -> AsyncGenerator[Committed]:
        """Every record after sequence ``after`` in order, then each new one when it is on disk."""
        async with contextlib.aclosing(self.records_after(after)) as records:
            async for record in records:
                yield record

    async def read_tables(self, read: Callable[[Any], Any]) -> Any:
        """What the tables say once they have everything that was acknowledged before."""
        await self.durable()
        return await self.folder.read(self.journal.durable_seq, read)

    async def task_events(self, task: str, after: int, through: int) -> list[dict[str, Any]]:
        """The entries of a task's history between two numbers, oldest first."""
        return await task_steps(self, task, after, through)
