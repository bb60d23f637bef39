"""What commands about agents need before they can be decided: a card from elsewhere, a ranking."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from mq9_mcp.domain.agent import check_source
from mq9_mcp.domain.commands import (
    AgentDiscover,
    AgentRegister,
    Command,
    MailboxAck,
    MailboxSend,
    MessageArguments,
)
from mq9_mcp.domain.errors import Unavailable
from mq9_mcp.domain.plan import Ask
from mq9_mcp.domain.registry import Match
from mq9_mcp.engine.base import Engine
from mq9_mcp.routing.index import AgentIndex

if TYPE_CHECKING:
    from mq9_mcp.routing.encoder import Encoder

FOLLOW_S = 0.05
FetchCard = Callable[[str], Awaitable[dict[str, Any]]]


def prepared(command: Command) -> bool:
    """True if something is to be found out before the command is decided."""
    if isinstance(command, MailboxSend):
        return command.intent is not None or command.messages is not None
    if type(command) is MailboxAck:
        return command.send is not None
    return type(command) is AgentDiscover or type(command) is AgentRegister


class Agents:
    """The index of the registered agents, and who fetches cards."""

    def __init__(
        self,
        engine: Engine,
        fetch_card: FetchCard | None,
        stop: asyncio.Event,
        encoder: Encoder | None = None,
    ) -> None:
        self._engine = engine
        self._fetch_card = fetch_card
        self._stop = stop
        self._encodes = encoder is not None
        self._following: asyncio.Task[None] | None = None
        self.index = AgentIndex(encoder, engine)

    async def prepare(self, command: Command, ask: Ask) -> None:
        """Bring into ``ask`` what ``command`` needs from outside of the state."""
        if isinstance(command, AgentRegister):
            check_source(command)
            if command.card_url is not None:
                ask.card = await self._card(command.card_url)
        elif isinstance(command, AgentDiscover):
            if command.text is not None:
                ask.ranking = (await self._rank([command.text]))[command.text]
        else:
            texts = [one.intent.text for one in _messages(command) if one.intent is not None]
            if texts:
                ask.intents = await self._rank(texts)

    async def follow(self) -> None:
        """Know the agents as they are registered now; what is new is embedded in the background."""
        registry = await self._engine.registry(self.index.mark)
        if registry is not None:
            self.index.follow(registry.mark, registry.cards)

    def follow_soon(self) -> None:
        """Know the agents soon, so that those who ask for them need not wait for their embedding."""
        if self._encodes and (self._following is None or self._following.done()):
            self._following = asyncio.get_running_loop().create_task(self._follow_later(), name="mq9-follow")

    async def _follow_later(self) -> None:
        """Registrations come in flocks: one look at all of them is enough."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), FOLLOW_S)
        if not self._stop.is_set():
            await self.follow()

    async def close(self) -> None:
        """Stop what goes on in the background."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
        await self.index.close()

    async def _rank(self, texts: Sequence[str]) -> dict[str, dict[str, Match]]:
        await self.follow()
        return {text: await self.index.rank(text) for text in dict.fromkeys(texts)}

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


def _messages(command: Command) -> Sequence[MessageArguments]:
    """The messages that a command sends."""
    if isinstance(command, MailboxSend):
        return [command] if command.messages is None else command.messages
    assert isinstance(command, MailboxAck)
    send = command.send
    return send if isinstance(send, list) else [] if send is None else [send]
