"""``GET /v1/tasks/{id}/events``: a task as it stands, then its life entry by entry, until it is over.

The id of an event is the number of the history's entry, so a browser resumes by itself where it was.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from sse_starlette.event import ServerSentEvent
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mq9_mcp.broker.broker import Broker
from mq9_mcp.broker.tasks import OVER
from mq9_mcp.domain.errors import Mq9Error, Refused
from mq9_mcp.doors.caller import caller_of
from mq9_mcp.doors.rest.events import RETRY_MS, encode, failed, read_after, streamed

ABOVE, BELOW = "tasks/", "/events"
NO_CONTENT = 204  # what a browser takes for: do not come again
HINT = "leave it out to begin with the task as it stands"


class Follower:
    """What is told of one task. ``position`` is the last entry that the reader needs no more."""

    def __init__(self, following: AsyncGenerator[dict[str, Any]], after: int | None) -> None:
        self.position = after or 0
        self._after = after
        self._following = following

    async def told(self) -> AsyncIterator[ServerSentEvent]:
        """Its place first, if it has one: who is cut off at once misses nothing. Then what happens."""
        if self._after is None:
            yield ServerSentEvent(retry=RETRY_MS, comment="the task, then each later entry")
        else:
            yield ServerSentEvent(id=str(self._after), retry=RETRY_MS, comment=f"entries after {self._after}")
        try:
            async with aclosing(self._following) as following:
                async for told in following:
                    self.position = told["task"]["version"] if "task" in told else told["entry"]["number"]
                    yield ServerSentEvent(encode(told).decode(), id=str(self.position))
        except Mq9Error as error:
            yield failed(error)


def task_of(path: str) -> str | None:
    """The task whose events a path below ``/v1`` names."""
    if not (path.startswith(ABOVE) and path.endswith(BELOW)):
        return None
    return path[len(ABOVE) : -len(BELOW)]


async def task_events(broker: Broker, task: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the stream; raises ``Mq9Error`` before it begins."""
    caller = caller_of(scope["headers"])
    after = read_after(HTTPConnection(scope), "the number of an entry", HINT)
    known = (await broker.call(caller, "task_get", {"task": task}))["task"]
    if after is not None:
        _check(after, known["version"])
    if after == known["version"] and known["state"] in OVER:
        await Response(status_code=NO_CONTENT)(scope, receive, send)
        return
    follower = Follower(broker.follow_task(caller, task, after), after)
    await streamed(follower.told(), lambda: follower.position)(scope, receive, send)


def _check(after: int, version: int) -> None:
    if after > version:
        raise Refused(
            "INVALID_ARGUMENT",
            f"after: {after}; the task's history ends with entry {version}; accepted: 0 to {version}",
            HINT,
            version=version,
        )
