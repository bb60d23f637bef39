"""A coroutine into which an exception can be thrown while it waits: cancellation, under another name."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any


class Interruptible:
    """``await`` it in a task of its own; ``throw`` raises an exception where the coroutine waits."""

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self._work = work
        self._error: Exception | None = None
        self.task: asyncio.Task[Any] | None = None

    def throw(self, error: Exception) -> None:
        """Raise ``error`` where the coroutine waits; what it waits for is cancelled."""
        if self.task is not None and not self.task.done():
            self._error = error
            self.task.cancel()

    def __await__(self) -> Generator[Any, Any, Any]:
        step, value = self._work.send, None
        while True:
            try:
                waits = step(value)
            except StopIteration as end:
                return end.value
            try:
                step, value = self._work.send, (yield waits)
            except asyncio.CancelledError as cancelled:
                error, self._error = self._error, None
                step, value = self._work.throw, error or cancelled
                if error is not None and self.task is not None:
                    self.task.uncancel()
            except BaseException as error:
                step, value = self._work.throw, error
