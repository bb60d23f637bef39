"""The SDK's HTTP client over pinned connections: what holds for every call of the broker holds for these.

The SDK speaks httpx2, the rest of the house httpx; requests have the same attributes in both.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import httpx2
from mcp.client.streamable_http import streamable_http_client

from mq9_mcp import __version__
from mq9_mcp.peers.reach import Reach
from mq9_mcp.peers.transport import Own, PinnedTransport

CONNECT_S = 10.0
QUIET_S = 3_600.0  # so long may a call say nothing


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._stream:
                yield piece
        except httpx.TimeoutException as error:
            raise httpx2.ReadTimeout(str(error)) from error
        except httpx.HTTPError as error:
            raise httpx2.ReadError(str(error)) from error

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Pinned(httpx2.AsyncBaseTransport):
    def __init__(self, reach: Reach, own: Own) -> None:
        self._transport = PinnedTransport(reach, own)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            answer = await self._transport.handle_async_request(cast(httpx.Request, request))
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise httpx2.ConnectError(str(error)) from error
        except httpx.HTTPError as error:
            raise httpx2.ReadError(str(error)) from error
        body = _Stream(cast(httpx.AsyncByteStream, answer.stream))
        return httpx2.Response(
            answer.status_code, headers=answer.headers.raw, stream=body, extensions=answer.extensions
        )

    async def aclose(self) -> None:
        await self._transport.aclose()


@asynccontextmanager
async def web(url: str, reach: Reach, own: Own) -> AsyncGenerator[Any]:
    """The streams of a server at ``url``."""
    async with (
        httpx2.AsyncClient(
            transport=_Pinned(reach, own),
            timeout=httpx2.Timeout(CONNECT_S, read=QUIET_S),
            headers={"accept-encoding": "identity", "user-agent": f"mq9-mcp/{__version__}"},
            trust_env=False,
        ) as client,
        streamable_http_client(url, http_client=client) as streams,
    ):
        yield streams
