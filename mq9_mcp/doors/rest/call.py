"""One command over HTTP: the body becomes the command, the reply the answer, whoever hangs up takes nothing.

This is the hot path, so it speaks ASGI itself: no request object, one decode, one encode.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

import msgspec
from starlette.types import Message, Receive, Scope, Send

from mq9_mcp.broker.arguments import read_arguments, read_json, read_object
from mq9_mcp.broker.broker import Broker, waits
from mq9_mcp.domain.commands import Command, MailboxFetch
from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.doors.answer import JSON, refusal
from mq9_mcp.doors.caller import caller_of
from mq9_mcp.doors.rest.headers import add_headers, mq9_headers

_encode = msgspec.json.Encoder().encode
_CONTENT_TYPE = (b"content-type", JSON.encode())
_MORE: Message = {"type": "http.response.body", "body": b"", "more_body": True}
_END: Message = {"type": "http.response.body", "body": b"", "more_body": False}
DISCONNECT = "http.disconnect"


class HungUp(Exception):
    """The caller is gone: there is nobody to answer."""


async def call(broker: Broker, name: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Execute the command ``name`` with the body as its arguments and answer."""
    command: Command | None = None
    try:
        caller = caller_of(scope["headers"])
        command = _command(broker, name, scope, await _body(receive))
        work = broker.execute(caller, command)
        reply = await (_unless_hung_up(broker, command, work, receive) if waits(command) else work)
    except Mq9Error as error:
        if command is None:
            broker.tally.refused(name, error)
        await refusal(error)(scope, receive, send)
    except HungUp:
        return
    else:
        if isinstance(command, MailboxFetch) and reply["messages"]:
            await _hand_over(broker, reply, receive, send)
        else:
            body = _encode(reply)
            await send(_start(body))
            await send({"type": "http.response.body", "body": body})


def _command(broker: Broker, name: str, scope: Scope, body: bytes) -> Command:
    headers = mq9_headers(scope["headers"])
    try:
        if headers:
            return read_arguments(name, add_headers(name, read_object(body), headers))
        return read_json(name, body)
    except Mq9Error as error:
        broker.tally.refused(name, error)
        raise


async def _body(receive: Receive) -> bytes:
    message = await receive()
    if message["type"] != DISCONNECT and not message.get("more_body"):
        return cast(bytes, message.get("body", b""))
    chunks: list[bytes] = []
    while message["type"] != DISCONNECT:
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)
        message = await receive()
    raise HungUp


def _start(body: bytes) -> Message:
    length = (b"content-length", str(len(body)).encode())
    return {"type": "http.response.start", "status": 200, "headers": [_CONTENT_TYPE, length]}


async def _unless_hung_up(
    broker: Broker, command: Command, work: Coroutine[Any, Any, dict[str, Any]], receive: Receive
) -> dict[str, Any]:
    """The reply of a call that waits; if the caller hangs up meanwhile, the call ends and takes nothing."""
    working = asyncio.ensure_future(work)
    listening = asyncio.ensure_future(_disconnected(receive))
    reached = False
    try:
        await asyncio.wait((working, listening), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise HungUp
        reached = True
        return working.result()
    finally:
        listening.cancel()
        if not reached:
            working.cancel()
            await asyncio.wait((working,))
            ended = not working.cancelled() and working.exception() is None
            if ended and isinstance(command, MailboxFetch):
                broker.give_back(working.result())


async def _disconnected(receive: Receive) -> None:
    """Return when the caller has hung up."""
    while (await receive())["type"] != DISCONNECT:
        pass


async def _hand_over(broker: Broker, reply: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answer with leased messages; if nobody was there to take them, they are back in line at once."""
    written = False
    try:
        body = _encode(reply)
        await send(_start(body))
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await send(_MORE)  # returns once there is room again, so the body is on its way
        await asyncio.sleep(0)  # a line that broke meanwhile is told by now
        written = not _hung_up(receive)
    finally:
        if not written:
            broker.give_back(reply)
    await send(_END)


def _hung_up(receive: Receive) -> bool:
    """Whether the caller is gone by now: ``receive`` says so without waiting."""
    listening = cast(Coroutine[Any, Any, Message], receive())
    try:
        listening.send(None)
    except StopIteration as heard:
        return bool(heard.value["type"] == DISCONNECT)
    listening.close()
    return False
