"""A server that is kept up: connected when its agent is there, and again, later each time, when it ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from time import monotonic

from mq9_mcp.domain.agent_commands import McpServer
from mq9_mcp.domain.errors import Refused
from mq9_mcp.hosted.tools.wanted import Tool
from mq9_mcp.peers.mcp_servers.card import title_of
from mq9_mcp.peers.mcp_servers.servers import Servers
from mq9_mcp.peers.mcp_servers.session import Lost, Session

PAUSE_S = (0.5, 60.0)  # before it is begun again: the first pause, and the longest
LASTED_S = 30.0  # a connection that lasted so long begins with the first pause again


class Link:
    """``is_up`` hears why the server is down, or nothing once it answers; ``listed`` that tools are known."""

    def __init__(
        self,
        servers: Servers,
        server: McpServer,
        is_up: Callable[[str], Awaitable[None]],
        listed: Callable[[Session], Awaitable[None]],
    ) -> None:
        self._servers = servers
        self._server = server
        self._is_up = is_up
        self._listed = listed
        self._session: Session | None = None
        self._up = asyncio.Event()
        self._keeping = asyncio.create_task(self._keep(), name="mq9-mcp-link")

    async def session(self) -> Session:
        """The connection, as soon as there is one."""
        while True:
            await self._up.wait()
            if self._session is not None and not self._session.ended.is_set():
                return self._session
            await asyncio.sleep(0)

    async def stop(self) -> None:
        """End it."""
        self._keeping.cancel()
        await asyncio.wait({self._keeping})
        if self._session is not None:
            await self._session.close()

    async def _keep(self) -> None:
        failures = 0
        while True:
            try:
                session = await self._servers.open(self._server)
            except (Lost, Refused) as error:
                why = error.message if isinstance(error, Refused) else str(error)
            else:
                begun = monotonic()
                await self._follow(session)
                why = session.why
                failures = 0 if monotonic() - begun > LASTED_S else failures
            failures += 1
            await self._is_up(why)
            first, most = PAUSE_S
            await asyncio.sleep(min(most, first * 2 ** min(failures - 1, 10)) * random.uniform(0.5, 1))

    async def _follow(self, session: Session) -> None:
        """From its begin to its end, with every change of its tools."""
        self._session = session
        self._up.set()
        ended = asyncio.ensure_future(session.ended.wait())
        try:
            await self._is_up("")
            await self._listed(session)
            while not session.ended.is_set():
                changed = asyncio.ensure_future(session.changed.wait())
                await asyncio.wait({changed, ended}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if session.changed.is_set():
                    try:
                        await session.list()
                    except Lost:
                        continue
                    await self._listed(session)
            self._up.clear()
            await session.close()
            self._session = None
        finally:
            ended.cancel()


def tools_of(session: Session) -> dict[str, Tool]:
    """Its tools as calls see them. Only what says so of itself may be called twice."""
    found = {}
    for name, one in session.tools.items():
        hints = one.annotations
        again = hints is not None and (hints.read_only_hint is True or hints.idempotent_hint is True)
        found[name] = Tool(name, title_of(one), one.description or "", one.input_schema, again)
    return found
