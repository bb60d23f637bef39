"""``listen``: an executor at work behind a mailbox, for as long as somebody waits for it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any, Self

from a2a.server.agent_execution import AgentExecutor
from a2a.types import AgentCard
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]

from mq9_a2a.listening.work import Work
from mq9_mcp.client import Consumer, Job, Mq9Client
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.names import check_address

CONCURRENCY = 8
MODES = ["text/plain", "application/json"]
STOP_S = 10.0


class Listener:
    """An executor at work, made by ``listen``. ``await`` it, or use it with ``async with``.

    ``client``: its connection to the broker. ``worker``: who takes the tasks, once it has begun.
    """

    def __init__(
        self,
        executor: AgentExecutor,
        client: Mq9Client,
        agent: str,
        card: Mapping[str, Any] | None,
        options: Mapping[str, Any],
        stop_s: float,
    ) -> None:
        self.client = client
        self.worker: Consumer | None = None
        self._executor = executor
        self._agent = agent
        self._card = card
        self._options = options
        self._stop_s = stop_s

    async def start(self) -> None:
        """Register the card if there is one, and take tasks from now on."""
        if self._card is not None:
            await self.client.call("agent_register", {"name": self._agent, "card": self._card})

        async def handle(job: Job) -> None:
            await Work(self.client, self._executor, self._agent, job).run()

        self.worker = self.client.work(self._agent, handle, **self._options)

    async def wait(self) -> None:
        """Return when it has stopped; raise the error if one has ended it."""
        if self.worker is not None:
            await self.worker.wait()

    async def stop(self, timeout_s: float | None = None) -> None:
        """Take no more; what is at work has ``timeout_s`` (else ``stop_s``), then it is given back."""
        if self.worker is not None:
            await self.worker.stop(self._stop_s if timeout_s is None else timeout_s)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.client.close()
            raise
        return self

    async def __aexit__(self, kind: object, *exception: object) -> None:
        try:
            await self.stop()
        finally:
            await self.client.close()
        if kind is None and self.worker is not None and self.worker.error is not None:
            raise self.worker.error

    def __await__(self) -> Generator[Any, Any, None]:
        return self._listen().__await__()

    async def _listen(self) -> None:
        async with self:
            await self.wait()


def listen(
    executor: AgentExecutor,
    *,
    agent: str,
    card: AgentCard | Mapping[str, Any] | None = None,
    url: str | None = None,
    token: str | None = None,
    acting_as: str | None = None,
    concurrency: int = CONCURRENCY,
    lease_s: float = limit("lease_s_default"),
    stop_s: float = STOP_S,
) -> Listener:
    """Let ``executor`` work on the tasks of the mailbox ``agent``.

    ``await listen(...)`` works until it is cancelled; ``async with listen(...)`` for the time of its
    block. Each message of an asker is one call of ``executor.execute``, and what it enqueues are updates
    of the task, stored in order under a lease that is kept while it works. ``card`` is registered first.
    ``url``, ``token`` and ``acting_as`` are the client's: the broker, the credential, and who calls,
    ``agent`` if left out. At most ``concurrency`` tasks are worked on at a time. When it ends, what is at
    work has ``stop_s`` seconds; then it is given back, and another listener takes it.
    """
    check_address(agent, "agent")
    client = Mq9Client(url, agent=acting_as or agent, token=token)
    given = _whole(card, f"{client.url}/a2a/{agent}") if isinstance(card, AgentCard) else card
    options = {"concurrency": concurrency, "lease_s": lease_s}
    return Listener(executor, client, agent, given, options, stop_s)


def _whole(card: AgentCard, url: str) -> dict[str, Any]:
    """The card with what A2A requires and protobuf leaves out; the door's address if it has none."""
    given: dict[str, Any] = MessageToDict(card)
    for skill in given.setdefault("skills", []):
        skill.setdefault("tags", [])
    interface = {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    given.setdefault("supportedInterfaces", [interface])
    given.setdefault("capabilities", {})
    given.setdefault("defaultInputModes", MODES)
    given.setdefault("defaultOutputModes", MODES)
    return given


def run(executor: AgentExecutor, *, agent: str, **options: Any) -> None:
    """``listen`` for a program that does nothing else: until SIGTERM or Ctrl-C, which stop it in order."""

    async def main() -> None:
        async with listen(executor, agent=agent, **options) as listener:
            assert listener.worker is not None
            loop, stop = asyncio.get_running_loop(), asyncio.Event()
            for one in (signal.SIGTERM, signal.SIGINT):
                with suppress(NotImplementedError):
                    loop.add_signal_handler(one, stop.set)
            listener.worker.when_ended(lambda _: stop.set())
            await stop.wait()

    asyncio.run(main())
