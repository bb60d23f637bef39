"""Which registered agents the server works for: whoever's card asks for it, for as long as it does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from mq9_mcp.broker.broker import Broker
from mq9_mcp.domain.state import Caller
from mq9_mcp.hosted.inside import Inside

LOOK_S = 0.25  # the registry is asked so often whether it changed, which costs nothing while it did not
AGAIN_S = 1.0  # before a worker that ended by itself is begun anew
log = logging.getLogger("mq9.hosted")
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Hosted(Protocol):
    """A worker for one agent."""

    @property
    def is_running(self) -> bool:
        """False once it has ended by itself, for example with its mailbox."""

    async def start(self) -> None:
        """Begin to work."""

    def goes_on(self, card: Mapping[str, Any]) -> bool:
        """True if it goes on as it is with a new card; else it is begun anew."""

    async def stop(self) -> None:
        """Give back what is held, at once."""


class Kind(Protocol):
    """A kind of agent that the server works for."""

    def host(self, inside: Inside, name: str, card: Mapping[str, Any]) -> Hosted | None:
        """The worker for an agent whose card asks for this kind, else None."""

    async def close(self) -> None:
        """End what its workers shared."""


class Hosting:
    """Looks at the registry, and has one worker at work for each card that asks for one."""

    def __init__(self, broker: Broker, kinds: Sequence[Kind]) -> None:
        self._broker = broker
        self._kinds = kinds
        self._mark: object = None
        self._cards: dict[str, str] = {}
        self._running: dict[str, Hosted] = {}
        self._looking = asyncio.create_task(self._look(), name="mq9-hosting")

    @property
    def working(self) -> bool:
        """True if a worker is there that may hold something."""
        return bool(self._running)

    def begin_no_more(self) -> None:
        """Begin no worker from now on; ``stop`` follows."""
        self._looking.cancel()

    async def stop(self) -> None:
        """End every worker, and give back what they hold."""
        self.begin_no_more()
        await asyncio.wait({self._looking})
        await asyncio.gather(*(self._end(name) for name in list(self._running)))
        for kind in self._kinds:
            await kind.close()

    async def _look(self) -> None:
        while True:
            found = await self._broker.engine.registry(self._mark)
            if found is not None:
                self._mark = found.mark
                await self._agree(found.cards, found.owners)
            await asyncio.sleep(LOOK_S)
            await self._look_after()

    async def _look_after(self) -> None:
        """A worker that ended is begun anew with the next look, if its agent is there still, or again."""
        for name in [name for name, hosted in self._running.items() if not hosted.is_running]:
            await self._end(name)
            del self._cards[name]
            self._mark = None
            await asyncio.sleep(AGAIN_S)

    async def _agree(self, cards: Mapping[str, str], owners: Mapping[str, str]) -> None:
        for name in [name for name, card in self._cards.items() if cards.get(name) != card]:
            del self._cards[name]
            hosted, card = self._running.get(name), cards.get(name)
            if hosted is not None and card is not None and hosted.goes_on(_decode(card)):
                self._cards[name] = card
            else:
                await self._end(name)
        for name, card in cards.items():
            if name not in self._cards:
                self._cards[name] = card
                await self._begin(name, _decode(card), owners[name])

    async def _begin(self, name: str, card: Mapping[str, Any], owner: str) -> None:
        inside = Inside(self._broker, Caller(owner, name))
        for kind in self._kinds:
            try:
                hosted = kind.host(inside, name, card)
                if hosted is not None:
                    await hosted.start()
                    self._running[name] = hosted
                    return
            except Exception:  # one agent's card must not end the work for all others
                log.exception("cannot work for agent %s", name, extra={"event": "not_hosted", "agent": name})

    async def _end(self, name: str) -> None:
        hosted = self._running.get(name)
        if hosted is None:
            return
        try:
            await hosted.stop()  # known until it is done: who cuts this short stops it again
        except Exception:
            log.exception("agent %s", name, extra={"event": "not_stopped", "agent": name})
        del self._running[name]
