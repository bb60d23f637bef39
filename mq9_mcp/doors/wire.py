"""HTTP connections with bounds: how many, how much of a head, how long a silence.

A connection beyond ``connections_max`` gets one answer and is closed; far beyond it is not even read.
A call beyond ``calls_max`` is refused here, before anything is made for it: whoever comes in masses must
cost little, or those who were let in wait behind them. ``/health`` is answered here too, before the calls
that came with it.
"""

from __future__ import annotations

import asyncio
import random
from http import HTTPStatus
from typing import Any, ClassVar

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.doors.answer import RETRY_S, refusal
from mq9_mcp.doors.cork import Corked
from mq9_mcp.doors.guard import ADMITTED, HEALTH, SURPLUS, Load, too_many_calls
from mq9_mcp.doors.head import Heads

SURPLUS_MAX = 256  # so many beyond the limit are told so; the others are cut off
PENALTY_S = 0.25
_HEALTH = HEALTH.encode()
SILENCE_S = 30  # a request that stops coming in, and a connection that asks nothing, are cut off
COMING_S = 30  # a request may come in for so long, and a second more for each
BYTES_A_SECOND = 64 * 1024  # of its body


class Wire(HttpToolsProtocol):
    """One connection. ``bounded`` makes the class that a server uses."""

    connections_max: ClassVar[int]
    load: ClassVar[Load]
    heads: ClassVar[Heads]
    alive: ClassVar[bytes]  # the answer to /health

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head = 0  # bytes that came and are neither a complete head nor body: a head, trailers
        self._in_head = True
        self._came = False  # a complete head or body came with this piece
        self._begun_at = self.loop.time()  # when the request that comes in began, or its last answer
        self._body = 0  # bytes of its body
        self._answered = False  # the request that comes in needs no more
        self._refused_at = -1.0 * RETRY_S
        self._at_work: RequestResponseCycle | None = None  # others may wait behind it

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; one connection too many is told so with its first request."""
        super().connection_made(transport)
        self.transport = Corked(transport, self.loop)
        self.load.connections = len(self.connections)
        surplus = self.load.connections - self.connections_max
        if surplus > SURPLUS_MAX:
            transport.abort()
            return
        if surplus > 0:
            self.app_state = {**self.app_state, SURPLUS: True}
        self._listen_for(SILENCE_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone: the request in work hears it, also when others wait behind it."""
        if self._at_work is not None and not self._at_work.response_complete:
            self._at_work.disconnected = True
            self._at_work.message_event.set()
        super().connection_lost(exc)
        self.load.connections = len(self.connections)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._at_work = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        """Read; what is left of a request must come soon, and a head and trailers must end."""
        self._came = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        self._head = 0 if self._came else self._head + len(data)
        if self._head - len(data) > self.heads.bytes_max:  # all but the last piece is head for sure
            self.transport.abort()
            return
        if self.timeout_keep_alive_task is None and (
            self._in_head or self.cycle is None or self.cycle.more_body or self.cycle.response_complete
        ):
            self._listen_for(self._patience_s())

    def _patience_s(self) -> float:
        """How long the next piece may take: whoever sends a byte now and then holds no call for ever."""
        if not self._in_head and (self.cycle is None or not self.cycle.more_body):
            return SILENCE_S
        end = self._begun_at + COMING_S + self._body / BYTES_A_SECOND
        return max(0.0, min(SILENCE_S, end - self.loop.time()))

    def pause_writing(self) -> None:
        """Whoever does not read is not read either, when the connection itself answers."""
        super().pause_writing()
        if self._free():
            self.flow.pause_reading()

    def resume_writing(self) -> None:
        """Answers are taken again."""
        super().resume_writing()
        if self._free():
            self._read_on()

    def _free(self) -> bool:
        """No request is in work here."""
        return self.cycle is None or self.cycle.response_complete

    def on_response_complete(self) -> None:
        """An answer is written: what waited behind it has its time from now."""
        self._begun_at = self.loop.time()
        super().on_response_complete()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head, self._begun_at, self._body = True, self.loop.time(), 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of the head; one that comes behind the body, a trailer, says nothing here."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A head is complete: begin the call, or refuse it."""
        self._came, self._in_head = True, False
        free = self._free()
        call = self.parser.get_method() == b"POST"
        if free and call and self.load.full():
            self._refuse()
        elif free and self.url == _HEALTH and self.parser.get_method() == b"GET" and self._may_knock():
            self._answer(self.alive)
        else:
            super().on_headers_complete()
            if free and call:
                self.load.admitted += 1
                self.scope["state"][ADMITTED] = True

    def _may_knock(self) -> bool:
        """Nothing is wrong with the head of a GET; if something is, the guard says what."""
        head = {"raw_path": self.url, "query_string": b"", "path": HEALTH, "method": "GET"}
        try:
            self.heads.check({**head, "headers": self.headers})
        except Mq9Error:
            return False
        return True

    def _answer(self, answer: bytes) -> None:
        """Answer at once; what else comes of the request is not kept."""
        self._answered = True
        self.transport.write(answer)
        if SURPLUS in self.app_state or not self.parser.should_keep_alive():
            self.transport.close()

    def _refuse(self) -> None:
        """Refuse a call; whoever does not wait as told is not read for a moment: a crowd takes all time."""
        now = self.loop.time()
        if now - self._refused_at < RETRY_S:
            self.flow.pause_reading()
            self.loop.call_later(PENALTY_S * (1 + random.random()), self._read_on)  # not all at once
        self._refused_at = now
        self.load.refused["RATE_LIMITED"] += 1
        self._answer(_REFUSAL)

    def _read_on(self) -> None:
        if not (self.transport.is_closing() or self.flow.write_paused):
            self.flow.resume_reading()

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._came = True
        self._body += len(body)
        if not self._answered:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request has come in whole."""
        self._came = True
        if not self._answered:
            super().on_message_complete()
        self._answered = False

    def _listen_for(self, seconds: float) -> None:
        """Close the connection if nothing comes for so long."""
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)


def _as_bytes(response: Response) -> bytes:
    """A whole answer as it goes over the wire."""
    head = [b"HTTP/1.1 %d %s" % (response.status_code, HTTPStatus(response.status_code).phrase.encode())]
    head += [b"%s: %s" % line for line in response.raw_headers]
    return b"\r\n".join([*head, b"", bytes(response.body)])


_REFUSAL = _as_bytes(refusal(too_many_calls()))


def bounded(connections_max: int, heads: Heads, load: Load, alive: Response) -> type[Wire]:
    """``Wire`` with these bounds; ``load`` says whether there is room for one more call."""
    known = {"connections_max": connections_max, "heads": heads, "load": load, "alive": _as_bytes(alive)}
    return type("BoundedWire", (Wire,), known)
