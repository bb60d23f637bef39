"""What commands about agents need before they can be decided: a card from elsewhere, a ranking."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from mq9_mcp.domain.agent import check_source
from mq9_mcp.domain.commands import AgentDiscover, AgentRegister, Command
from mq9_mcp.domain.errors import Unavailable
from mq9_mcp.domain.plan import Ask
from mq9_mcp.engine.base import Engine
from mq9_mcp.routing.index import AgentIndex

FetchCard = Callable[[str], Awaitable[dict[str, Any]]]
PREPARED = frozenset({AgentDiscover, AgentRegister})


class Agents:
    """The index of the registered agents, and who fetches cards."""

    def __init__(self, engine: Engine, fetch_card: FetchCard | None, stop: asyncio.Event) -> None:
        self._engine = engine
        self._fetch_card = fetch_card
        self._stop = stop
        self._index = AgentIndex()

    async def prepare(self, command: Command, ask: Ask) -> None:
        """Bring into ``ask`` what ``command`` needs from outside of the state."""
        if isinstance(command, AgentDiscover) and command.text is not None:
            registry = await self._engine.registry(self._index.mark)
            if registry is not None:
                self._index.follow(registry.mark, registry.cards)
            ask.ranking = await self._index.rank(command.text)
        elif isinstance(command, AgentRegister):
            check_source(command)
            if command.card_url is not None:
                ask.card = await self._card(command.card_url)

    async def _card(self, url: str) -> dict[str, Any]:
        """The card at ``url``; a broker that stops does not wait for it."""
        if self._fetch_card is None:
            from mq9_mcp.peers.cards import CardFetcher  # slow to import, seldom needed

            self._fetch_card = CardFetcher()
        fetching = asyncio.ensure_future(self._fetch_card(url))
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait((fetching, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not fetching.done():
                raise Unavailable("SHUTTING_DOWN", "the broker is stopping", "connect again in a moment")
            return fetching.result()
        finally:
            fetching.cancel()
            stopped.cancel()
