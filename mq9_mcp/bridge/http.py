"""HTTP/1.1 as far as the bridge needs it: one request and its answer, whose body may never end.

The clients at hand cost as much memory as the whole bridge may; the parsing is done by httptools.
Whether a failed request may be made again is not decided here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import httptools

CONNECT_S = 5.0
IDLE_S = 15.0  # less than the server's patience: no request meets a connection that is just being closed
IDLE_MAX = 16  # connections that are kept for the next request
PIECE_BYTES = 64 * 1024
ANSWER_BYTES_MAX = 256 * 2**20  # no broker answers more: a hundred of the largest messages, escaped


class Lost(Exception):
    """No answer, or not all of it. ``sent`` is False only if the request certainly did not reach a broker."""

    def __init__(self, url: str, why: str, *, sent: bool) -> None:
        super().__init__(why)
        self.url = url
        self.why = why
        self.sent = sent


class Place(NamedTuple):
    """Where requests go, read from an address."""

    host: str
    port: int
    tls: bool
    path: str


def read_url(url: str) -> Place:
    """``http://127.0.0.1:9009/mcp`` in its pieces."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    return Place(parts.hostname or "", parts.port or (443 if tls else 80), tls, parts.path or "/")


class Exchange:
    """One request on one connection, and its answer as it comes. The parser calls the ``on_`` methods."""

    def __init__(self, url: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.url = url
        self.status = 0
        self.headers: dict[str, str] = {}
        self.sent = False
        self._reader = reader
        self._writer = writer
        self._parser = httptools.HttpResponseParser(self)
        self._head = False
        self._complete = False
        self._hung_up = False
        self._body: deque[bytes] = deque()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of the head."""
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is there."""
        self.status = self._parser.get_status_code()
        self._head = True

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        self._body.append(piece)

    def on_message_complete(self) -> None:
        """The answer is there."""
        self._complete = True

    async def send(self, head: bytes, body: bytes) -> None:
        """Write the request, and wait for the head of the answer."""
        self.sent = True
        self._writer.write(head)
        self._writer.write(body)
        try:
            await self._writer.drain()
        except OSError as error:
            raise Lost(self.url, str(error), sent=True) from None
        while not self._head:
            await self._more()

    async def _more(self) -> None:
        try:
            data = await self._reader.read(PIECE_BYTES)
        except OSError as error:
            raise Lost(self.url, str(error), sent=True) from None
        if not data:
            raise Lost(self.url, "the connection ended", sent=True)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise Lost(self.url, f"that is no HTTP: {error}", sent=True) from None

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes; raises ``Lost`` if it ends before its end."""
        while True:
            while self._body:
                yield self._body.popleft()
            if self._complete:
                return
            await self._more()

    async def read(self) -> bytes:
        """The whole body."""
        read = bytearray()
        async for piece in self.pieces():
            read += piece
            if len(read) > ANSWER_BYTES_MAX:
                raise Lost(self.url, f"it answers with more than {ANSWER_BYTES_MAX} bytes", sent=True)
        return bytes(read)

    @property
    def kind(self) -> str:
        """The content type, without what is said beside it."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def hang_up(self) -> None:
        """Say that nobody waits any more. What was written by then still comes, and then the end."""
        self._hung_up = True
        if not self._writer.is_closing() and self._writer.can_write_eof():
            with contextlib.suppress(OSError):
                self._writer.write_eof()
        else:
            self._writer.close()

    @property
    def reusable(self) -> bool:
        """The next request may go over the same connection."""
        alive = not (self._hung_up or self._writer.is_closing() or self._reader.at_eof())
        return self._complete and alive and self._parser.should_keep_alive()


class Http:
    """Requests to one broker after the other; connections are kept for a while."""

    def __init__(self) -> None:
        self._idle: deque[tuple[Place, float, asyncio.StreamReader, asyncio.StreamWriter]] = deque()

    @contextlib.asynccontextmanager
    async def open(self, url: str) -> AsyncIterator[Exchange]:
        """A connection for one request; raises ``Lost`` if there is none."""
        place = read_url(url)
        reader, writer = self._kept(place) or await _connect(url, place)
        exchange = Exchange(url, reader, writer)
        try:
            yield exchange
        finally:
            if exchange.reusable and len(self._idle) < IDLE_MAX:
                self._idle.append((place, asyncio.get_running_loop().time(), reader, writer))
            else:
                writer.close()

    def _kept(self, place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            origin, since, reader, writer = self._idle.pop()
            fresh = now - since < IDLE_S and not (writer.is_closing() or reader.at_eof())
            if fresh and origin[:3] == place[:3]:
                return reader, writer
            writer.close()
        return None

    def close(self) -> None:
        """End the connections that are kept."""
        while self._idle:
            self._idle.pop()[3].close()


def head_of(method: str, url: str, headers: Mapping[str, str], length: int) -> bytes:
    """The head of a request. Values were made or checked by us: no line feed gets in."""
    place = read_url(url)
    host = f"[{place.host}]" if ":" in place.host else place.host
    lines = [f"{method} {place.path} HTTP/1.1", f"host: {host}:{place.port}"]
    if method == "POST":
        lines.append(f"content-length: {length}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _connect(url: str, place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(
                place.host, place.port, ssl=place.tls or None, limit=PIECE_BYTES
            )
    except TimeoutError:
        raise Lost(url, f"no connection within {CONNECT_S:g} s", sent=False) from None
    except OSError as error:
        raise Lost(url, error.strerror or str(error), sent=False) from None
    alone = writer.get_extra_info("socket")
    if alone is not None:
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return reader, writer
