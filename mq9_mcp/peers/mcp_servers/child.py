"""A server that is a program on this machine: its streams, its last words, its end.

The SDK starts it with the user's PATH, HOME and the like and nothing else of the broker's environment,
in a process group of its own, and ends the whole group. A broker that is killed closes its standard input.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import anyio
from mcp.client.stdio import StdioServerParameters, stdio_client

LINE_CHARACTERS = 500  # of a line that is logged
WORDS_S = 1.0  # they may come after the end
LINES = 20  # the last ones, which are logged if the program ends badly
log = logging.getLogger("mq9.mcp_servers")


class Words(asyncio.Protocol):
    """What the program writes to standard error: each line to the debug log, the last ones kept."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._line = b""
        self.last: deque[str] = deque(maxlen=LINES)
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        """More of it."""
        *lines, rest = (self._line + data).split(b"\n")
        self._line = rest[:LINE_CHARACTERS]
        for line in lines:
            self._say(line)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """It is all said."""
        if self._line:
            self._say(self._line)
        self.ended.set()

    def _say(self, line: bytes) -> None:
        text = line[:LINE_CHARACTERS].decode(errors="replace").rstrip()
        self.last.append(text)
        log.debug("%s: %s", self._name, text, extra={"event": "mcp_server_says"})


class _Watched:
    """The stream from the program; it is told when it ends."""

    def __init__(self, stream: Any, ended: Callable[[], None]) -> None:
        self._stream = stream
        self._ended = ended

    async def receive(self) -> Any:
        try:
            return await self._stream.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            self._ended()
            raise

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()


@asynccontextmanager
async def child(command: str, args: list[str], name: str, ended: Callable[[], None]) -> AsyncGenerator[Any]:
    """The streams of a program that is started here; ``ended`` is called when it speaks no more."""
    reading, writing = os.pipe()
    words = Words(name)
    closing = died = False

    def gone() -> None:
        nonlocal died
        died = died or not closing
        ended()

    loop = asyncio.get_running_loop()
    with os.fdopen(writing, "w") as errors:
        pipe, _ = await loop.connect_read_pipe(lambda: words, os.fdopen(reading, "rb"))
        try:
            process = stdio_client(StdioServerParameters(command=command, args=args), errors)
            async with process as (read, write):
                errors.close()
                try:
                    yield _Watched(read, gone), write
                finally:
                    closing = True
        finally:
            if died:
                with anyio.move_on_after(WORDS_S):
                    await words.ended.wait()
                log.warning(
                    "%s ended by itself; its last words: %s",
                    name,
                    " | ".join(words.last) or "none",
                    extra={"event": "mcp_server_ended"},
                )
            pipe.close()
