"""The broker's end of the line protocol of ``line``: a door for tests, on a unix socket."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any

from mq9_mcp.broker.broker import Broker
from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.domain.state import Caller
from mq9_mcp.engine.embedded.engine import EmbeddedEngine
from tests.crash.line import SOCKET

LINE_BYTES = 64 * 1024 * 1024


class Door:
    """Serves ``broker`` on the socket in the working folder; ``lose`` is the share of replies it loses.

    ``before_reply`` sees every answer right before it is written to the socket.
    """

    def __init__(
        self,
        broker: Broker,
        lose: float = 0.0,
        before_reply: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.broker = broker
        self.lost = 0
        self._lose = lose
        self._chance = random.Random()
        self._before_reply = before_reply
        self._server: asyncio.Server
        self._connections: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Take calls."""
        self._server = await asyncio.start_unix_server(self._accept, SOCKET, limit=LINE_BYTES)

    async def close(self) -> None:
        """Hang up on everybody."""
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        coming = asyncio.ensure_future(reader.readline())
        while line := await coming:
            coming = asyncio.ensure_future(reader.readline())
            answer = asyncio.ensure_future(self._answer(json.loads(line)))
            await asyncio.wait((answer, coming), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():  # the caller hung up: it never calls twice at a time
                answer.cancel()
                await asyncio.wait([answer])
                return
            if self._chance.random() < self._lose:
                self.lost += 1
                coming.cancel()
                return
            if self._before_reply is not None:
                self._before_reply(answer.result())
            writer.write(json.dumps(answer.result()).encode() + b"\n")

    async def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["call"] == "folder_pid":
            assert isinstance(self.broker.engine, EmbeddedEngine)
            return {"reply": {"pid": self.broker.engine.folder.pid}}
        if asked["call"] == "lost":
            return {"reply": {"lost": self.lost}}
        caller = Caller("local", asked["agent"])
        try:
            return {"reply": await self.broker.call(caller, asked["call"], asked["arguments"])}
        except Mq9Error as error:
            return {"error": {"code": error.code, "message": error.message}}
