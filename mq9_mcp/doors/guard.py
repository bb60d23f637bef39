"""What stands before every door: how much comes in at a time, and what a fault looks like from outside.

Overload is answered at once and says when to come again, so that what is let in is done soon;
``/health`` is answered whatever the load. A fault of ours is logged, and the caller gets its number.
"""

from __future__ import annotations

import logging
import secrets
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mq9_mcp.domain.errors import Mq9Error, Refused, Unavailable
from mq9_mcp.doors.answer import answer, refusal
from mq9_mcp.doors.head import Heads

HEALTH = "/health"
SURPLUS = "mq9.surplus"  # in the scope's state: this connection is one too many
ADMITTED = "mq9.admitted"  # in the scope's state: the connection counted this call before it began
BURST_S = 0.5  # so long it may be busy before it is steady load; and a pause so long ends that
CLOSE = {"connection": "close"}
log = logging.getLogger("mq9.doors")


class Bounds(NamedTuple):
    """How much the guard lets in; names and units as in the settings."""

    request_bytes_max: int
    bodies_bytes_max: int


class Load:
    """What is in work now, and what was refused since the start.

    A burst of ``calls_max`` is taken in; when ``calls_steady_max`` was reached again and again for a
    while, only so many, because each call waits for those that came with it. Calls that ``waiting()``
    counts wait for others: they take no room.
    """

    def __init__(
        self,
        calls_max: int,
        calls_steady_max: int,
        waiting: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.calls_max = calls_max
        self._few = min(calls_steady_max, calls_max)
        self.waiting = waiting
        self.listening: list[Callable[[], int]] = []  # what doors count of calls that only listen
        self._clock = clock
        self._busy_since = self._busy_at = -BURST_S
        self.calls = 0
        self.admitted = 0  # calls that a connection let in and that have not begun yet
        self.connections = 0
        self.body_bytes = 0
        self.refused: Counter[str] = Counter()
        self.faults = 0

    def full(self) -> bool:
        """There is no room for one more call."""
        calls = self.calls + self.admitted
        if calls < self._few:  # as most of the time: nobody needs to be counted out
            return False
        calls -= self.waiting() + sum(count() for count in self.listening)
        if calls < self._few:
            return False
        now = self._clock()
        if now - self._busy_at > BURST_S:
            self._busy_since = now
        self._busy_at = now
        return calls >= self.calls_max or now - self._busy_since > BURST_S


class Guard:
    """ASGI middleware before every door."""

    def __init__(self, app: ASGIApp, heads: Heads, bounds: Bounds, load: Load) -> None:
        self.app = app
        self.heads = heads
        self.bounds = bounds
        self.load = load

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.get("state", ())
        surplus, call = SURPLUS in state, scope["method"] == "POST"
        if ADMITTED in state:
            self.load.admitted -= 1
        try:
            length = self.heads.check(scope)
            if scope["path"] == HEALTH:
                length = 0
            else:
                self._room(length, call, surplus)
        except Mq9Error as error:
            self.load.refused[error.code] += 1
            await refusal(error, CLOSE if surplus else None)(scope, receive, send)
            return
        if not call:
            await self._safely(scope, receive, send)
        else:
            await self._count(scope, receive, send, length)

    def _room(self, length: int | None, call: bool, surplus: bool) -> None:
        """Raise if there is no room for one more request with a body of ``length`` bytes."""
        if surplus:
            raise _again("connections", "connections_max")
        if call and self.load.full():
            raise too_many_calls()
        if length:
            self._body(length, length)

    def _body(self, size: int, more: int) -> None:
        """Raise if a body of ``size`` bytes is too large, or if there is no room for ``more`` of them."""
        if size > self.bounds.request_bytes_max:
            raise Refused(
                "BATCH_TOO_LARGE",
                f"request: {size} bytes; accepted: request_bytes_max, {self.bounds.request_bytes_max}",
                "send it in several calls",
            )
        if self.load.body_bytes + more > self.bounds.bodies_bytes_max:
            raise _again("bytes of requests in work", "bodies_bytes_max")

    async def _count(self, scope: Scope, receive: Receive, send: Send, length: int | None) -> None:
        """Serve a call and count it as long as it is in work, and its body as long as it may be held."""
        load = self.load
        held = length or 0
        load.calls += 1
        load.body_bytes += held

        async def counted() -> Message:
            nonlocal held
            message = await receive()
            size = len(message.get("body", b""))
            self._body(held + size, size)
            held += size
            load.body_bytes += size
            return message

        try:
            await self._safely(scope, counted if length is None else receive, send)
        finally:
            load.calls -= 1
            load.body_bytes -= held

    async def _safely(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve; what nobody caught is a fault of ours, and never shown."""
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except Mq9Error as error:
            self.load.refused[error.code] += 1
            if begun:
                raise
            await refusal(error)(scope, receive, send)
        except Exception as error:
            number = self._fault(scope, error)
            if begun:  # only a broken connection says that the rest does not come
                raise
            body = {
                "code": "INTERNAL",
                "message": "a fault of the broker itself; its log has more",
                "hint": f"tell the operator: log_id {number}",
                "details": {"log_id": number},
            }
            await answer({"error": body}, 500)(scope, receive, send)

    def _fault(self, scope: Scope, error: Exception) -> str:
        """Log a fault without what the caller sent; returns its number."""
        number = secrets.token_hex(8)
        self.load.faults += 1
        frames = traceback.extract_tb(error.__traceback__)
        log.error(
            "a fault in %s %s: %s",
            scope["method"],
            _plain(scope["path"]),
            type(error).__name__,
            extra={
                "event": "fault",
                "log_id": number,
                "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
            },
        )
        return number


def _plain(path: str) -> str:
    """The part of a path that names no mailbox: an address may be known to few."""
    parts = path.split("/")
    return "/".join(parts[:3] if parts[1:2] == ["v1"] else parts[:2])[:100]


def too_many_calls() -> Unavailable:
    """The refusal of a call for which there is no room now."""
    return _again("calls in work", "calls_max or calls_steady_max")


def _again(what: str, name: str) -> Unavailable:
    return Unavailable(
        "RATE_LIMITED",
        f"{what}: as many as {name} lets in; nothing was done",
        "come again after Retry-After, or have the operator raise the setting",
    )
