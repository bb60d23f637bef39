"""The index of agents: cards go in, a text comes out as a ranking, by meaning where an engine is there.

An agent is found by its keywords at once, by its meaning when its texts are embedded, in the background.
Until then, and where no engine loads, keywords alone rank and the reason says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from mq9_mcp.domain.errors import Unavailable
from mq9_mcp.domain.registry import Match
from mq9_mcp.routing.cards import Card, CardTexts, read_card, texts_of
from mq9_mcp.routing.encoder import text_hash
from mq9_mcp.routing.keywords import Keywords
from mq9_mcp.routing.learnt import placed_by_meaning, placed_by_words, with_learnt
from mq9_mcp.routing.shelf import Shelf, find, keep

if TYPE_CHECKING:  # numpy is slow to import: it comes with the engine, after the start
    from mq9_mcp.routing.encoder import Encoder
    from mq9_mcp.routing.ranking import Ranking
    from mq9_mcp.routing.seam import Model, Vectors
    from mq9_mcp.routing.skills import Cosines

log = logging.getLogger("mq9.routing")
FEW, FEW_WAIT_S = 8, 1.0  # agents that are waited for until they are embedded, and how long
APART, TRIES = 4_096, 3  # skills that are compared on the event loop, and how often it is tried off it
NEWS_SHARE = 16  # few requests are learnt one by one; of many it costs more than one tells
TOGETHER = 8  # agents whose vectors are looked for and kept in one go
ONLY_KEYWORDS = "by keywords alone"


class _Wanted(NamedTuple):
    """What is to be embedded of an agent."""

    card: Card
    learnt: tuple[str, ...]
    texts: list[str]


class AgentIndex:
    """What a broker asks: follows the registry, embeds in the background, ranks."""

    def __init__(self, encoder: Encoder | None = None, shelf: Shelf | None = None) -> None:
        self.mark: object = None  # of the registry that is known
        self.keywords = Keywords()
        self._encoder = encoder
        self._shelf = shelf
        self._ranking: Ranking | None = None
        self._cards: dict[str, str] = {}
        self._read: dict[str, Card] = {}
        self._learnt: dict[str, tuple[str, ...]] = {}
        self._to_embed: dict[str, bool] = {}  # whether the card is another one, or only what was learnt
        self._embedding: asyncio.Task[None] | None = None
        self._stale = False  # vectors were kept since the shelf was pruned
        self.embedded: Callable[[str], None] | None = None  # told each agent that can be found by meaning now

    @property
    def cards(self) -> Mapping[str, str]:
        """The cards that are known."""
        return self._cards

    @property
    def learnt(self) -> Mapping[str, Sequence[str]]:
        """The requests that agents served."""
        return self._learnt

    def follow(self, mark: object, cards: Mapping[str, str]) -> list[str]:
        """Bring the index up to date: only cards that are others than before are read. Returns who is new."""
        new = [agent for agent in cards if agent not in self._cards]
        for agent in self._cards.keys() - cards.keys():
            self._forget(agent)
        for agent, card in cards.items():
            if self._cards.get(agent) != card:
                self._cards[agent] = card
                self._take_in(agent, True)
        self.mark = mark
        self._embed_soon()
        return new

    def learn(self, agent: str, requests: Sequence[str]) -> None:
        """A registered agent has served these requests; what it served before counts no more.

        Until a share of ``1 / NEWS_SHARE`` is new it stays with what it has learnt.
        """
        if agent not in self._cards or not _enough_news(self._learnt.get(agent, ()), requests):
            return
        self._learnt[agent] = tuple(requests)
        self._take_in(agent, self._to_embed.get(agent, False))
        self._embed_soon()

    async def rank(self, text: str) -> dict[str, Match]:
        """Which agents fit ``text``, and how well; raises ``Unavailable`` if the engine fails at it."""
        if self._encoder is None or await self._encoder.ready() is None:
            why = self._encoder.trouble if self._encoder is not None else None
            return _said(self.keywords.rank(text), f"{ONLY_KEYWORDS}{f' ({why})' if why else ''}")
        [query] = await self._encoder.embed([text])
        if 0 < sum(self._to_embed.values()) <= FEW:
            with contextlib.suppress(TimeoutError):  # whoever came just now is there in a moment
                await asyncio.wait_for(self.settled(), FEW_WAIT_S)
        found: dict[str, Match] = {}
        if self._ranking is not None:
            compared = await self._compare(self._ranking, query)
            found = self._ranking.rank(text, query, self.keywords, compared)
        if self._to_embed:  # some are not embedded yet: their keywords speak for them
            waiting = {
                agent: one for agent, one in self.keywords.rank(text).items() if agent in self._to_embed
            }
            known = {agent: one for agent, one in waiting.items() if agent not in found}
            found.update(_said(known, f"{ONLY_KEYWORDS} so far"))
        return found

    async def _compare(self, ranking: Ranking, query: Vectors) -> Cosines | None:
        """Where it takes long, compare in a thread, while the event loop has others to serve."""
        if ranking.skills.size > APART:
            for _ in range(TRIES):
                compared = await asyncio.to_thread(ranking.skills.cosines, query)
                if compared.version == ranking.skills.version:  # no agent came or went meanwhile
                    return compared
        return None

    async def vector(self, text: str) -> Vectors | None:
        """What ``may_fit`` compares, made when nobody urgent wants the engine; None where keywords rank."""
        if self._encoder is None or await self._encoder.ready() is None:
            return None
        [vector] = await self._encoder.embed([text], patient=True)
        found: Vectors = vector
        return found

    def may_fit(
        self, texts: Sequence[tuple[Vectors | None, str | None]], agents: Sequence[str]
    ) -> list[bool]:
        """For vectors of texts, each with the skill that its intent names: whether ``rank`` may find that one
        of ``agents`` fits. Quick, and never False where it may."""
        if self._ranking is None:
            return [True] * len(texts)
        known = [agent for agent in agents if agent in self._ranking.skills]
        names = {name for agent in known for name in self._read[agent].skill_names()}
        near = iter(self._ranking.may_fit([vector for vector, _ in texts if vector is not None], known))
        fits = [vector is None or next(near) for vector, _ in texts]
        return [
            fit if skill is None else skill.casefold() in names
            for fit, (_, skill) in zip(fits, texts, strict=True)
        ]

    async def settled(self) -> None:
        """Return when every card that is known is embedded, or cannot be."""
        while self._embedding is not None and not self._embedding.done():
            await asyncio.wait({self._embedding})

    async def close(self) -> None:
        """Stop embedding."""
        if self._embedding is not None:
            self._embedding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._embedding
        if self._encoder is not None:
            await asyncio.to_thread(self._encoder.close)

    def _take_in(self, agent: str, new_card: bool) -> None:
        card = self._read[agent] = read_card(self._cards[agent])
        self.keywords.learn(agent, card, placed_by_words(card, self._learnt.get(agent, ())))
        self._to_embed[agent] = new_card

    def _forget(self, agent: str) -> None:
        del self._cards[agent], self._read[agent]
        self._learnt.pop(agent, None)
        self.keywords.forget(agent)
        self._to_embed.pop(agent, None)
        if self._ranking is not None:
            self._ranking.skills.drop(agent)

    def _embed_soon(self) -> None:
        if (
            self._to_embed
            and self._encoder is not None
            and (self._embedding is None or self._embedding.done())
        ):
            self._embedding = asyncio.get_running_loop().create_task(self._embed_all(), name="mq9-embedding")

    async def _embed_all(self) -> None:
        assert self._encoder is not None
        model = await self._encoder.ready()
        if model is None:
            return
        keeping: asyncio.Task[None] | None = None
        try:
            while self._to_embed:
                made = await self._embed_some(model, list(islice(self._to_embed, TOGETHER)))
                if keeping is not None:
                    await keeping
                keeping = asyncio.create_task(self._keep(model, made), name="mq9-keep-vectors")
        finally:
            if keeping is not None:
                await keeping
        if self._stale and self._shelf is not None:  # what other cards and models had is of no use
            self._stale = False
            known = {text for card in self._read.values() for text in texts_of(card).all()}
            known.update(text for learnt in self._learnt.values() for text in learnt)
            with contextlib.suppress(Unavailable):
                await self._shelf.prune_vectors(*model, [text_hash(text) for text in sorted(known)])

    async def _embed_some(self, model: Model, agents: Sequence[str]) -> dict[str, Vectors]:
        """Have these agents found by meaning; what could not be had from the shelf."""
        wanted = {agent: self._wanted(agent) for agent in agents}
        known = await find(self._shelf, model, [text for one in wanted.values() for text in one.texts])
        made: dict[str, Vectors] = {}
        done = [self._embed_one(agent, one, known, made) for agent, one in wanted.items()]
        await asyncio.gather(*done)
        return made

    def _wanted(self, agent: str) -> _Wanted:
        card, learnt = self._read[agent], self._learnt.get(agent, ())
        return _Wanted(card, learnt, list(dict.fromkeys([*texts_of(card).all(), *learnt])))

    async def _embed_one(
        self, agent: str, wanted: _Wanted, known: Mapping[str, Vectors], made: dict[str, Vectors]
    ) -> None:
        assert self._encoder is not None
        missing = [text for text in wanted.texts if text not in known]
        try:
            mine = dict(zip(missing, await self._encoder.embed(missing, patient=True), strict=True))
        except Unavailable as error:  # the keywords of this one speak until its card is another one
            log.warning("%s is found by keywords alone: %s", agent, error.message)
            mine = None
        if self._read.get(agent) is not wanted.card:
            return  # it is another card by now
        del self._to_embed[agent]
        if mine is None:
            return
        made.update(mine)
        texts = texts_of(wanted.card)
        vectors = {text: mine[text] if text in mine else known[text] for text in wanted.texts}
        placed = placed_by_meaning(texts, vectors, wanted.learnt)
        if wanted.learnt:
            self.keywords.learn(agent, wanted.card, placed)
        self._put(agent, with_learnt(texts, placed), vectors)
        if self.embedded is not None:
            self.embedded(agent)

    async def _keep(self, model: Model, made: Mapping[str, Vectors]) -> None:
        self._stale |= await keep(self._shelf, model, made)

    def _put(self, agent: str, texts: CardTexts, vectors: Mapping[str, Vectors]) -> None:
        from mq9_mcp.routing.ranking import Ranking
        from mq9_mcp.routing.skills import skill_rows

        head = vectors[texts.head]
        if self._ranking is None:
            self._ranking = Ranking(len(head))
        self._ranking.skills.put(agent, head, skill_rows(texts, vectors))


def _enough_news(known: Sequence[str], requests: Sequence[str]) -> bool:
    fresh = len({*requests}.difference(known))
    return len(requests) < len(known) or fresh * NEWS_SHARE > len(known)


def _said(ranking: dict[str, Match], how: str) -> dict[str, Match]:
    return {agent: one._replace(why=f"{one.reason}; {how}") for agent, one in ranking.items()}
