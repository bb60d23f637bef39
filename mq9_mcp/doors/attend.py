"""Calls whose caller may hang up: a waiting one ends then, and what it had taken is given back.

A lease is durable before it is handed out; one that could not be handed out is released without an
attempt, so that nobody waits for its end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mq9_mcp.broker.broker import Broker
from mq9_mcp.domain.state import Caller
from mq9_mcp.doors.answer import answer

WAITS = frozenset({"wait_s", "wait_for"})  # arguments with which a call may wait
TAKES = frozenset({"mailbox_fetch"})  # commands whose reply holds leases
HUNG_UP = 499  # what proxies log for a caller who did not wait; nobody reads it


async def attended(
    request: Request, broker: Broker, caller: Caller, name: str, arguments: dict[str, Any]
) -> Response:
    """The answer to a command for a caller who may hang up; the body of ``request`` was read before.

    Raises ``Mq9Error`` as ``broker.call`` does.
    """
    if name not in TAKES and WAITS.isdisjoint(arguments):
        return answer(await broker.call(caller, name, arguments))
    line = Line(request.receive)
    response: Response | None = None
    try:
        reply = await line.hold(broker.call(caller, name, arguments))
        if reply is None:
            return Response(status_code=HUNG_UP)
        if name in TAKES and reply["messages"]:
            response = Handover(reply, broker, line)
    finally:
        if response is None:
            line.hang_up()
    return response or answer(reply)


class Line:
    """The line to one caller; ``gone`` once the caller hung up."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._listening = asyncio.get_running_loop().create_task(self._listen(), name="mq9-line")

    @property
    def gone(self) -> bool:
        """The caller hung up."""
        return self._listening.done()

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def hold(self, call: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any] | None:
        """What ``call`` returns; None if the caller hung up first and it was cancelled."""
        working = asyncio.ensure_future(call)
        try:
            await asyncio.wait((working, self._listening), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not working.done():
                working.cancel()
                await asyncio.wait((working,))
        return None if working.cancelled() else working.result()

    def hang_up(self) -> None:
        """Listen no more."""
        self._listening.cancel()


class Handover(Response):
    """The reply of a fetch; its leases go back if the line broke before the reply was written."""

    def __init__(self, reply: dict[str, Any], broker: Broker, line: Line) -> None:
        made = answer(reply)
        super().__init__()
        self.body, self.raw_headers = made.body, made.raw_headers
        self._reply, self._broker, self._line = reply, broker, line

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Write the reply. Its end goes by itself: that waits until the connection took what was before."""
        handed = False
        try:
            with contextlib.suppress(OSError):  # how some servers say that the caller is gone
                if not self._line.gone:
                    await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                if not self._line.gone:
                    await send({"type": "http.response.body", "body": self.body, "more_body": True})
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    handed = not self._line.gone
        finally:
            self._line.hang_up()
            if not handed:
                self._broker.give_back(self._reply)
