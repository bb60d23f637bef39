"""A registered agent that is elsewhere: a worker that sends it what its mailbox gets.

The SDK is imported with the first such agent, in a thread: a server without one never pays for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mq9_a2a.words import PUSH_DELIVERY
from mq9_mcp.client import Job, Mq9Message
from mq9_mcp.client.consumer import Work
from mq9_mcp.client.worker import Worker
from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.domain.names import DEFAULT_GROUP
from mq9_mcp.hosted.inside import Inside
from mq9_mcp.peers.reach import Reach
from mq9_mcp.peers.transport import Own

if TYPE_CHECKING:
    from mq9_a2a.remote.peer import Peer

AT_ONCE = 64  # tasks of one agent that are followed at a time; the others wait in its mailbox
LEASE_S = 30.0  # and so long a broker that was killed lets the lease of its own past stand
WAIT_S = 20.0
log = logging.getLogger("mq9.remote")


class RemoteAgents:
    """The kind of agent whose card has the extension ``urn:mq9:a2a:push-delivery:v1``."""

    def __init__(self, reach: Reach, own: Own) -> None:
        self._reach = reach
        self._own = own

    def host(self, inside: Inside, name: str, card: Mapping[str, Any]) -> RemoteAgent | None:
        """The worker for an agent whose card asks for delivery."""
        extensions = card.get("capabilities", {}).get("extensions", ())
        if not any(one.get("uri") == PUSH_DELIVERY for one in extensions):
            return None
        return RemoteAgent(inside, name, card, self._reach, self._own)

    async def close(self) -> None:
        """Nothing is shared."""


class RemoteAgent:
    """One agent that is elsewhere."""

    def __init__(self, inside: Inside, name: str, card: Mapping[str, Any], reach: Reach, own: Own) -> None:
        self._inside = inside
        self._name = name
        self._card = card
        self._reach = reach
        self._own = own
        self._worker: Worker | None = None
        self._peer: asyncio.Task[Peer] | None = None
        self._up: bool | None = None

    @property
    def is_running(self) -> bool:
        """False once its worker has ended by itself."""
        return self._worker is not None and self._worker.is_running

    async def start(self) -> None:
        """Take what the mailbox gets."""
        self._peer = asyncio.create_task(self._meet(), name="mq9-remote")
        fetch = {"mailbox": self._name, "group": DEFAULT_GROUP, "lease_s": LEASE_S, "wait_s": WAIT_S}
        work = Work(self._work, fetch, AT_ONCE, AT_ONCE, True, False, self._failed, self._deliver)
        self._worker = Worker(self._inside, work)

    def goes_on(self, card: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """Never: the card says where the agent is."""
        return False

    async def stop(self) -> None:
        """Give back what is held: whoever goes on begins where this one was."""
        if self._worker is not None:
            await self._worker.stop(0)
        if self._peer is not None:
            self._peer.cancel()
            await asyncio.wait({self._peer})
            if not self._peer.cancelled() and self._peer.exception() is None:
                await self._peer.result().close()

    async def _meet(self) -> Peer:
        make = await asyncio.to_thread(_maker)
        return make(self._card, self._reach, self._own, self._is_up)

    async def _work(self, job: Job) -> None:
        from mq9_a2a.remote.errand import Errand

        assert self._peer is not None
        await Errand(self._inside, await asyncio.shield(self._peer), job).run()

    async def _deliver(self, message: Mq9Message) -> None:
        from mq9_a2a.remote.errand import deliver

        assert self._peer is not None
        await deliver(self._inside, await asyncio.shield(self._peer), message)

    async def _failed(self, message: Mq9Message, error: Exception) -> None:
        log.warning(
            "message %d for %s: %s",
            message["id"],
            self._name,
            error,
            extra={"event": "not_delivered", "agent": self._name},
        )

    async def _is_up(self, why: str) -> None:
        """Tell the registry whether the agent answers; ``why`` it does not, or nothing."""
        if self._up == (not why):
            return
        self._up = not why
        status: dict[str, Any] = {"status": "available"} if self._up else {"status": "offline", "note": why}
        try:
            await self._inside.call("agent_report", {"name": self._name, **status})
        except Mq9Error as error:
            log.warning("agent %s: %s", self._name, error)


def _maker() -> Callable[..., Peer]:
    from mq9_a2a.remote.peer import Peer

    return Peer
