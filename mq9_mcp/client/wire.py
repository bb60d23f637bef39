"""One HTTP request and its answer. Whether a failed one may be made again is not decided here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from mq9_mcp.client.find import find_url

if TYPE_CHECKING:
    import httpx

CONNECT_S = 5.0
CONNECTIONS = 100  # at once; more calls wait for one of these
# Below the five seconds after which common servers close an idle connection: no call meets one that ends.
IDLE_S = 4.0
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


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
        self._http: httpx.AsyncClient | None = None
        self.url = find_url(url)
        self.met = False

    async def post(self, command: str, body: bytes, timeout_s: float) -> Answer:
        """Ask the broker; raises ``Lost``."""
        import httpx  # here, because importing it takes most of the time that importing the client takes

        http = self._http or self._open()
        try:
            async with asyncio.timeout(timeout_s):
                response = await http.post(f"{self.url}/v1/{command}", content=body)
        except TimeoutError:
            raise Lost(self.url, f"no answer within {timeout_s:.1f} s", sent=True) from None
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
            url, self.url = self.url, find_url(self._named)  # a daemon may be back at another port
            raise Lost(url, _why(error), sent=False) from error
        except httpx.HTTPError as error:
            raise Lost(self.url, _why(error), sent=True) from error
        self.met = True
        return Answer(response.status_code, response.content, _seconds(response.headers.get("retry-after")))

    def _open(self) -> httpx.AsyncClient:
        import httpx

        secure = self.url.startswith("https://")
        host = self.url.partition("://")[2]
        self._http = httpx.AsyncClient(
            headers=self._headers,
            timeout=httpx.Timeout(None, connect=CONNECT_S),  # the whole call has one time limit
            limits=httpx.Limits(
                max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=IDLE_S
            ),
            verify=secure,  # reading the certificates of the system takes longer than a call
            trust_env=not host.startswith(LOOPBACK),  # no proxy stands between us and our own machine
        )
        return self._http

    async def close(self) -> None:
        """End the connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__


def _seconds(value: str | None) -> float:
    """``Retry-After`` in seconds; one that is a date is not worth the reading."""
    try:
        return max(0.0, float(value or 0))
    except ValueError:
        return 0.0
