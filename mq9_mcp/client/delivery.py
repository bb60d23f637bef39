"""One message in a consumer's hands, and its handler at work on it."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from typing import Any

from mq9_mcp.client.mq9_names import Mq9Message, part_of
from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.domain.limits import limit

Handler = Callable[[Mq9Message], Any]
ErrorHandler = Callable[[Mq9Message, Exception], Any]


class Reject(Exception):
    """Raised by a handler: this message is not to be tried again; it goes to the dead letters."""

    def __init__(self, reason: str = "rejected", description: str | None = None) -> None:
        super().__init__(description or reason)
        self.reason = reason
        self.description = description


class HandlerCancelled(Exception):
    """The handler ended by a cancellation that nobody here asked for: a failure as any other."""


class Delivery:
    """A leased message. ``settling``: its outcome is on the way, so it needs no heartbeat.

    ``over``: nothing more is to be settled. ``lost`` gets the error when the lease is lost.
    """

    def __init__(self, message: Mapping[str, Any]) -> None:
        self.message = Mq9Message(message)
        self.lease: str = message["lease"]
        self.settling = False
        self.over = False
        self.lost: asyncio.Future[Mq9Error] = asyncio.get_running_loop().create_future()

    def lose(self, error: Mq9Error) -> None:
        """The broker says that the lease is lost."""
        self.settling = self.over = True
        if not self.lost.done():
            self.lost.set_result(error)

    def heard(self, result: Mapping[str, Any]) -> None:
        """A heartbeat was answered."""

    def item(self, outcome: str, **fields: Any) -> dict[str, Any]:
        """An item of ``mailbox_ack``."""
        return {"lease": self.lease, "outcome": outcome, **fields}


def chains(messages: Iterable[Mapping[str, Any]], kind: type[Delivery] = Delivery) -> list[list[Delivery]]:
    """The messages of one fetch, those of one session in a row: they are handled one after the other."""
    found: dict[tuple[str, str], list[Delivery]] = {}
    for message in messages:
        found.setdefault((message["mailbox"], message["session"]), []).append(kind(message))
    return list(found.values())


def is_async(function: Callable[..., Any]) -> bool:
    """True for a coroutine function, also as a method, a partial or an object that is called."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def begin(
    handler: Handler, message: Mq9Message, context: contextvars.Context, threads: Executor | None
) -> asyncio.Future[Any]:
    """Let the handler work: a coroutine function on the loop, any other function in a thread."""
    loop = asyncio.get_running_loop()
    if threads is None:
        return loop.create_task(_awaited(handler, message), name="mq9-handler", context=context)
    return loop.run_in_executor(threads, context.run, handler, message)


async def _awaited(handler: Handler, message: Mq9Message) -> Any:
    return await handler(message)


def answer(message: Mapping[str, Any], value: Any) -> dict[str, Any]:
    """The reply that a handler's value stands for: a str, bytes, a dict as data, or a list of Parts."""
    if not isinstance(value, str | bytes | dict | list):
        raise TypeError(f"a reply of type {type(value).__name__}; accepted: str, bytes, dict, list of Parts")
    return {"in_reply_to": message["id"], "parts": value if isinstance(value, list) else [part_of(value)]}


def failure(error: Exception) -> tuple[str, dict[str, str]]:
    """The outcome of a failed message and what it says: an error's code or the exception's type."""
    if not isinstance(error, Reject):
        return "nack", {"reason": error.code if isinstance(error, Mq9Error) else type(error).__name__}
    fields = {"reason": _cut(error.reason, "reason_characters_max")}
    if error.description is not None:
        fields["description"] = _cut(error.description, "description_characters_max")
    return "reject", fields


def _cut(text: str, most: str) -> str:
    """Text that the broker takes: no longer than its limit, and such as UTF-8 can write."""
    return text[: limit(most)].encode(errors="replace").decode()
