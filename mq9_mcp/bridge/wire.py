"""Messages to the broker's MCP door, and what comes back of each, the answer last."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from msgspec import Raw

from mq9_mcp.bridge.call import ERROR_KEY, Call
from mq9_mcp.bridge.http import Exchange, Http, Lost, head_of
from mq9_mcp.bridge.messages import Fields, Problem, fields, one_line, plain, text
from mq9_mcp.bridge.sse import events

JSON, STREAM = "application/json", "text/event-stream"
_NOT_FOUND, _TOO_MANY, _FAULT, _UNAVAILABLE = 404, 429, 500, 503
_SHOWN = 80  # characters of a foreign answer that a message repeats


class Expired(Exception):
    """The server does not know the session; nothing was carried out."""


class Busy(Exception):
    """The server takes no calls now; nothing was carried out."""

    def __init__(self, problem: Problem, after_s: float = 0) -> None:
        super().__init__(str(problem))
        self.problem = problem
        self.after_s = after_s


async def send(exchange: Exchange, body: bytes, headers: Mapping[str, str]) -> None:
    """Send a message, and wait for the head of what comes back."""
    named = {"content-type": JSON, "accept": f"{JSON}, {STREAM}", **headers}
    await exchange.send(head_of("POST", exchange.url, named, len(body)), body)


async def replies(exchange: Exchange) -> AsyncGenerator[Fields, None]:
    """What comes back, the response last; raises ``Lost``, ``Busy``, ``Expired`` or ``Problem``."""
    if exchange.kind == STREAM:
        async for event in events(exchange):
            yield _members(event)
        return
    body = await exchange.read()
    answer = _members(body) if exchange.kind == JSON else {}
    if exchange.status in (_TOO_MANY, _UNAVAILABLE):
        raise Busy(_problem(exchange, answer, body), _seconds(exchange.headers.get("retry-after")))
    if exchange.status >= _FAULT:
        raise Lost(exchange.url, str(_problem(exchange, answer, body)), sent=True)
    if exchange.status == _NOT_FOUND and plain(answer.get("id")) is None and "jsonrpc" in answer:
        raise Expired
    if "result" not in answer and not ("error" in answer and "jsonrpc" in answer):
        raise _problem(exchange, answer, body)
    yield answer


async def ask(http: Http, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[Fields, Exchange]:
    """Send a request of our own; the response, and what came with it."""
    async with http.open(url) as exchange:
        await send(exchange, body, headers)
        async for message in replies(exchange):
            if "result" in message or "error" in message:
                return message, exchange
    raise Lost(url, "the stream ended without an answer", sent=True)


async def tell(http: Http, url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Send what needs no answer; the status."""
    async with http.open(url) as exchange:
        await send(exchange, body, headers)
        await exchange.read()
        return exchange.status


def stopping_of(call: Call, message: Fields) -> Problem | None:
    """A tool's word that the broker is stopping: it did nothing, and another one will."""
    result = fields(message.get("result"))
    if not call.tool or plain(result.get("isError")) is not True:
        return None
    refusal = fields(fields(result.get("_meta")).get(ERROR_KEY))
    if text(refusal.get("code")) != "SHUTTING_DOWN":
        return None
    return Problem("SHUTTING_DOWN", text(refusal.get("message")), text(refusal.get("hint")))


def _members(body: bytes) -> Fields:
    return fields(Raw(one_line(body)))


def _problem(exchange: Exchange, answer: Fields, body: bytes) -> Problem:
    """What an answer says that is none: a refusal of the broker, or something foreign."""
    refusal = fields(answer.get("error"))
    code, message = text(refusal.get("code")), text(refusal.get("message"))
    if code:
        return Problem(code, message, text(refusal.get("hint")))
    said = message or body[:_SHOWN].decode(errors="replace")
    return Problem(
        "CONNECTION_FAILED",
        f"{exchange.url} answers with HTTP {exchange.status} and {said!a}",
        "is it an mq9 broker with an MCP door? The URL is that of the broker, such as http://127.0.0.1:9009",
    )


def _seconds(value: str | None) -> float:
    """``Retry-After`` in seconds; one that is a date is not worth the reading."""
    try:
        return max(0.0, float(value or 0))
    except ValueError:
        return 0.0
