"""An agent made of an MCP server: a worker that calls its tools for what its mailbox gets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from mq9_mcp.client import Job, Mq9Message
from mq9_mcp.client.consumer import Work
from mq9_mcp.client.worker import Worker
from mq9_mcp.domain.agent_commands import McpServer
from mq9_mcp.domain.card import server_of
from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.domain.names import DEFAULT_GROUP
from mq9_mcp.hosted.inside import Inside
from mq9_mcp.peers.mcp_servers.servers import Servers, renewing

if TYPE_CHECKING:
    from mq9_mcp.hosted.tools.link import Link
    from mq9_mcp.peers.mcp_servers.session import Session

AT_ONCE = 16  # calls of one server; the others wait in its mailbox
LEASE_S = 30.0  # and so long a broker that was killed lets the lease of its own past stand
WAIT_S = 20.0
GRACE_S = 3.0  # calls in work get so long to come to their end
log = logging.getLogger("mq9.hosted")


class ToolServers:
    """The kind of agent whose card the broker wrote of an MCP server."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def host(self, inside: Inside, name: str, card: Mapping[str, Any]) -> ToolAgent | None:
        """The worker for an agent made of an MCP server."""
        server = server_of(dict(card))
        if server is None:
            return None
        return ToolAgent(inside, name, card, msgspec.convert(server, McpServer), self._servers)

    async def close(self) -> None:
        """End the connections that nobody took."""
        await self._servers.close()


class ToolAgent:
    """One agent."""

    def __init__(
        self, inside: Inside, name: str, card: Mapping[str, Any], server: McpServer, servers: Servers
    ) -> None:
        self._inside = inside
        self._name = name
        self._card = card
        self._server = server
        self._servers = servers
        self._worker: Worker | None = None
        self._linking: asyncio.Task[Link] | None = None
        self._up: bool | None = None

    @property
    def is_running(self) -> bool:
        """False once its worker has ended by itself."""
        return self._worker is not None and self._worker.is_running

    def goes_on(self, card: Mapping[str, Any]) -> bool:
        """With the card that it wrote itself when the tools changed."""
        return card == self._card

    async def start(self) -> None:
        """Take what the mailbox gets."""
        self._linking = asyncio.create_task(self._link(), name="mq9-mcp-begin")
        fetch = {"mailbox": self._name, "group": DEFAULT_GROUP, "lease_s": LEASE_S, "wait_s": WAIT_S}
        work = Work(self._work, fetch, AT_ONCE, AT_ONCE, True, False, self._failed, self._deliver)
        self._worker = Worker(self._inside, work)

    async def stop(self) -> None:
        """Give back what is held, and end the server."""
        if self._worker is not None:
            await self._worker.stop(GRACE_S)
        if self._linking is not None:
            self._linking.cancel()
            await asyncio.wait({self._linking})
            if not self._linking.cancelled() and self._linking.exception() is None:
                await self._linking.result().stop()

    async def _link(self) -> Link:
        make = await asyncio.to_thread(_maker)
        return make(self._servers, self._server, self._is_up, self._listed)

    async def _work(self, job: Job) -> None:
        from mq9_mcp.hosted.tools.errand import Errand

        assert self._linking is not None
        await Errand(self._inside, await asyncio.shield(self._linking), job).run()

    async def _deliver(self, message: Mq9Message) -> None:
        from mq9_mcp.hosted.tools.mail import deliver

        assert self._linking is not None
        await deliver(self._inside, await asyncio.shield(self._linking), self._name, message)

    async def _failed(self, message: Mq9Message, error: Exception) -> None:
        log.info(
            "message %d for %s: %s",
            message["id"],
            self._name,
            type(error).__name__,
            extra={"event": "not_called", "agent": self._name},
        )

    async def _is_up(self, why: str) -> None:
        """Tell the registry whether the server answers; ``why`` it does not, or nothing."""
        if self._up == (not why):
            return
        self._up = not why
        status: dict[str, Any] = {"status": "available"} if self._up else {"status": "offline", "note": why}
        try:
            await self._inside.call("agent_report", {"name": self._name, **status})
        except Mq9Error as error:
            log.warning("agent %s: %s", self._name, error)

    async def _listed(self, session: Session) -> None:
        """Have the card say what the tools are now."""
        from mq9_mcp.peers.mcp_servers.card import card_of

        card = card_of(self._server, session)
        if card == self._card:
            return
        known, self._card = self._card, card
        token = renewing.set(card)
        try:
            given = {"name": self._name, "mcp_server": msgspec.to_builtins(self._server)}
            await self._inside.call("agent_register", given)
        except Mq9Error as error:  # it is over, or another; or its tools make no card: then the old one stays
            self._card = known
            log.warning("agent %s keeps its card: %s", self._name, error, extra={"event": "card_kept"})
        finally:
            renewing.reset(token)


def _maker() -> type[Link]:
    from mq9_mcp.hosted.tools import errand, mail  # noqa: F401
    from mq9_mcp.hosted.tools.link import Link

    return Link
