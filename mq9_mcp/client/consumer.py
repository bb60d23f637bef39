"""A worker: fetches what it has room for, keeps the leases, settles by what the handler does.

A message is acked only after its handler returned; whatever else happens, it is tried again or rejected.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Self

from mq9_mcp.client.base import Caller
from mq9_mcp.client.delivery import (
    Delivery,
    ErrorHandler,
    Handler,
    HandlerCancelled,
    answer,
    begin,
    chains,
    failure,
    is_async,
)
from mq9_mcp.client.retry import pause_s
from mq9_mcp.client.settling import Settling
from mq9_mcp.domain.errors import Mq9Error, Unavailable

_log = logging.getLogger("mq9_mcp.client")
handling: contextvars.ContextVar[Consumer | None] = contextvars.ContextVar("mq9_handling", default=None)


class Work(NamedTuple):
    """What a consumer is told."""

    handler: Callable[[Any], Any]
    fetch: Mapping[str, Any]  # the arguments of mailbox_fetch
    concurrency: int
    most: int  # messages in one fetch
    auto_ack: bool
    reply: bool
    error_handler: ErrorHandler | None
    mail_handler: Handler | None = None  # of a worker: what it does with mail that is no task


class _Over(Exception):
    """The handler ended, and there is nothing to settle any more."""


class Consumer:
    """A running worker, made by ``consume``. ``async with`` or ``await stop()`` ends it in order.

    ``processed_count``: messages acked. ``failed_count``: failed, rejected, or their lease lost.
    ``error``: what ended it before it was stopped.
    """

    processed_count: int
    failed_count: int
    error: Mq9Error | None
    _threads_more = 0  # beside those of ``concurrency``
    _delivery = Delivery

    def __init__(self, client: Caller, work: Work, taken: Callable[[Mapping[str, Any]], None]) -> None:
        self.processed_count = 0
        self.failed_count = 0
        self.error = None
        self._client = client
        self._work = work
        self._taken = taken
        self._held: set[Delivery] = set()
        self._chains: set[asyncio.Task[None]] = set()
        self._handlers: set[asyncio.Future[Any]] = set()
        self._no_more_time = False
        self._stop = asyncio.Event()
        self._room = asyncio.Event()
        self._settling = Settling(client, self._stop)
        self._threads = (
            None
            if is_async(work.handler)
            else ThreadPoolExecutor(work.concurrency + self._threads_more, "mq9-handler")
        )
        self._main = asyncio.create_task(self._run(), name="mq9-consumer")

    def _for_mail(self) -> Handler:
        return self._work.handler

    def __await__(self) -> Generator[Any, None, Self]:
        """``await client.consume(...)`` gives the consumer, as in mq9."""
        yield from asyncio.sleep(0).__await__()
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, *exception: object) -> None:
        await self.stop()
        if kind is None and self.error is not None:
            raise self.error

    @property
    def is_running(self) -> bool:
        """False once it has stopped, or ended by an error that no repetition mends."""
        return not self._main.done()

    async def wait(self) -> None:
        """Return when it has stopped; raise the error if one has ended it."""
        await asyncio.wait({self._main})
        if self.error is not None:
            raise self.error
        if not self._main.cancelled():
            self._main.result()

    async def stop(self, timeout_s: float | None = None) -> None:
        """Take no more, let what has begun come to its end, give back the rest.

        After ``timeout_s`` the handlers are cancelled and their messages given back. Called from within
        a handler, it does not wait for that handler's end.
        """
        self._stop.set()
        self._room.set()
        if handling.get() is self:
            return
        _, pending = await asyncio.wait({self._main}, timeout=timeout_s)
        if pending:
            self._no_more_time = True
            for handler in self._handlers:
                handler.cancel()
            await asyncio.wait({self._main})

    def when_ended(self, told: Callable[[Consumer], None]) -> None:
        """Call ``told(self)`` when it has stopped."""
        self._main.add_done_callback(lambda _: told(self))

    # -- taking messages

    async def _run(self) -> None:
        beats = asyncio.create_task(
            self._settling.beat(self._held, self._work.fetch["lease_s"]), name="mq9-heartbeat"
        )
        try:
            await self._take()
            while self._chains:
                await asyncio.wait(self._chains)
        finally:
            left = [beats, *self._chains]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            if self._threads is not None:
                self._threads.shutdown(wait=False, cancel_futures=True)

    async def _take(self) -> None:
        failures = 0
        while not self._stop.is_set():
            free = self._work.concurrency - len(self._held)
            if free <= 0:
                self._room.clear()
                await self._room.wait()
                continue
            try:
                self._begin(await self._next(min(free, self._work.most)))
                failures = 0
            except Unavailable as error:
                failures += 1
                _log.warning("cannot fetch, trying again: %s", error.message)
                await self._pause(pause_s(failures))
            except Mq9Error as error:
                self.error = error
                _log.error("the consumer ends: %s", error)
                return

    async def _next(self, most: int) -> list[dict[str, Any]]:
        """The next messages; none when it is time to stop."""
        fetch = asyncio.ensure_future(self._client.call("mailbox_fetch", {**self._work.fetch, "max": most}))
        stop = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({fetch, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not fetch.done():
                fetch.cancel()  # the broker takes nothing for a fetch whose caller hung up
                await asyncio.wait({fetch})
        finally:
            fetch.cancel()
            stop.cancel()
        if fetch.cancelled():
            return []
        reply = fetch.result()
        self._told(reply)
        messages: list[dict[str, Any]] = reply["messages"]
        return messages

    def _told(self, reply: Mapping[str, Any]) -> None:
        """What else a fetch says."""

    def _begin(self, messages: Iterable[Mapping[str, Any]]) -> None:
        for chain in chains(messages, self._delivery):
            self._held.update(chain)
            task = asyncio.create_task(self._handle_chain(chain), name="mq9-work")
            self._chains.add(task)
            task.add_done_callback(self._chains.discard)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    # -- handling them

    async def _handle_chain(self, chain: list[Delivery]) -> None:
        """Handle the messages of one session in order; after a failure, and at a stop, the rest go back."""
        left = list(chain)
        try:
            while left and not self._stop.is_set():
                delivery = left.pop(0)
                self._taken(delivery.message)
                try:
                    if not await self._handle(delivery):
                        break
                finally:
                    self._let_go(delivery)
            if left:
                await self._settling.settle_quietly(left, "release")
        finally:
            for one in left:
                self._let_go(one)

    def _let_go(self, delivery: Delivery) -> None:
        self._held.discard(delivery)
        self._room.set()

    async def _handle(self, delivery: Delivery) -> bool:
        """Handle and settle one message; True if nothing failed."""
        try:
            value = await self._value(delivery)
            if self._work.reply and value is not None:
                await self._settling.settle_and_send(delivery, answer(delivery.message, value))
            elif self._work.auto_ack:
                await self._settling.settle(delivery, "ack")
        except _Over:
            return False
        except Exception as error:
            self.failed_count += 1
            await self._tell(delivery, error)
            outcome, fields = failure(error)
            if not delivery.over:
                await self._settling.settle_quietly([delivery], outcome, **fields)
            return False
        self.processed_count += 1
        return True

    async def _value(self, delivery: Delivery) -> Any:
        """What the handler returns, or raises; ``_Over`` if it had to end early."""
        context = contextvars.copy_context()
        context.run(handling.set, self)
        handler = begin(self._for_mail(), delivery.message, context, self._threads)
        self._handlers.add(handler)
        try:
            await asyncio.wait({handler, delivery.lost}, return_when=asyncio.FIRST_COMPLETED)
            if not handler.done():
                await self._lost(delivery, handler)
        finally:
            self._handlers.discard(handler)
            handler.cancel()
        if not handler.cancelled():
            return handler.result()
        if self._no_more_time:
            await self._settling.settle_quietly([delivery], "release")
            raise _Over
        raise HandlerCancelled

    async def _lost(self, delivery: Delivery, handler: asyncio.Future[Any]) -> None:
        """Cancel the handler, tell the error handler; a thread cannot be cancelled and keeps its place."""
        if self._threads is None:
            handler.cancel()
        self.failed_count += 1
        await self._tell(delivery, delivery.lost.result())
        await asyncio.wait({handler})
        if not handler.cancelled():
            handler.exception()  # of no more interest
        raise _Over

    async def _tell(self, delivery: Delivery, error: Exception) -> None:
        """Tell of a failure. An error handler that fails itself changes nothing."""
        message, handler = delivery.message, self._work.error_handler
        if handler is None:
            _log.warning("message %d of %s failed", message["id"], message["mailbox"], exc_info=error)
            return
        try:
            if is_async(handler):
                await handler(message, error)
            else:
                await asyncio.to_thread(handler, message, error)
        except Exception:
            _log.exception("the error handler failed on message %d of %s", message["id"], message["mailbox"])
