"""Answers over HTTP: whole ones, and server-sent events for as long as somebody listens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, cast

import msgspec
from starlette.types import Message, Receive, Scope, Send

Headers = tuple[tuple[bytes, bytes], ...]
PING_S = 3  # common clients give up after 5 s of silence
DISCONNECT = "http.disconnect"
_encode = msgspec.json.Encoder().encode
_PING = b": ping\r\n\r\n"
_HEADS = "mq9.heads"  # where a request keeps them once they are read
JSON = b"application/json"
A2A_JSON = b"application/a2a+json"
_EVENTS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)


class HungUp(Exception):
    """The caller is gone: there is nobody to answer."""


async def read_body(receive: Receive) -> bytes:
    """The body of a request; raises ``HungUp``."""
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == DISCONNECT:
            raise HungUp
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


async def answer(
    send: Send,
    value: Any,
    status: int = 200,
    kind: bytes = JSON,
    headers: Headers = (),
) -> None:
    """Answer with ``value`` as JSON; bytes are sent as they are."""
    body = value if isinstance(value, bytes) else _encode(value)
    length = (b"content-length", str(len(body)).encode())
    lines = [(b"content-type", kind), length, *headers]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


async def stream(
    send: Send,
    receive: Receive,
    events: AsyncGenerator[bytes],
    headers: Headers = (),
) -> None:
    """Send each event as it comes, and a sign of life between them; ends when nobody listens."""
    await send({"type": "http.response.start", "status": 200, "headers": [*_EVENTS, *headers]})
    coming: asyncio.Future[bytes] | None = None
    try:
        while True:
            if coming is None:
                coming = asyncio.ensure_future(anext(events))
            if not coming.done():
                await asyncio.wait((coming,), timeout=PING_S)
            if _hung_up(receive):
                return
            if not coming.done():
                await _more(send, _PING)
                continue
            try:
                event = coming.result()
            except StopAsyncIteration:
                break
            coming = None
            await _more(send, event)
    finally:
        await _close(coming, events)
    await send({"type": "http.response.body", "body": b""})


async def _more(send: Send, piece: bytes) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": True})


async def _close(coming: asyncio.Future[bytes] | None, events: AsyncGenerator[bytes]) -> None:
    if coming is not None:
        coming.cancel()
        with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, Exception):
            await coming
    await events.aclose()


def _hung_up(receive: Receive) -> bool:
    """Whether the caller is gone by now: ``receive`` says so without waiting."""
    listening = cast(Coroutine[Any, Any, Message], receive())
    try:
        listening.send(None)
    except StopIteration as heard:
        return bool(heard.value["type"] == DISCONNECT)
    listening.close()
    return False


def heads(scope: Scope) -> dict[bytes, bytes]:
    """The headers of a request; of one that stands on several lines all of them, with commas between."""
    known: dict[bytes, bytes] | None = scope.get(_HEADS)
    if known is not None:
        return known
    lines = scope["headers"]
    found: dict[bytes, bytes] = dict(lines)
    if len(found) < len(lines):
        found = {name: b",".join(value for key, value in lines if key == name) for name in found}
    scope[_HEADS] = found
    return found


def header(scope: Scope, name: bytes) -> str:
    """One of them; empty if there is none."""
    return heads(scope).get(name, b"").decode("latin-1")
