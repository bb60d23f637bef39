"""httpx over pinned connections: to addresses that were checked, and never to this server itself.

Answers are bounded; redirects are not followed and cookies are not kept, both being the caller's word alone.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import cast

import httpcore
import httpx

from mq9_mcp.peers.pinned import LookUp, OutOfReach, PinnedNetwork, look_up
from mq9_mcp.peers.reach import Reach

BYTES_MAX = 16 * 1024 * 1024  # of an answer, or of one event of a stream
Own = Callable[[], tuple[str, int] | None]
_EVENTS = b"text/event-stream"


class Ourselves(OutOfReach):
    """The name leads to this very server."""


class _Elsewhere(httpcore.AsyncNetworkBackend):
    """Connections to anybody but the server whose address ``own`` tells."""

    def __init__(self, network: httpcore.AsyncNetworkBackend, own: Own) -> None:
        self._network = network
        self._own = own

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection, unless it is one to ourselves."""
        stream = await self._network.connect_tcp(host, port, timeout, local_address, socket_options)
        own, there = self._own(), stream.get_extra_info("server_addr")
        if own is not None and there is not None and tuple(there[:2]) == own:
            await stream.aclose()
            raise Ourselves(host)
        return stream

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._network.sleep(seconds)


class PinnedTransport(httpx.AsyncBaseTransport):
    """What an ``httpx.AsyncClient`` sends with. Raises ``OutOfReach`` where a call must not go."""

    def __init__(self, reach: Reach, own: Own = lambda: None, look_up: LookUp = look_up) -> None:
        network = _Elsewhere(PinnedNetwork(reach, look_up), own)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(), network_backend=network, max_connections=None
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        given = httpcore.Request(
            request.method,
            httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=cast(httpx.AsyncByteStream, request.stream),
            extensions=request.extensions,
        )
        with _errors():
            answer = await self._pool.handle_async_request(given)
        headers = {name.lower(): value for name, value in answer.headers}
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            await answer.aclose()
            raise httpx.DecodingError("packed content; accepted: plain content")
        endless = headers.get(b"content-type", b"").startswith(_EVENTS)
        kept = [(name, value) for name, value in answer.headers if name.lower() != b"set-cookie"]
        body, more = _Bounded(answer, endless), answer.extensions
        return httpx.Response(answer.status, headers=kept, stream=body, extensions=more)

    async def aclose(self) -> None:
        """End all connections."""
        await self._pool.aclose()


class _Bounded(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response, endless: bool) -> None:
        self._answer = answer
        self._endless = endless

    async def __aiter__(self) -> AsyncIterator[bytes]:
        count = 0
        with _errors():
            async for piece in self._answer.aiter_stream():
                count = len(piece) if self._endless and b"\n" in piece else count + len(piece)
                if count > BYTES_MAX:
                    raise httpx.DecodingError(f"more than {BYTES_MAX} bytes")
                yield piece

    async def aclose(self) -> None:
        await self._answer.aclose()


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """httpcore's errors as httpx's: not connected is told apart from a line that broke."""
    try:
        yield
    except (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.UnsupportedProtocol) as error:
        raise httpx.ConnectError(str(error)) from error
    except ssl.SSLError as error:
        raise httpx.ConnectError(str(error)) from error
    except httpcore.TimeoutException as error:
        raise httpx.ReadTimeout(str(error)) from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise httpx.ReadError(str(error)) from error
