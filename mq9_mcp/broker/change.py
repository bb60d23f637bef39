"""A change of the model: the one before answers with its vectors until those of the new one are complete."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mq9_mcp.engine.base import Engine
from mq9_mcp.routing.index import AgentIndex

if TYPE_CHECKING:
    from mq9_mcp.routing.encoder import Encoder


class ReadOnly:
    """Kept vectors that are read and not changed: they go when the new ones are complete."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def find_vectors(
        self, model: str, version: str, hashes: Sequence[bytes]
    ) -> dict[bytes, Sequence[float]]:
        """Those of the texts with these hashes that are known."""
        return await self._engine.find_vectors(model, version, hashes)

    async def keep_vectors(self, model: str, version: str, vectors: Mapping[bytes, Sequence[float]]) -> None:
        """Nothing is kept."""

    async def prune_vectors(self, model: str, version: str, hashes: Sequence[bytes]) -> None:
        """Nothing is dropped."""


async def former_encoder(engine: Engine, encoder: Encoder) -> Encoder | None:
    """The engine of the model before, if its vectors are more than those of the model that is used now."""
    model = await encoder.ready()
    if model is None:
        return None
    kept = await engine.vector_models()
    mine = kept.pop((model.name, model.version), 0)
    most = max(sorted(kept), key=lambda one: kept[one], default=None)
    if most is None or kept[most] <= mine:
        return None
    former = encoder.former(most[0])
    if former is None or await former.ready() == most:
        return former
    former.close()  # another version of it is here now
    return None


class Change:
    """While it lasts, ``index`` answers in place of the one that embeds."""

    def __init__(self) -> None:
        self.index: AgentIndex | None = None

    async def go_through(self, engine: Engine, encoder: Encoder, new: AgentIndex) -> None:
        """Serve by the model before until ``new`` is complete."""
        former = await former_encoder(engine, encoder)
        if former is None:
            return
        self.index = AgentIndex(former, ReadOnly(engine))
        try:
            self.index.follow(new.mark, new.cards)
            for agent, requests in new.learnt.items():
                self.index.learn(agent, requests)
            await new.settled()
        finally:
            index, self.index = self.index, None
            with contextlib.suppress(Exception):
                await index.close()
