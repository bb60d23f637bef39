"""Posts to receivers that callers named: never where the broker must not go, a bounded number at once.

No redirect is followed, and hardly anything of an answer is read: its status counts, and ``Retry-After``.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

import httpcore

from mq9_mcp import __version__
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.push_target import Place, read_url
from mq9_mcp.peers.pinned import LookUp, OutOfReach, PinnedNetwork, look_up
from mq9_mcp.peers.reach import Reach

POST_S = limit("push_post_s")
AT_ONCE = limit("push_posts_max")
TO_ONE_HOST = limit("push_host_posts_max")
LOOK_UP_S = 5  # whoever sets a target waits for it
_ANSWER_BYTES = 16 * 1024  # read, so that the connection can be used again
_REST_S = 1  # for that; a receiver that keeps its answer open holds no turn
_IDLE_S = 30
Headers = list[tuple[bytes, bytes]]


class Answered(NamedTuple):
    """What counts of an answer: its status, and how long the receiver asks to be left alone."""

    status: int
    retry_after_s: int | None


class NotPosted(Exception):
    """There was no answer; the text says why, and nothing of the URL or of what came back."""


class _Host:
    """The turns of one host, while anybody wants one."""

    def __init__(self) -> None:
        self.turns = asyncio.Semaphore(TO_ONE_HOST)
        self.wanted = 0


class Posts:
    """Posts from one process; ``await close()`` at the end."""

    def __init__(self, reach: Reach | None = None, look_up: LookUp = look_up) -> None:
        self._reach = reach or Reach()
        self._look_up = look_up
        self._network = PinnedNetwork(self._reach, look_up)
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._hosts: dict[str, _Host] = {}
        self._pool: httpcore.AsyncConnectionPool | None = None
        self._open = AsyncExitStack()

    async def check(self, place: Place) -> None:
        """Refuse what leads to an address out of reach; a name that is not known now may be later."""
        try:
            async with asyncio.timeout(LOOK_UP_S):
                addresses = await self._look_up(place.host, place.port)
        except (OSError, UnicodeError, TimeoutError):
            return
        if not all(map(self._reach.holds, addresses)):
            raise Refused(
                "INVALID_ARGUMENT",
                f"url: {place.host[:255]!a} leads to a private, loopback or link-local address",
                "the operator can allow its network with the setting push_networks",
            )

    async def post(self, url: str, headers: Headers, body: bytes) -> Answered:
        """What was answered; raises ``NotPosted``. Within a ``turn``."""
        seen: list[Answered] = []
        try:
            async with asyncio.timeout(POST_S) as time:
                await self._post(url, headers, body, seen, time)
        except TimeoutError:
            if not seen:
                raise NotPosted(f"no answer within push_post_s, {POST_S} s") from None
        except OutOfReach:
            raise NotPosted("a private, loopback or link-local address") from None
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.TimeoutException,
            ssl.SSLError,
            OSError,
        ) as error:
            if not seen:
                raise NotPosted(type(error).__name__) from None
        return seen[0]

    async def _post(
        self, url: str, headers: Headers, body: bytes, seen: list[Answered], time: asyncio.Timeout
    ) -> None:
        """What counts goes into ``seen`` as soon as it is known: it counts, whatever becomes of the rest."""
        if self._pool is None:
            self._pool = await self._open.enter_async_context(
                httpcore.AsyncConnectionPool(
                    ssl_context=ssl.create_default_context(),
                    network_backend=self._network,
                    max_connections=AT_ONCE,
                    keepalive_expiry=_IDLE_S,
                )
            )
        said = [(b"user-agent", f"mq9-mcp/{__version__}".encode()), (b"accept-encoding", b"identity")]
        target = url.partition("#")[0]
        read = 0
        async with self._pool.stream("POST", target, headers=[*said, *headers], content=body) as response:
            seen.append(Answered(response.status, _retry_after(response.headers)))
            time.reschedule(asyncio.get_running_loop().time() + _REST_S)
            async for piece in response.aiter_stream():
                read += len(piece)
                if read > _ANSWER_BYTES:
                    break

    @asynccontextmanager
    async def turn(self, url: str) -> AsyncGenerator[None]:
        """A turn to post there: so many may at once, and so many to one host."""
        name = read_url(url).host
        host = self._hosts.setdefault(name, _Host())
        host.wanted += 1
        try:
            async with host.turns, self._turns:
                yield
        finally:
            host.wanted -= 1
            if not host.wanted:
                del self._hosts[name]

    async def close(self) -> None:
        """End the connections."""
        await self._open.aclose()
        self._pool = None


def _retry_after(headers: Headers) -> int | None:
    """Seconds; the other form, a date, is as wrong as the receiver's clock, and not read."""
    for name, value in headers:
        if name.lower() == b"retry-after" and value.isdigit() and len(value) <= 9:
            return int(value)
    return None
