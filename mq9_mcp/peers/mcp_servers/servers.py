"""The broker's way to MCP servers: the card of what one offers, a connection for who works for it."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from mq9_mcp.domain.agent_commands import McpServer
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.limits import limit
from mq9_mcp.peers.mcp_servers.allowed import Commands
from mq9_mcp.peers.reach import Reach
from mq9_mcp.peers.transport import Own

if TYPE_CHECKING:
    from mq9_mcp.peers.mcp_servers.session import Session, Streams

AT_ONCE = limit("mcp_starts_max")
KEPT_S = 5.0  # a connection waits so long for the worker of the agent that was registered over it
renewing: ContextVar[dict[str, Any] | None] = ContextVar("mq9_renewing", default=None)
_encode = msgspec.json.Encoder().encode


class Servers:
    """The servers that may be reached: allowed command lines, and addresses within ``reach``."""

    def __init__(self, commands: Commands, reach: Reach, own: Own = lambda: None) -> None:
        self._commands = commands
        self._reach = reach
        self._own = own
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._kept: dict[bytes, tuple[Session, asyncio.TimerHandle]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def describe(self, server: McpServer) -> tuple[dict[str, Any], bool]:
        """The card of an agent made of ``server``, and whether its own worker renews it."""
        from mq9_mcp.peers.mcp_servers.card import card_of

        known = renewing.get()
        if known is not None:
            return known, True
        session = await self._begin(server)
        key = _encode(server)
        self._let_go(key)
        timer = asyncio.get_running_loop().call_later(KEPT_S, self._let_go, key)
        self._kept[key] = session, timer
        return card_of(server, session), False

    async def open(self, server: McpServer) -> Session:
        """A connection that has told its tools. Raises ``Lost`` and ``Refused``."""
        self._check(server)
        kept = self._kept.pop(_encode(server), None)
        if kept is not None:
            session, timer = kept
            timer.cancel()
            if not session.ended.is_set():
                return session
            await session.close()
        async with self._turns:
            return await self._open(server)

    async def close(self) -> None:
        """End the connections that nobody took."""
        for key in list(self._kept):
            self._let_go(key)
        while self._closing:
            await asyncio.wait(self._closing)

    def _let_go(self, key: bytes) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            session, timer = kept
            timer.cancel()
            self._end(session)

    def _end(self, session: Session) -> None:
        closing = asyncio.get_running_loop().create_task(session.close(), name="mq9-mcp-close")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _begin(self, server: McpServer) -> Session:
        from mq9_mcp.peers.mcp_servers.session import Lost

        self._check(server)
        try:
            async with self._turns:
                return await self._open(server)
        except Lost as lost:
            raise Refused(
                "INVALID_ARGUMENT",
                f"mcp_server: {_named(server)!a}: {lost}",
                "what it wrote to standard error is in the broker's log" if server.command else "",
            ) from None

    async def _open(self, server: McpServer) -> Session:
        """Servers of before that end when they hear of today's protocol are asked once more, in their own."""
        make = await asyncio.to_thread(_maker)
        from mq9_mcp.peers.mcp_servers.session import Lost

        for mode in ("auto", "legacy"):
            session = make(lambda ended: self._streams(server, ended), mode)
            try:
                await session.ready()
                return session
            except BaseException as error:
                self._end(session)
                if not isinstance(error, Lost) or not session.refused or mode == "legacy":
                    raise
        raise AssertionError

    def _streams(self, server: McpServer, ended: Any) -> Streams:
        from mq9_mcp.peers.mcp_servers.child import child
        from mq9_mcp.peers.mcp_servers.web import web

        if server.url is not None:
            return web(server.url, self._reach, self._own)
        assert server.command is not None
        return child(server.command, server.args, _named(server), ended)

    def _check(self, server: McpServer) -> None:
        if server.command is not None:
            self._commands.check(server.command, server.args)
            return
        assert server.url is not None
        try:
            target = httpx.URL(server.url)
            fine = target.scheme in ("http", "https") and bool(target.host) and not target.userinfo
        except (httpx.InvalidURL, UnicodeError):
            fine = False
        if not fine or (target.port is not None and not 0 < target.port < 65536):
            raise Refused(
                "INVALID_ARGUMENT",
                "mcp_server.url: no URL that can be called; "
                "accepted: http or https, with a host, without user name and password",
            )


def _named(server: McpServer) -> str:
    """What a server is called in messages: nothing of arguments, path and query, which may hold secrets."""
    if server.url is not None:
        return httpx.URL(server.url).host[:255]
    return (server.command or "")[:200]


def _maker() -> type[Session]:
    from mq9_mcp.peers.mcp_servers.child import child  # noqa: F401
    from mq9_mcp.peers.mcp_servers.session import Session
    from mq9_mcp.peers.mcp_servers.web import web  # noqa: F401

    return Session
