"""``GET /v1/events``: the journal as server-sent events, for as long as the caller listens.

The id of an event is the sequence of its record, so a browser resumes by itself where it was.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from urllib.parse import parse_qsl

import msgspec
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import AppStatus, EventSourceResponse
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from mq9_mcp.broker.broker import Broker
from mq9_mcp.broker.stream import Stream
from mq9_mcp.domain.errors import Mq9Error, Refused
from mq9_mcp.doors.caller import caller_of

HEARTBEAT_S = 3
RETRY_MS = 1_000  # when a caller that lost its line comes again
LAST = "last-event-id"
encode = msgspec.json.Encoder().encode

# The stream ends with the journal, after the last event of a broker that stops; not in the middle of one.
AppStatus.enable_automatic_graceful_drain = False


async def events(broker: Broker, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the stream; raises ``Mq9Error`` before it begins."""
    after = read_after(HTTPConnection(scope), "the sequence of a record", "leave it out to begin now")
    stream = broker.stream(caller_of(scope["headers"]), after)
    await streamed(_told(stream), lambda: stream.position)(scope, receive, send)


def streamed(told: AsyncIterator[ServerSentEvent], position: Callable[[], int]) -> EventSourceResponse:
    """What is told, and heartbeats in between that carry the reader's place."""
    return EventSourceResponse(
        told,
        ping=HEARTBEAT_S,
        ping_message_factory=lambda: ServerSentEvent(id=str(position()), comment="here"),
    )


def read_after(connection: HTTPConnection, what: str, hint: str) -> int | None:
    """Where to begin: the header of a caller that comes again counts before the address it came with."""
    given = dict(parse_qsl(connection.scope["query_string"].decode("latin-1"), keep_blank_values=True))
    for name in given:
        if name != "after":
            raise Refused("INVALID_ARGUMENT", f"{name[:64]!a}: unknown; accepted: after", "leave it out")
    last = connection.headers.get(LAST)
    if last is not None:
        return _number("Last-Event-ID", last, what, hint)
    return _number("after", given["after"], what, hint) if "after" in given else None


def _number(name: str, text: str, what: str, hint: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) <= 16:
        return int(text)
    raise Refused("INVALID_ARGUMENT", f"{name}: {text[:64]!a}; accepted: {what}, 0 or more", hint)


def failed(error: Mq9Error) -> ServerSentEvent:
    """The last event of a stream that cannot go on."""
    return ServerSentEvent(encode({"error": error.as_dict()}).decode(), event="error")


async def _told(stream: Stream) -> AsyncIterator[ServerSentEvent]:
    """Its place first, so that who is cut off before the first event misses nothing; then what happens."""
    yield ServerSentEvent(id=str(stream.position), retry=RETRY_MS, comment=f"events after {stream.position}")
    try:
        async with aclosing(stream.records()) as records:
            async for record in records:
                yield ServerSentEvent(encode(record).decode(), id=str(record["seq"]))
    except Mq9Error as error:  # a reader so slow that the journal went on without it
        yield failed(error)
