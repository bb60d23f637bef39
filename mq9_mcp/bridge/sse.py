"""Server-sent events, as far as MCP uses them: each event's data is one JSON-RPC message."""

from __future__ import annotations

from collections.abc import AsyncIterator

from mq9_mcp.bridge.http import ANSWER_BYTES_MAX, Exchange, Lost


async def events(exchange: Exchange) -> AsyncIterator[bytes]:
    """The data of each event. Comments, which keep a connection alive, and empty events are left out."""
    rest = bytearray()
    data: list[bytes] = []
    size = 0
    async for piece in exchange.pieces():
        rest += piece
        if b"\n" not in piece:
            size = len(rest)
        else:
            *lines, last = bytes(rest).split(b"\n")
            rest = bytearray(last)
            for line in lines:
                line = line.removesuffix(b"\r")
                if line.startswith(b"data:"):
                    data.append(line[5:].removeprefix(b" "))
                elif not line and data:
                    if event := b"\n".join(data):
                        yield event
                    data = []
            size = len(rest) + sum(map(len, data))
        if size > ANSWER_BYTES_MAX:
            raise Lost(exchange.url, f"an event of more than {ANSWER_BYTES_MAX} bytes", sent=True)
