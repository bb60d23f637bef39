"""An event loop in a thread: what the sync facade runs the async client on."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def passed_on(named: Mapping[str, Any]) -> dict[str, Any]:
    """A method's ``locals()`` as the arguments of its async twin."""
    return {name: value for name, value in named.items() if name != "self"}


class Background:
    """A loop in a thread of its own, from the first call until ``close``. Any thread may call.

    ``last`` is run on the loop before it ends, at the latest when the program ends.
    """

    def __init__(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._last = last
        self._changing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._end: asyncio.Event

    def run(self, work: Callable[P, Coroutine[Any, Any, T]], *given: P.args, **named: P.kwargs) -> T:
        """The result of ``work(...)``, which runs on the loop. An interrupted wait cancels it.

        The coroutine is made on the loop: an interrupt, which comes at any moment, leaves none that nobody
        awaits.
        """
        if self._thread is None:  # while it closes, handlers that come to their end still call
            with self._changing:
                if self._thread is None:
                    self._start()
        return self._result(partial(work, *given, **named))

    def call(self, function: Callable[..., T], arguments: Mapping[str, Any]) -> T:
        """The result of a plain function that needs the loop around it."""

        async def work() -> T:
            return function(**arguments)

        return self.run(work)

    def each(self, stream: AsyncGenerator[T]) -> Iterator[T]:
        """What an async generator tells, one by one; whoever stops reading ends it."""
        turn = asyncio.Lock()  # a read that an interrupt cancelled ends before the stream is closed

        async def read() -> T:
            async with turn:
                return await anext(stream)

        async def end() -> None:
            async with turn:
                await stream.aclose()

        try:
            while True:
                yield self.run(read)
        except StopAsyncIteration:
            return
        finally:
            self.run(end)

    def _result(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if threading.current_thread() is self._thread:
            raise RuntimeError("a coroutine handler calls the sync client: use Mq9Client in it")
        result: Future[T] = Future()
        begun: list[asyncio.Task[T]] = []

        def begin() -> None:
            task = self._loop.create_task(work())
            task.add_done_callback(lambda task: _hand_over(task, result))
            begun.append(task)

        def cancel() -> None:
            for task in begun:
                task.cancel()

        try:
            self._loop.call_soon_threadsafe(begin)
            return result.result()
        except Exception:
            raise
        except BaseException:  # an interrupt
            self._loop.call_soon_threadsafe(cancel)
            raise

    def _start(self) -> None:
        ready: Future[None] = Future()
        self._thread = threading.Thread(
            target=asyncio.run, args=(self._live(ready),), name="mq9-client", daemon=True
        )
        self._thread.start()
        ready.result()
        atexit.register(self.close)

    async def _live(self, ready: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        ready.set_result(None)
        await self._end.wait()

    def close(self) -> None:
        """End the loop and its thread; a later call starts them again."""
        with self._changing:
            if self._thread is not None:
                atexit.unregister(self.close)
                try:
                    self._result(self._last)
                finally:
                    self._loop.call_soon_threadsafe(self._end.set)
                    self._thread.join()
                    self._thread = None


def _hand_over(task: asyncio.Task[T], result: Future[T]) -> None:
    """What became of a task, to the thread that waits for it."""
    if task.cancelled():
        result.cancel()
    elif (error := task.exception()) is not None:
        result.set_exception(error)
    else:
        result.set_result(task.result())
