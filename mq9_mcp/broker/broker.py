"""The broker: every call of every door comes through here and leaves durable or refused."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from random import random
from time import perf_counter
from typing import TYPE_CHECKING, Any

from mq9_mcp.broker.agents import Agents, Describe, FetchCard, prepared
from mq9_mcp.broker.arguments import read_arguments
from mq9_mcp.broker.bell import Bell, Ring
from mq9_mcp.broker.clock import Clock
from mq9_mcp.broker.learning import teaches
from mq9_mcp.broker.parking import Parking
from mq9_mcp.broker.receipts import send_and_wait
from mq9_mcp.broker.secret import secrets
from mq9_mcp.broker.stream import Stream
from mq9_mcp.broker.tally import FAULT, HUNG_UP, OK, Tally
from mq9_mcp.broker.tasks import follow_task, wait_for_task
from mq9_mcp.domain.commands import AgentRegister, Command, MailboxAck, MailboxFetch, MailboxSend
from mq9_mcp.domain.errors import Mq9Error, Unavailable
from mq9_mcp.domain.plan import Ask
from mq9_mcp.domain.push_commands import PushRequest, PushSet
from mq9_mcp.domain.push_target import Place, read_url
from mq9_mcp.domain.state import Caller
from mq9_mcp.domain.task_commands import TaskGet
from mq9_mcp.domain.task_request import TaskRequest
from mq9_mcp.engine.base import Engine

if TYPE_CHECKING:
    from mq9_mcp.routing.encoder import Encoder

UPKEEP_MS = 500  # retention looks at what has grown at least so often
WAITING_MAX = 4_096
CheckUrl = Callable[[Place], Awaitable[None]]
PUSHES = frozenset({PushSet, PushRequest, TaskRequest})

# The commands that most calls are, and whether one of them only needs to be decided.
_PLAIN: dict[type[Command], Callable[[Any], bool]] = {
    MailboxSend: lambda send: send.wait_for is None and send.intent is None and send.messages is None,
    MailboxFetch: lambda fetch: not fetch.wait_s,
    MailboxAck: lambda ack: ack.send is None and ack.tasks is None,
}


class Broker:
    """Executes commands on an engine; make one with ``await start_broker(engine)``."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        waiting_max: int = WAITING_MAX,
        fetch_card: FetchCard | None = None,
        encoder: Encoder | None = None,
        check_url: CheckUrl | None = None,
        describe: Describe | None = None,
    ) -> None:
        self.engine = engine
        self.clock = clock
        self.waiting_max = waiting_max
        self.waiting = 0  # calls that wait for mail or for a rung
        self.tally = Tally()
        self.bell = Bell(engine.watched, engine.followed)
        engine.listener = self.bell
        self.stopping = False
        self._secrets = secrets()
        self._calls = 0
        self._told: set[tuple[str, str]] = set()  # (worker, task): a wait ended to tell of a cancel request
        self._idle = asyncio.Event()  # set once the last call of a stopping broker has ended
        self._draining = asyncio.Event()
        self.agents = Agents(engine, fetch_card, describe, self._draining, encoder)
        self.parking = Parking(self)
        self.bell.storing = self._look_ahead
        self._check_url = check_url
        self._stop = False
        self._looks_at = 0  # when the upkeep looks next
        self._early = asyncio.Event()  # it must look before that
        self._upkeep = asyncio.get_running_loop().create_task(self._keep_up(), name="mq9-upkeep")

    @property
    def draining(self) -> asyncio.Event:
        """Set when the broker takes no new work any more."""
        return self._draining

    def ask(self) -> Ask:
        """Time, a fresh secret and chance for one command."""
        return Ask(self.clock.now(), next(self._secrets), random())

    def call(
        self, caller: Caller, name: str, arguments: dict[str, Any]
    ) -> Coroutine[Any, Any, dict[str, Any]]:
        """Execute the command ``name`` with arguments as the wire has them; await it. Raises ``Mq9Error``."""
        try:
            command = read_arguments(name, arguments)
        except Mq9Error as error:
            return self._refuse(name, error)
        return self.execute(caller, command)

    async def _refuse(self, name: str, error: Mq9Error) -> dict[str, Any]:
        self.tally.refused(name, error)
        raise error

    async def execute(self, caller: Caller, command: Command) -> dict[str, Any]:
        """Execute a command; the reply rests on nothing that is not on disk. Raises ``Mq9Error``."""
        begin = perf_counter()
        outcome, waiting = FAULT, False
        self._calls += 1
        try:
            if self.stopping:
                raise stopping()
            plain = _PLAIN.get(type(command))
            if plain is not None and plain(command):
                ask = Ask(self.clock.now(), next(self._secrets), random())
                reply = await self.engine.execute(caller, command, ask)
            elif waiting := waits(command):
                reply = await self._wait(caller, command)
            else:
                reply = await self._prepare_and_execute(caller, command)
            outcome = OK
            return reply
        except Mq9Error as error:
            outcome = error.code
            raise
        except asyncio.CancelledError:
            outcome = HUNG_UP
            raise
        finally:
            self.tally.add(type(command), outcome, None if waiting else perf_counter() - begin)
            self._calls -= 1
            if self.stopping:
                self._stop_on()

    async def _prepare_and_execute(self, caller: Caller, command: Command) -> dict[str, Any]:
        """Execute a command that may need something of others before, or teach them something."""
        ask = self.ask()
        if type(command) in PUSHES:
            await self._check_push(command)
        if prepared(command):
            await self.agents.prepare(command, ask)
        reply = await self.engine.execute(caller, command, ask)
        if type(command) is AgentRegister:
            self.agents.follow_soon()
        elif teaches(command):
            self.agents.learn_soon()
        return reply

    async def _check_push(self, command: Command) -> None:
        """Refuse a URL that the broker may not post to; where its name is not known now, time will tell."""
        push = command.push if isinstance(command, TaskRequest) else command
        if not isinstance(push, PushSet):
            return
        place = read_url(push.url)
        if self._check_url is None:
            from mq9_mcp.peers.posts import Posts  # slow to import, seldom needed

            self._check_url = Posts().check
        await self._check_url(place)

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """While it lasts, a broker that stops keeps its engine open."""
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            if self.stopping:
                self._stop_on()

    def _stop_on(self) -> None:
        """A call of a stopping broker ended; the stop goes on after the last one."""
        if not self._calls:
            self._idle.set()

    def _look_ahead(self) -> None:
        """Changes are on disk: parked messages may find their agents, the upkeep may have to look earlier."""
        self.parking.notice()
        if self.engine.next_due() < self._looks_at:
            self._early.set()

    async def _wait(self, caller: Caller, command: Command) -> dict[str, Any]:
        """Execute a command that waits for somebody else, if not too many do."""
        if self.waiting >= self.waiting_max:
            raise Unavailable(
                "RATE_LIMITED",
                f"calls that wait: as many as waiting_max, {self.waiting_max}; nothing was done",
                "come again in a moment, or call without waiting",
            )
        self.waiting += 1
        try:
            if isinstance(command, MailboxFetch):
                return await self._long_poll(caller, command)
            if isinstance(command, TaskGet):
                return await wait_for_task(self, caller, command)
            assert isinstance(command, MailboxSend)
            ask = self.ask()
            if prepared(command):
                await self.agents.prepare(command, ask)
            return await send_and_wait(self.engine, self.bell, caller, command, ask, self._draining)
        finally:
            self.waiting -= 1

    def stream(self, caller: Caller, after: int | None) -> Stream:
        """What happens from now on, or happened after record ``after``, as the caller may see it."""
        if self.stopping:
            raise stopping()
        return Stream(self.engine, caller, after)

    def give_back(self, reply: dict[str, Any]) -> None:
        """Release the leases of a fetch reply that could not be handed over; no attempt is counted."""
        if reply["messages"]:
            self.engine.give_back(reply, self.ask())

    async def _long_poll(self, caller: Caller, command: MailboxFetch) -> dict[str, Any]:
        """A fetch that waits: it stands in line before it looks, so nothing slips between."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + command.wait_s
        named = command.mailbox if command.mailbox is not None else caller.agent or ""
        addresses = (named,) if isinstance(named, str) else tuple(named)
        rung: Ring | None = None
        try:
            while True:
                waiter = self.bell.wait(addresses, command.group, caller.name)
                try:
                    reply = await self.engine.execute(caller, command, self.ask())
                    left = deadline - loop.time()
                    if reply["messages"]:
                        rung = None
                    if reply["messages"] or self._is_news(caller, reply):
                        return reply
                    if left <= 0 or self.stopping:
                        return reply
                    self.bell.pass_on(rung)
                    rung = None
                    await asyncio.wait([waiter.future], timeout=left)
                    rung = waiter.answer()
                finally:
                    self.bell.leave(waiter)
        finally:
            self.bell.pass_on(rung)

    def _is_news(self, caller: Caller, reply: dict[str, Any]) -> bool:
        """True if a fetch that found no mail has something to tell that its caller was not told yet."""
        if not (reply["cancel_requested"] or self._told):
            return "follow_ups" in reply
        asked = {(caller.name, task) for task in reply["cancel_requested"]}
        fresh = asked - self._told
        self._told = {one for one in self._told if one[0] != caller.name} | asked
        return bool(fresh) or "follow_ups" in reply

    def follow_task(self, caller: Caller, task: str, after: int | None) -> AsyncGenerator[dict[str, Any]]:
        """A task's snapshot, then each later entry of its history; with ``after``, the entries behind it."""
        return follow_task(self, caller, task, after)

    async def _keep_up(self) -> None:
        """Let time pass for mailboxes that nobody calls, and run retention."""
        while not self._stop:
            self._early.clear()
            now = self.clock.now()
            wait = min(UPKEEP_MS, max(1, self.engine.next_due() - now))
            self._looks_at = now + wait
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait / 1000):
                    await self._early.wait()
            await self.engine.tick(self.ask())

    async def close(self) -> None:
        """Take no new work, answer who waits, store everything, let the data directory go."""
        if self.stopping:
            return
        self.stopping = True
        self._draining.set()
        self.bell.ring_all()
        if self._calls:
            await self._idle.wait()
        self._stop = True
        self._early.set()
        await self._upkeep
        await self.parking.close()
        await self.agents.close()
        await self.engine.close()

    async def __aenter__(self) -> Broker:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()


def stopping() -> Unavailable:
    """What a caller hears from a broker that stops."""
    return Unavailable("SHUTTING_DOWN", "the broker is stopping", "connect again in a moment")


def waits(command: Command) -> bool:
    """True if the call may wait for what somebody else does."""
    if isinstance(command, MailboxFetch):
        return bool(command.wait_s)
    if isinstance(command, TaskGet):
        return bool(command.wait_s)
    return isinstance(command, MailboxSend) and command.wait_for is not None


async def start_broker(
    engine: Engine,
    clock: Clock | None = None,
    waiting_max: int = WAITING_MAX,
    fetch_card: FetchCard | None = None,
    encoder: Encoder | None = None,
    check_url: CheckUrl | None = None,
    describe: Describe | None = None,
) -> Broker:
    """A broker on an open engine, ready for callers; if it cannot be, the engine is closed.

    ``fetch_card`` is asked for what ``card_url`` names, ``check_url`` whether events may be posted to a
    place; left out, public addresses alone may. ``describe`` makes a card of what ``mcp_server`` names; left
    out, nothing is started. Without ``encoder`` agents are found by keywords alone.
    """
    clock = clock or Clock(engine.time)
    broker = Broker(engine, clock, waiting_max, fetch_card, encoder, check_url, describe)
    try:
        await engine.begin(broker.ask())
        broker.parking.notice()
    except BaseException:
        await broker.close()
        raise
    return broker
