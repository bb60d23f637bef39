"""A small web on 127.0.0.1 that answers what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Web:
    """Pages by path; ``asked`` is what was asked for, ``hold`` keeps an answer back."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.heads: list[str] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.waiting = asyncio.Event()
        self.port = 0

    def url(self, path: str = "/card.json", host: str = "127.0.0.1") -> str:
        """The URL of a page."""
        return f"http://{host}:{self.port}{path}"

    def page(self, path: str, body: bytes, status: str = "200 OK", *headers: str) -> None:
        """Answer with this from now on."""
        head = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "connection: close", *headers]
        self.pages[path] = "\r\n".join([*head, "", ""]).encode() + body

    def redirect(self, path: str, to: str, status: str = "302 Found") -> None:
        """Send those who ask elsewhere."""
        self.page(path, b"", status, f"location: {to}")

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split(" ")[1]
        self.asked.append(path)
        self.heads.append(head)
        self.waiting.set()
        await self.hold.wait()
        writer.write(self.pages.get(path, b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"))
        writer.close()


@asynccontextmanager
async def web() -> AsyncIterator[Web]:
    """A web that ends with the test."""
    site = Web()
    server = await asyncio.start_server(site.answer, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        site.hold.set()
        server.close()
