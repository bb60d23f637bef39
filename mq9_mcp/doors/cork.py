"""The head of an answer and the first piece of its body go out in one write, not in two.

A web server writes them one after the other. Each write is a call of the system that takes as long as
reading a request does, and the first wakes a caller who can do nothing with it.
"""

from __future__ import annotations

import asyncio
from typing import Any

HEAD = b"HTTP/1.1 "
JOINED_MAX = 64 * 1024  # bytes of a piece that is copied behind its head


class Corked(asyncio.Transport):
    """A transport that holds a head until the next write, though no longer than one turn of the loop."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._head = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send, or hold what looks like a head."""
        head, self._head = self._head, b""
        if head:
            if len(data) <= JOINED_MAX:
                data = head + data
            else:
                self._transport.write(head)
        elif data[: len(HEAD)] == HEAD:
            self._head = bytes(data)
            self._loop.call_soon(self.flush)
            return
        self._transport.write(data)

    def flush(self) -> None:
        """Send a head that is held: no body came with it."""
        head, self._head = self._head, b""
        if head:
            self._transport.write(head)

    def close(self) -> None:
        """Close when all is sent."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Close now; what is not sent is lost."""
        self._head = b""
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return self._transport.is_closing()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection over to another protocol."""
        self._transport.set_protocol(protocol)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What is known of the connection."""
        return self._transport.get_extra_info(name, default)
