"""Connections to addresses that were looked up once, checked, and are the ones connected to.

A second look-up between check and connection could say something else; there is none.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable

import httpcore

from mq9_mcp.peers.reach import Reach

LookUp = Callable[[str, int], Awaitable[list[str]]]


class OutOfReach(Exception):
    """The name leads to an address that must not be called."""


async def look_up(host: str, port: int) -> list[str]:
    """The addresses of ``host`` in the order in which the system would try them."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class PinnedNetwork(httpcore.AsyncNetworkBackend):
    """The network as httpcore sees it."""

    def __init__(self, reach: Reach, look_up: LookUp = look_up) -> None:
        self._reach = reach
        self._look_up = look_up
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to ``host``; none at all if one of its addresses is out of reach."""
        try:
            addresses = await self._look_up(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} is not known") from error
        if not addresses or not all(map(self._reach.holds, addresses)):
            raise OutOfReach(host)
        for address in addresses[:-1]:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError:
                continue
        return await self._network.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._network.sleep(seconds)
