"""The session of the older protocol versions on the wire: opened anew when it was lost, and listened to.

What only listens never starts a daemon: who stopped it may have reasons.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress

from mq9_mcp.bridge.home import MCP_PATH, Home
from mq9_mcp.bridge.http import Http, Lost, head_of
from mq9_mcp.bridge.messages import Fields, Problem, fields, notification, text
from mq9_mcp.bridge.session import OPENED, Asked, Session
from mq9_mcp.bridge.wire import STREAM, Busy, Expired, ask, replies, tell
from mq9_mcp.client.retry import pause_s
from mq9_mcp.domain.errors import Mq9Error

Write = Callable[[bytes], Awaitable[None]]
Pass = Callable[[Fields, int], Awaitable[None]]
_OK, _NOT_FOUND = 200, 404
_END_S = 0.4  # how long the goodbye to a server may take


class Legacy:
    """One host's session; ``identity`` gives the headers that say who calls."""

    def __init__(
        self, http: Http, home: Home, identity: Callable[[], Mapping[str, str]], write: Write, pass_on: Pass
    ) -> None:
        self.session = Session()
        self.asked = Asked()
        self._http = http
        self._home = home
        self._identity = identity
        self._write = write
        self._pass_on = pass_on
        self._stream: asyncio.Task[None] | None = None

    async def ready(self, url: str) -> tuple[dict[str, str], int]:
        """The headers of a request in the session, which is opened anew if it must be, and its epoch."""
        session = self.session
        async with session.lock:
            if session.stale and session.params is not None:
                await self._reopen(url)
            return session.headers(), session.epoch

    async def _reopen(self, url: str) -> None:
        session = self.session
        message, exchange = await ask(self._http, url + MCP_PATH, session.initialize(), self._identity())
        if "result" not in message:
            said = text(fields(message["error"]).get("message"))
            raise Problem(
                "CONNECTION_FAILED",
                f"the broker at {url} was restarted and opens no session: {said}",
                "connect to this MCP server again",
            )
        session.opened(exchange.headers.get("mcp-session-id", ""), fields(message["result"]))
        session.stale = True  # until it is what the old one was
        headers = {**self._identity(), **session.headers()}
        if session.initialized:
            await tell(self._http, url + MCP_PATH, notification(OPENED, {}), headers)
        for request in session.retold():
            await ask(self._http, url + MCP_PATH, request, headers)
        session.stale = False
        for line in (*self.asked.gone(session.epoch), *session.missed()):
            await self._write(line)
        if session.initialized:
            self.listen()

    async def begin(self, notice: bytes) -> None:
        """The host has seen the answer to ``initialize``. Requests behind this notice wait for it."""
        self.session.initialized = True
        async with self.session.lock:
            with suppress(Lost, Busy, Expired, Problem, Mq9Error):  # a session that is lost is opened anew
                url = await self._home.url(start=False)
                await tell(self._http, url + MCP_PATH, notice, {**self._identity(), **self.session.headers()})
        self.listen()

    async def post(self, body: bytes, epoch: int) -> None:
        """Send what needs no answer; if its session is lost, so is the sense of it."""
        with suppress(Lost, Busy, Expired, Problem, Mq9Error):
            url = await self._home.url(start=False)
            headers, now = await self.ready(url)
            if now == epoch:
                await tell(self._http, url + MCP_PATH, body, {**self._identity(), **headers})

    def listen(self) -> None:
        """Pass on what the server says unasked, for as long as the session is the same."""
        if self._stream is not None:
            self._stream.cancel()
        self._stream = asyncio.create_task(self._listen(self.session.epoch), name="mq9-listen")

    async def _listen(self, epoch: int) -> None:
        tries = 0
        while epoch == self.session.epoch:
            try:
                url = await self._home.url(start=False)
                if not await self._heard(url, epoch):
                    return
                tries = 0
            except Lost as lost:
                self._home.lost(lost.url.removesuffix(MCP_PATH))
            except Expired:
                self.session.expire(epoch)
                if await self._renewed(url):
                    return
            except OSError:
                return  # nobody reads what is passed on
            tries += 1
            await asyncio.sleep(pause_s(tries))

    async def _renewed(self, url: str) -> bool:
        """Open the session anew; this task ends with that, as another one listens from then on."""
        renewing = asyncio.create_task(self.ready(url))
        try:
            await asyncio.shield(renewing)
        except (Lost, Busy, Expired, Problem, Mq9Error):
            return False
        return True

    async def _heard(self, url: str, epoch: int) -> bool:
        """Listen until the stream ends; False if the server has none."""
        headers = {"accept": STREAM, **self._identity(), **self.session.headers()}
        async with self._http.open(url + MCP_PATH) as exchange:
            await exchange.send(head_of("GET", exchange.url, headers, 0), b"")
            if exchange.status == _NOT_FOUND:
                raise Expired
            if exchange.status != _OK or exchange.kind != STREAM:
                return False
            async with aclosing(replies(exchange)) as messages:
                async for message in messages:
                    await self._pass_on(message, epoch)
        return True

    async def end(self) -> None:
        """Say goodbye: what the server still does in this session need not be done."""
        if self._stream is not None:
            self._stream.cancel()
        if not self.session.id or self.session.stale:
            return
        with suppress(Lost, TimeoutError):
            async with asyncio.timeout(_END_S):
                url = await self._home.url(start=False)
                async with self._http.open(url + MCP_PATH) as exchange:
                    headers = {**self._identity(), **self.session.headers()}
                    await exchange.send(head_of("DELETE", exchange.url, headers, 0), b"")
