"""``task_follow``: a task's life as it happens, over cuts of the line and restarts of the broker."""

from __future__ import annotations

from abc import ABC
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

import msgspec

from mq9_mcp.client.base import Caller
from mq9_mcp.client.errors import ConnectionFailed, foreign, read_error
from mq9_mcp.client.retry import FIRST_CONTACT_S, Patience
from mq9_mcp.client.wire import Lost, Wire
from mq9_mcp.domain.errors import Unavailable

OVER = ("completed", "failed", "canceled", "rejected")
_OK, _NO_CONTENT = 200, 204
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Following(Caller, ABC):
    """Follows tasks."""

    agent: str | None
    timeout_s: float
    _wire: Wire

    async def task_follow(self, task: str, after: int | None = None) -> AsyncGenerator[dict[str, Any]]:
        """A task as it stands, ``{task}``, then ``{entry}`` for each later entry of its history; to its end.

        With ``after`` it begins behind the entry of that number, without the task; 0 is the whole history.
        A line that is cut is mended, and nothing is told twice or left out. If no broker answers for
        ``timeout_s``, ``ConnectionFailed`` is raised; go on with the number of the last entry.
        """
        path = f"tasks/{quote(task, safe='')}/events"
        patience = Patience(self.timeout_s)
        while True:
            failure: Unavailable = ConnectionFailed(self._wire.url, "the stream ended", unknown=False)
            try:
                async with aclosing(self._task_events(path, after)) as events:
                    async for told in events:
                        if told:
                            yield told
                            at = told["task"] if "task" in told else told["entry"]
                            after = at["version"] if "task" in told else at["number"]
                            if at["state"] in OVER:
                                return
                        patience = Patience(self.timeout_s)
            except _Over:
                return
            except Lost as lost:
                failure = ConnectionFailed(lost.url, lost.why, unknown=False)
            except Unavailable as error:
                failure = error
            if not await patience.pause(within=None if self._wire.met else FIRST_CONTACT_S):
                raise failure

    async def _task_events(self, path: str, after: int | None) -> AsyncGenerator[dict[str, Any]]:
        """What one connection tells, nothing for a heartbeat; ends with the broker.

        Raises ``Lost`` and ``Mq9Error``.
        """
        query = "" if after is None else f"?after={after}"
        async with self._wire.stream(path + query) as (status, lines):
            if status == _NO_CONTENT:
                raise _Over
            if status != _OK:
                body = b"\n".join([line async for line in lines])
                raise read_error(status, body) or ConnectionFailed(
                    self._wire.url, foreign(status, body), unknown=False
                )
            failed = False
            async for line in lines:
                name, _, value = line.partition(b": ")
                if name == b"event":
                    failed = value == b"error"
                elif name == b"data" and failed:
                    error = read_error(500, value)
                    raise error or ConnectionFailed(self._wire.url, foreign(status, value), unknown=False)
                elif name == b"data":
                    yield _decode(value)
                elif name == b"":
                    yield {}


class _Over(Exception):
    """Nothing comes after the entry that was asked for."""
