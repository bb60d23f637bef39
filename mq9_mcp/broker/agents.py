"""What commands about agents need before they can be decided: a card from elsewhere, a ranking."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from mq9_mcp.broker.change import Change
from mq9_mcp.broker.learning import Learning
from mq9_mcp.domain.agent import check_source
from mq9_mcp.domain.agent_commands import McpServer
from mq9_mcp.domain.commands import (
    AgentDiscover,
    AgentRegister,
    Command,
    MailboxAck,
    MailboxSend,
    MessageArguments,
)
from mq9_mcp.domain.errors import Refused, Unavailable
from mq9_mcp.domain.plan import Ask
from mq9_mcp.domain.registry import Match
from mq9_mcp.engine.base import Engine
from mq9_mcp.routing.index import AgentIndex

if TYPE_CHECKING:
    from mq9_mcp.routing.encoder import Encoder

FOLLOW_S = 0.05
LEARN_S = 1.0  # ended tasks are looked at together
T = TypeVar("T")
Describe = Callable[[McpServer], Awaitable[tuple[dict[str, Any], bool]]]
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
        describe: Describe | None,
        stop: asyncio.Event,
        encoder: Encoder | None = None,
    ) -> None:
        self._engine = engine
        self._fetch_card = fetch_card
        self._describe = describe
        self._stop = stop
        self._encoder = encoder
        self._changing: asyncio.Task[None] | None = None
        self.change = Change()
        self._following: asyncio.Task[None] | None = None
        self._learning_soon: asyncio.Task[None] | None = None
        self.index = AgentIndex(encoder, engine)
        self.learning = Learning(engine, self.index)

    async def prepare(self, command: Command, ask: Ask) -> None:
        """Bring into ``ask`` what ``command`` needs from outside of the state."""
        if isinstance(command, AgentRegister):
            check_source(command)
            if command.card_url is not None:
                ask.card = await self._found(self._card(command.card_url))
            elif command.mcp_server is not None:
                ask.card, ask.renewed = await self._found(self._described(command.mcp_server))
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
        if registry is None:
            return
        first = self.index.mark is None
        new = self.index.follow(registry.mark, registry.cards)
        if self.change.index is not None:
            self.change.index.follow(registry.mark, registry.cards)
        if first and new and self._encoder is not None:
            change = self._go_through(self._encoder)
            self._changing = asyncio.get_running_loop().create_task(change, name="mq9-change")
        if new:
            await self.learning.look(new)

    def follow_soon(self) -> None:
        """Know the agents soon, so that those who ask for them need not wait for their embedding."""
        if self._encoder is not None and (self._following is None or self._following.done()):
            self._following = asyncio.get_running_loop().create_task(self._follow_later(), name="mq9-follow")

    async def _follow_later(self) -> None:
        """Registrations come in flocks: one look at all of them is enough."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), FOLLOW_S)
        if not self._stop.is_set():
            await self.follow()

    def learn_soon(self) -> None:
        """A task may have ended: look in a moment, at all that ended until then."""
        if self.index.mark is not None and (self._learning_soon is None or self._learning_soon.done()):
            looking = self._learn_later()
            self._learning_soon = asyncio.get_running_loop().create_task(looking, name="mq9-learning")

    async def _learn_later(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), LEARN_S)
        if not self._stop.is_set():
            with contextlib.suppress(Unavailable):  # the next look learns it
                await self.learning.look(())

    async def _go_through(self, encoder: Encoder) -> None:
        with contextlib.suppress(Unavailable):  # then keywords speak while the new model embeds
            await self.change.go_through(self._engine, encoder, self.index)

    async def close(self) -> None:
        """Stop what goes on in the background."""
        for task in (self._following, self._learning_soon, self._changing):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        await self.index.close()

    async def _rank(self, texts: Sequence[str]) -> dict[str, dict[str, Match]]:
        await self.follow()
        return {text: await self.rank(text) for text in dict.fromkeys(texts)}

    async def rank(self, text: str) -> dict[str, Match]:
        """The agents that come into question for ``text``, and how each did of late."""
        return self._standing(await (self.change.index or self.index).rank(text))

    async def one_model(self) -> None:
        """Return when no model of before answers in place of the one that is used now."""
        if self._changing is not None:
            await asyncio.wait({self._changing})

    def _standing(self, ranking: dict[str, Match]) -> dict[str, Match]:
        """The ranking with how each agent did of late."""
        known = self.learning.standing
        if not known:
            return ranking
        return {
            agent: one._replace(standing=known[agent]) if agent in known else one
            for agent, one in ranking.items()
        }

    async def _card(self, url: str) -> dict[str, Any]:
        if self._fetch_card is None:
            from mq9_mcp.peers.cards import CardFetcher  # slow to import, seldom needed

            self._fetch_card = CardFetcher()
        return await self._fetch_card(url)

    async def _described(self, server: McpServer) -> tuple[dict[str, Any], bool]:
        if self._describe is None:
            raise Refused(
                "INVALID_ARGUMENT", "mcp_server: this broker starts and calls none", "pass card or card_url"
            )
        return await self._describe(server)

    async def _found(self, finding: Coroutine[Any, Any, T]) -> T:
        """What is found elsewhere; a broker that stops does not wait for it."""
        fetching = asyncio.ensure_future(finding)
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
