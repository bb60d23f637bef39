"""One HTTP request and its answer. Whether a failed one may be made again is not decided here."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from mq9_mcp.client.find import find_url

if TYPE_CHECKING:
    import aiohttp

CONNECT_S = 5.0
CONNECT_SHARE = 0.9  # of a call's time: one that has no connection by then was certainly not sent
CONNECTIONS = 100  # at once; more calls wait for one of these
IDLE_S = 30.0  # less than the server's minute: no call meets a connection that is just being closed
SILENCE_S = 15.0  # of a stream; a server that is there sends a heartbeat long before
WHOLE_BYTES = 2**20  # larger bodies are written in pieces
ANSWER_BYTES_MAX = 256 * 2**20  # no broker answers more: a hundred of the largest messages, escaped


class Answer(NamedTuple):
    """What came back; ``retry_after`` in seconds, 0 if the server named none."""

    status: int
    body: bytes
    retry_after: float


class Lost(Exception):
    """No answer. ``sent`` is False only if the request certainly did not reach a broker."""

    def __init__(self, url: str, why: str, *, sent: bool) -> None:
        super().__init__(why)
        self.url = url
        self.why = why
        self.sent = sent


class Wire:
    """The connections to one broker. ``met`` turns True with its first answer."""

    def __init__(self, url: str | None, headers: Mapping[str, str]) -> None:
        self._named = url
        self._headers = {"content-type": "application/json", **headers}
        self._http: aiohttp.ClientSession | None = None
        self._streams: aiohttp.ClientSession | None = None
        self.url = find_url(url)
        self.met = False

    async def post(self, command: str, body: bytes, timeout_s: float) -> Answer:
        """Ask the broker; raises ``Lost``."""
        # Not at the top: importing it takes most of the time that importing the client would take.
        import aiohttp

        http = self._http or self._open()
        data = body if len(body) < WHOLE_BYTES else io.BytesIO(body)
        timeout = aiohttp.ClientTimeout(timeout_s, connect=CONNECT_SHARE * timeout_s, sock_connect=CONNECT_S)
        try:
            # A redirect is not followed: what is sent is for this broker, and nobody else.
            async with http.post(
                f"{self.url}/v1/{command}", data=data, timeout=timeout, allow_redirects=False
            ) as response:
                body = await self._read(response)
                answer = Answer(response.status, body, _seconds(response.headers.get("Retry-After")))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            url, self.url = self.url, find_url(self._named)  # a daemon may be back at another port
            raise Lost(url, _why(error), sent=False) from error
        except TimeoutError:
            raise Lost(self.url, f"none within {round(timeout_s, 2):g} s", sent=True) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Lost(self.url, _why(error), sent=True) from error
        self.met = True
        return answer

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        """The body, as far as any broker's goes; more is no answer and ends the connection."""
        read = bytearray()
        async for piece in response.content.iter_any():
            read += piece
            if len(read) > ANSWER_BYTES_MAX:
                response.close()
                raise Lost(self.url, f"it answers with more than {ANSWER_BYTES_MAX} bytes", sent=True)
        return bytes(read)

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[tuple[int, AsyncGenerator[bytes]]]:
        """The status and the lines of an answer that goes on until its end; raises ``Lost``."""
        import aiohttp

        if self._streams is None:
            self._streams = self._session(0)  # a stream takes no connection from calls
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
        try:
            async with self._streams.get(f"{self.url}/v1/{path}", timeout=timeout) as response:
                self.met = True
                async with aclosing(_lines(response)) as lines:
                    yield response.status, lines
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            url, self.url = self.url, find_url(self._named)
            raise Lost(url, _why(error), sent=False) from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Lost(self.url, _why(error), sent=True) from error

    def _open(self) -> aiohttp.ClientSession:
        self._http = self._session(CONNECTIONS)
        return self._http

    def _session(self, connections: int) -> aiohttp.ClientSession:
        import aiohttp

        return aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=IDLE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # no broker packs its answers, and a small one could become a huge one
            skip_auto_headers=("Accept-Encoding",),
        )

    async def close(self) -> None:
        """End the connections."""
        sessions, self._http, self._streams = (self._http, self._streams), None, None
        for http in sessions:
            if http is not None:
                await http.close()


async def _lines(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
    """Lines of any length, without their ends."""
    begun = bytearray()
    async for piece in response.content.iter_any():
        begun += piece
        if b"\n" in piece:
            *whole, rest = bytes(begun).split(b"\n")
            begun = bytearray(rest)
            for line in whole:
                yield line.rstrip(b"\r")
    if begun:
        yield bytes(begun)


def _why(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    return str(error) or type(error).__name__


def _seconds(value: str | None) -> float:
    """``Retry-After`` in seconds; one that is a date is not worth the reading."""
    try:
        return max(0.0, float(value or 0))
    except ValueError:
        return 0.0
