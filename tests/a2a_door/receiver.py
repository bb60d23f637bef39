"""A receiver of pushes on 127.0.0.1 that answers what a test tells it to."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from tests.a2a_door.site import words_of
from tests.support import Reply


class Post(NamedTuple):
    """What came in."""

    head: str
    headers: dict[str, str]
    body: Reply

    @property
    def words(self) -> str:
        """The event in short."""
        return words_of({"event": self.body})


class Receiver:
    """``posts`` is what came in; ``answers`` are statuses for what comes next, 200 if there are none."""

    def __init__(self) -> None:
        self.posts: asyncio.Queue[Post] = asyncio.Queue()
        self.answers: deque[int] = deque()
        self.retry_after = ""  # a header of every answer
        self.hold = asyncio.Event()  # while it is not set, nobody is answered
        self.hold.set()
        self.open = 0  # posts that are not answered
        self.most = 0
        self.port = 0
        self.serving: set[asyncio.Task[None]] = set()

    def url(self, path: str = "/hook", host: str = "127.0.0.1") -> str:
        """Where to post to."""
        return f"http://{host}:{self.port}{path}"

    async def words(self, count: int) -> list[str]:
        """The next posts in short."""
        return [(await self.posts.get()).words for _ in range(count)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Requests of one connection, one after the other."""
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        try:
            await self._serve(reader, writer)
        finally:
            self.serving.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                named = [line.partition(": ") for line in lines if line]
                headers = {name.lower(): value for name, _, value in named}
                body = json.loads(await reader.readexactly(int(headers["content-length"])))
                self.open += 1
                self.most = max(self.most, self.open)
                status = self.answers.popleft() if self.answers else 200
                self.posts.put_nowait(Post(head, headers, body))
                await self.hold.wait()
                self.open -= 1
                away = f"location: {self.url('/elsewhere')}\r\n" if 300 <= status < 400 else ""
                away += f"retry-after: {self.retry_after}\r\n" if self.retry_after else ""
                writer.write(f"HTTP/1.1 {status} X\r\n{away}content-length: 2\r\n\r\nok".encode())


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver that ends with the test."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        receiver.hold.set()
        server.close()
        for task in [*receiver.serving]:
            task.cancel()
        await asyncio.gather(*receiver.serving, return_exceptions=True)
