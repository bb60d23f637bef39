"""HTTP connections with bounds: how many, how much of a head, how long a silence.

A connection beyond ``connections_max`` gets one answer and is closed; far beyond it is not even read.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mq9_mcp.doors.guard import SURPLUS

SURPLUS_MAX = 256  # so many beyond the limit are told so; the others are cut off
SILENCE_S = 30  # a request that stops coming in, and a connection that asks nothing, are cut off


class Wire(HttpToolsProtocol):
    """One connection. ``bounded`` makes the class that a server uses."""

    connections_max: ClassVar[int]
    header_bytes_max: ClassVar[int]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head = 0  # bytes that came since the last complete head
        self._in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; one connection too many is told so with its first request."""
        super().connection_made(transport)
        surplus = len(self.connections) - self.connections_max
        if surplus > SURPLUS_MAX:
            transport.abort()
            return
        if surplus > 0:
            self.app_state = {**self.app_state, SURPLUS: True}
        self._listen_for(SILENCE_S)

    def data_received(self, data: bytes) -> None:
        """Read; what is left of a request must come soon, and a head must end."""
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head += len(data)
            if self._head - len(data) > self.header_bytes_max:  # all but the last piece is head for sure
                self.transport.abort()
                return
        if self.timeout_keep_alive_task is None and (
            self._in_head or self.cycle.more_body or self.cycle.response_complete
        ):
            self._listen_for(SILENCE_S)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head is complete."""
        self._head, self._in_head = 0, False
        super().on_headers_complete()

    def _listen_for(self, seconds: float) -> None:
        """Close the connection if nothing comes for so long."""
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)


def bounded(connections_max: int, header_bytes_max: int) -> type[Wire]:
    """``Wire`` with these bounds."""
    return type(
        "BoundedWire", (Wire,), {"connections_max": connections_max, "header_bytes_max": header_bytes_max}
    )
