"""Agent cards from the web: bounded in size, time and redirects, never from where the broker must not go.

A refusal names the host and what was wrong, never what came from there.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import httpcore
import httpx
import msgspec

from mq9_mcp import __version__
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.limits import limit
from mq9_mcp.peers.pinned import LookUp, OutOfReach, PinnedNetwork, look_up
from mq9_mcp.peers.reach import Reach

FETCH_S = limit("card_fetch_s")
BYTES_MAX = limit("card_fetch_bytes_max")
REDIRECTS_MAX = limit("card_redirects_max")
AT_ONCE = limit("card_fetches_max")
_REDIRECTS = (301, 302, 303, 307, 308)
_HEADERS = [
    ("accept", "application/json"),
    ("accept-encoding", "identity"),  # what is packed could be a thousand times as long
    ("user-agent", f"mq9-mcp/{__version__}"),
]


class CardFetcher:
    """Fetches what ``card_url`` names."""

    def __init__(self, reach: Reach | None = None, look_up: LookUp = look_up) -> None:
        self._network = PinnedNetwork(reach or Reach(), look_up)
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, url: str) -> dict[str, Any]:
        """The card at ``url`` as plain values, or a refusal that says why there is none."""
        target = _read_url(url)
        try:
            async with asyncio.timeout(FETCH_S), self._turns:
                content = await self._follow(target)
        except TimeoutError:
            raise _refused(target, f"gave no card within card_fetch_s, {FETCH_S} s") from None
        except OutOfReach:
            raise _refused(
                target,
                "leads to a private, loopback or link-local address",
                "the operator can allow its network with the setting card_networks",
            ) from None
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.TimeoutException,
            ssl.SSLError,
        ) as error:
            raise _refused(target, f"could not be asked: {type(error).__name__}") from None
        return _read_content(target, content)

    async def _follow(self, target: httpx.URL) -> bytes:
        async with httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(), network_backend=self._network
        ) as pool:
            for _ in range(REDIRECTS_MAX + 1):
                found = await _get(pool, target)
                if isinstance(found, bytes):
                    return found
                target = found
        raise _refused(target, f"redirects again; card_redirects_max is {REDIRECTS_MAX}")


async def _get(pool: httpcore.AsyncConnectionPool, target: httpx.URL) -> bytes | httpx.URL:
    """The content there, or where it is said to be instead."""
    url = httpcore.URL(
        scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path
    )
    content = bytearray()
    async with pool.stream("GET", url, headers=_HEADERS) as response:
        headers = {name.lower(): value for name, value in response.headers}
        if response.status in _REDIRECTS and b"location" in headers:
            return _redirected(target, headers[b"location"])
        if response.status != 200:
            raise _refused(target, f"answered {response.status}; accepted: 200")
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise _refused(target, "answered with packed content; accepted: plain JSON")
        async for piece in response.aiter_stream():
            content += piece
            if len(content) > BYTES_MAX:
                raise _refused(target, f"answered with more than card_fetch_bytes_max, {BYTES_MAX} bytes")
    return bytes(content)


def _redirected(target: httpx.URL, location: bytes) -> httpx.URL:
    try:
        following = target.join(location.decode("ascii"))
        _ = following.host  # decoded only now, and may be no name at all
    except (httpx.InvalidURL, UnicodeError):
        raise _refused(target, "redirects to what is no URL") from None
    _check(following)
    if target.scheme == "https" and following.scheme != "https":
        raise _refused(target, "redirects from https to http")
    return following


def _read_url(url: str) -> httpx.URL:
    try:
        target = httpx.URL(url)
        _ = target.host  # decoded only now, and may be no name at all
    except (httpx.InvalidURL, UnicodeError):
        raise Refused("INVALID_ARGUMENT", "card_url: no URL; accepted: an http or https URL") from None
    _check(target)
    return target


def _check(target: httpx.URL) -> None:
    if target.scheme not in ("http", "https") or not target.host:
        raise Refused(
            "INVALID_ARGUMENT",
            f"card_url: scheme {target.scheme[:16]!a}, host {target.host[:64]!a}; "
            "accepted: an http or https URL",
        )
    if target.port is not None and not 0 < target.port < 65536:
        raise _refused(target, f"has port {str(target.port)[:16]} in its URL; accepted: 1 to 65535")
    if target.userinfo:
        raise _refused(target, "has a user name or password in its URL; accepted: none")


def _refused(target: httpx.URL, what: str, hint: str = "pass the card itself as card") -> Refused:
    """Nothing of path and query: they may hold what others must not read."""
    return Refused("INVALID_ARGUMENT", f"card_url: {target.host[:255]!a} {what}", hint)


def _read_content(target: httpx.URL, content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _refused(target, "answered with what is no JSON object") from None
