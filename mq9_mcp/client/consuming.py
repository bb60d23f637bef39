"""``consume``: one method under both signatures, this broker's and mq9's."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping
from typing import Any, Literal

from mq9_mcp.client.consumer import Consumer, Work
from mq9_mcp.client.delivery import ErrorHandler, Handler
from mq9_mcp.client.following import Following
from mq9_mcp.client.mq9_names import DEFAULT_GROUP, Mq9Names
from mq9_mcp.client.worker import Worker
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.limits import limit

WAIT_S = 20.0
WAIT_LEAST_S = 0.1  # a fetch that does not wait, again and again, would only make heat
FETCH_MAX = limit("fetch_messages_max")


class Consuming(Mq9Names, Following, ABC):
    """Makes consumers, and knows those that run."""

    def __init__(self) -> None:
        super().__init__()
        self._consumers: set[Consumer] = set()

    def consume(
        self,
        mailbox: str | list[str] | tuple[str, ...] | None,
        handler: Handler,
        *,
        group: str | None = None,
        concurrency: int = 1,
        lease_s: float = limit("lease_s_default"),
        wait_s: float = WAIT_S,
        deliver: str | int = "earliest",
        session: str | None = None,
        tags_any: list[str] | tuple[str, ...] = (),
        tags_all: list[str] | tuple[str, ...] = (),
        tags_none: list[str] | tuple[str, ...] = (),
        priority_min: Literal["critical", "urgent", "normal"] = "normal",
        reply: bool = False,
        error_handler: ErrorHandler | None = None,
        auto_ack: bool = True,
        group_name: str | None = None,
        num_msgs: int | None = None,
        max_wait_ms: int | None = None,
    ) -> Consumer:
        """Work on a mailbox in the background: ``handler(message)`` for every message, until it is stopped.

        The handler is a coroutine function, or a plain function, which runs in a thread. When it returns,
        the message is acked; when it raises, the message is tried again after the mailbox's backoff;
        ``Reject(reason, description)`` sends it to the dead letters. At most ``concurrency`` messages are
        held, and their leases are kept while their handlers work. If a lease is lost all the same, the
        handler is cancelled. ``error_handler(message, error)`` is told of every failure. With ``reply``
        what the handler returns (a str, bytes, a dict as data, or a list of Parts) is sent as the reply
        in the same commit as the ack. With ``auto_ack=False`` the handler settles its message itself.

        ``group_name``, ``num_msgs`` and ``max_wait_ms`` are mq9's words for ``group``, the most messages
        of one fetch, and ``wait_s``.
        """
        name = group or group_name or DEFAULT_GROUP
        wait_s = wait_s if max_wait_ms is None else max_wait_ms / 1000
        _check(concurrency, wait_s)
        fetch: dict[str, Any] = {"group": name, "lease_s": lease_s, "wait_s": wait_s, "deliver": deliver}
        optional = {"mailbox": mailbox, "session": session, "tags_any": tags_any, "tags_all": tags_all}
        optional |= {"tags_none": tags_none, "priority_min": priority_min}
        fetch |= {key: value for key, value in optional.items() if value}
        most = FETCH_MAX if num_msgs is None else max(1, num_msgs)

        def taken(message: Mapping[str, Any]) -> None:
            if not auto_ack:
                self._leases.keep(name, message)

        work = Work(handler, fetch, concurrency, most, auto_ack, reply, error_handler)
        consumer = Consumer(self, work, taken)
        self._consumers.add(consumer)
        consumer.when_ended(self._consumers.discard)
        return consumer

    def work(
        self,
        mailbox: str | list[str] | tuple[str, ...] | None,
        handler: Callable[[Any], Any],
        *,
        concurrency: int = 1,
        lease_s: float = limit("lease_s_default"),
        wait_s: float = WAIT_S,
        session: str | None = None,
        tags_any: list[str] | tuple[str, ...] = (),
        tags_all: list[str] | tuple[str, ...] = (),
        tags_none: list[str] | tuple[str, ...] = (),
        priority_min: Literal["critical", "urgent", "normal"] = "normal",
        error_handler: ErrorHandler | None = None,
    ) -> Consumer:
        """Work on the tasks of an agent in the background: ``handler(job)`` for every one, until stopped.

        A coroutine function gets a ``Job``, a plain function, which runs in a thread, a ``SyncJob``. What it
        returns is what the asker hears: the task is completed, with a str, bytes, a dict as data, a list of
        Parts, or nothing. ``TaskFailed`` fails the task, ``Reject`` rejects it, any other exception has it
        tried again after the mailbox's backoff, with its last checkpoint. At most ``concurrency`` tasks are
        held, and their leases are kept; one that waits for an answer is not held. ``TaskCanceled`` is raised
        in the handler when the asker wants the task canceled, and cancels it unless it is caught;
        ``LeaseLost`` when the task is somebody else's. ``error_handler(message, error)`` is told of every
        failure. Mail that is no task goes to the dead letters, with the reason ``no-task``.
        """
        _check(concurrency, wait_s)
        fetch: dict[str, Any] = {"group": DEFAULT_GROUP, "lease_s": lease_s, "wait_s": wait_s}
        optional = {"mailbox": mailbox, "session": session, "tags_any": tags_any, "tags_all": tags_all}
        optional |= {"tags_none": tags_none, "priority_min": priority_min}
        fetch |= {key: value for key, value in optional.items() if value}
        worker = Worker(self, Work(handler, fetch, concurrency, FETCH_MAX, False, False, error_handler))
        self._consumers.add(worker)
        worker.when_ended(self._consumers.discard)
        return worker


def _check(concurrency: int, wait_s: float) -> None:
    if not 1 <= concurrency <= FETCH_MAX:
        raise _refusal("concurrency", concurrency, f"1 to {FETCH_MAX}")
    if wait_s < WAIT_LEAST_S:
        raise _refusal("wait_s", wait_s, f"{WAIT_LEAST_S} to {limit('wait_s_max')}")


def _refusal(name: str, value: Any, accepted: str) -> Refused:
    return Refused("INVALID_ARGUMENT", f"{name}: {value!r}; accepted: {accepted}")
