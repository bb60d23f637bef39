"""One POST at ``/mcp``: who calls, whether the answer may be one piece of JSON, and whether it got through.

What a fetch leased is given back if the caller hung up before it was written: a caller that is gone holds
nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, cast

import msgspec
from msgspec import UNSET, Struct, UnsetType
from starlette.types import Message, Receive, Scope, Send

from mq9_mcp.domain.state import Caller

EXCHANGE = "mq9.exchange"  # in the scope: the exchange that a handler belongs to
DISCONNECT = "http.disconnect"
LISTEN = "subscriptions/listen"
CALL = "tools/call"
STREAM = b"text/event-stream"
_MORE: Message = {"type": "http.response.body", "body": b"", "more_body": True}
_END: Message = {"type": "http.response.body", "body": b"", "more_body": False}
plain: ContextVar[bool] = ContextVar("mq9.plain", default=False)  # the answer is one piece of JSON
GiveBack = Callable[[dict[str, Any]], None]


class _Params(Struct):
    name: Any = UNSET
    arguments: Any = UNSET


class Peek(Struct):
    """What the door itself must know of a request; all else is the SDK's to read."""

    method: Any = UNSET
    params: _Params | UnsetType | None = UNSET

    @property
    def tool(self) -> str | None:
        """The tool that is called, if one is."""
        params = self.params
        named = self.method == CALL and isinstance(params, _Params) and isinstance(params.name, str)
        return cast(_Params, params).name if named else None

    @property
    def waits(self) -> bool:
        """The call may wait for somebody else."""
        if self.tool is None:
            return False
        arguments = cast(_Params, self.params).arguments
        return isinstance(arguments, dict) and bool(arguments.get("wait_s"))


_peek = msgspec.json.Decoder(Peek)


def peek(body: bytes) -> Peek:
    """The method and the tool of a request; nothing of what is no request."""
    try:
        return _peek.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Peek()


class HungUp(Exception):
    """The caller is gone."""


class Exchange:
    """A POST from its body to its answer. ``gone`` is set once nobody waits for the answer."""

    def __init__(self, caller: Caller, body: bytes, receive: Receive, give_back: GiveBack) -> None:
        self.caller = caller
        self.peek = peek(body)
        self.gone = asyncio.Event()
        self._body: bytes | None = body
        self._receive = receive
        self._give_back = give_back
        self._handed: list[dict[str, Any]] = []
        self._lease = b""
        self._seen = False  # the lease stood in what was written

    def hand(self, reply: dict[str, Any]) -> None:
        """The answer will hold these leased messages."""
        self._handed.append(reply)
        self._lease = reply["messages"][0]["lease"].encode()

    async def receive(self) -> Message:
        """The body, once; then what the caller does, which can only be to hang up."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        if self.peek.waits:
            await self.gone.wait()
            return {"type": DISCONNECT}
        return await self._receive()

    async def listen(self) -> None:
        """Notice when the caller hangs up."""
        while (await self._receive())["type"] != DISCONNECT:
            pass
        self.gone.set()

    def sending(self, send: Send) -> Send:
        """``send``, which makes sure that leased messages are on their way to somebody."""

        async def sending(message: Message) -> None:
            if not self._handed or message["type"] != "http.response.body":
                await send(message)
                return
            body = message.get("body", b"")
            self._seen = self._seen or self._lease in body
            if message.get("more_body") or not self._seen:
                await send(message)
                return
            await send({**message, "more_body": True})
            await send(_MORE)  # returns once there is room again, so the body is on its way
            await asyncio.sleep(0)  # a line that broke meanwhile is told by now
            if not self.gone.is_set() and not hung_up(self._receive):
                self._handed.clear()
            await send(_END)

        return sending

    def end(self) -> None:
        """The answer is written, or never will be: leases that reached nobody are back in line."""
        self.gone.set()
        handed, self._handed = self._handed, []
        for reply in handed:
            self._give_back(reply)


async def read_body(receive: Receive) -> bytes:
    """The whole body; raises ``HungUp`` if it does not come."""
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == DISCONNECT:
            raise HungUp
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def hung_up(receive: Receive) -> bool:
    """Whether the caller is gone by now: ``receive`` says so without waiting."""
    listening = cast(Coroutine[Any, Any, Message], receive())
    try:
        listening.send(None)
    except StopIteration as heard:
        return bool(heard.value["type"] == DISCONNECT)
    listening.close()
    return False


def takes_streams(scope: Scope) -> bool:
    """The caller reads server-sent events."""
    return any(name == b"accept" and (STREAM in value or b"*/*" in value) for name, value in scope["headers"])


def stripped(scope: Scope) -> Scope:
    """``scope`` without the white space that HTTP allows behind a header's value."""
    headers = scope["headers"]
    if any(value[-1:] in (b" ", b"\t") for _, value in headers):
        return {**scope, "headers": [(name, value.rstrip(b" \t")) for name, value in headers]}
    return scope
