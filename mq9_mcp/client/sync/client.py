"""The sync client: mq9's names and ``consume``, made from the async client's."""

# Made by `make client`; edits here are lost.

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, Self

from mq9_mcp.client.background import Background, passed_on
from mq9_mcp.client.consumer import Consumer
from mq9_mcp.client.delivery import ErrorHandler, Handler
from mq9_mcp.client.mq9_names import Mq9Message
from mq9_mcp.client.sync.agent import SyncAgentCommands
from mq9_mcp.client.sync.base import SyncBase
from mq9_mcp.client.sync.group import SyncGroupCommands
from mq9_mcp.client.sync.mailbox import SyncMailboxCommands
from mq9_mcp.client.sync.push import SyncPushCommands
from mq9_mcp.client.sync.session import SyncSessionCommands
from mq9_mcp.client.sync.task import SyncTaskCommands
from mq9_mcp.domain.errors import Mq9Error


class SyncConsumer:
    """A running worker, made by ``consume``. ``with`` or ``stop()`` ends it in order.

    ``processed_count``: messages acked. ``failed_count``: failed, rejected, or their lease lost.
    ``error``: what ended it before it was stopped.
    """

    def __init__(self, background: Background, consumer: Consumer) -> None:
        self._background = background
        self._consumer = consumer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._background.run(self._consumer.__aexit__, *exception)

    @property
    def processed_count(self) -> int:
        """As ``processed_count`` of ``Consumer``."""
        return self._consumer.processed_count

    @property
    def failed_count(self) -> int:
        """As ``failed_count`` of ``Consumer``."""
        return self._consumer.failed_count

    @property
    def error(self) -> Mq9Error | None:
        """As ``error`` of ``Consumer``."""
        return self._consumer.error

    @property
    def is_running(self) -> bool:
        """False once it has stopped, or ended by an error that no repetition mends."""
        return self._consumer.is_running

    def wait(
        self,
    ) -> None:
        """Return when it has stopped; raise the error if one has ended it."""
        self._background.run(self._consumer.wait)

    def stop(
        self,
        timeout_s: float | None = None,
    ) -> None:
        """Take no more, let what has begun come to its end, give back the rest.

        After ``timeout_s`` the handlers are cancelled and their messages given back. Called from within
        a handler, it does not wait for that handler's end.
        """
        self._background.run(self._consumer.stop, timeout_s=timeout_s)


class SyncMq9Client(
    SyncMailboxCommands,
    SyncTaskCommands,
    SyncGroupCommands,
    SyncSessionCommands,
    SyncAgentCommands,
    SyncPushCommands,
    SyncBase,
):
    """``Mq9Client`` for code without an event loop: the same arguments, methods and promises.

    ``with`` closes it. Threads may share it.

    ``url``: else ``MQ9_URL``, else the daemon of the data directory, else ``http://127.0.0.1:9009``.
    ``agent``: who calls, else ``MQ9_AGENT``. ``token``: the credential, else ``MQ9_TOKEN``.
    ``timeout_s``: how long a call may take with all its repetitions, beside what it asks to wait itself.
    """

    def call(
        self,
        command: str,
        arguments: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Call any command with arguments as the wire has them; raises ``Mq9Error``."""
        return self._background.run(self._client.call, command=command, arguments=arguments)

    def task_follow(
        self,
        task: str,
        after: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """A task as it stands, ``{task}``, then ``{entry}`` for each later entry of its history; to its end.

        With ``after`` it begins behind the entry of that number, without the task; 0 is the whole history.
        A line that is cut is mended, and nothing is told twice or left out. If no broker answers for
        ``timeout_s``, ``ConnectionFailed`` is raised; go on with the number of the last entry.
        """
        return self._background.each(self._client.task_follow(task=task, after=after))

    def consume(
        self,
        mailbox: str | list[str] | tuple[str, ...] | None,
        handler: Handler,
        *,
        group: str | None = None,
        concurrency: int = 1,
        lease_s: float = 300,
        wait_s: float = 20.0,
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
    ) -> SyncConsumer:
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
        return SyncConsumer(
            self._background, self._background.call(self._client.consume, passed_on(locals()))
        )

    def work(
        self,
        mailbox: str | list[str] | tuple[str, ...] | None,
        handler: Callable[[Any], Any],
        *,
        concurrency: int = 1,
        lease_s: float = 300,
        wait_s: float = 20.0,
        session: str | None = None,
        tags_any: list[str] | tuple[str, ...] = (),
        tags_all: list[str] | tuple[str, ...] = (),
        tags_none: list[str] | tuple[str, ...] = (),
        priority_min: Literal["critical", "urgent", "normal"] = "normal",
        error_handler: ErrorHandler | None = None,
    ) -> SyncConsumer:
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
        return SyncConsumer(self._background, self._background.call(self._client.work, passed_on(locals())))

    def send(
        self,
        addr: str,
        payload: bytes | str | Mapping[str, Any],
        *,
        priority: str = "normal",
        key: str | None = None,
        delay: float | None = None,
        ttl: float | None = None,
        tags: list[str] | tuple[str, ...] | None = None,
    ) -> int:
        """Send a message; returns its id when it is on disk. ``key`` is the ``dedup_key``.

        ``delay`` and ``ttl`` are seconds; 0 means none.
        """
        return self._background.run(self._client.send, **passed_on(locals()))

    def fetch(
        self,
        addr: str,
        *,
        group_name: str | None = None,
        deliver: str | int = "earliest",
        from_time: float | str | datetime | None = None,
        from_id: int | None = None,
        force_deliver: bool = False,
        num_msgs: int = 100,
        max_wait_ms: int = 500,
        lease_s: float | None = None,
    ) -> list[Mq9Message]:
        """Take up to ``num_msgs`` messages under a lease; settle each with ``ack``.

        ``deliver`` (``earliest``, ``latest``, ``from_time``, ``from_id``) counts only when the group is
        new, or with ``force_deliver``. Without ``group_name`` it is the group ``default``.
        """
        return self._background.run(self._client.fetch, **passed_on(locals()))

    def ack(
        self,
        addr: str,
        group_name: str | None,
        msg_id: int,
    ) -> None:
        """Settle one message that this client fetched, and nothing else; raises if its lease is lost."""
        self._background.run(self._client.ack, addr=addr, group_name=group_name, msg_id=msg_id)

    def query(
        self,
        addr: str,
        *,
        key: str | None = None,
        limit: int | None = None,
        since: float | str | datetime | None = None,
    ) -> list[Mq9Message]:
        """Look at the newest ``limit`` (20) messages, oldest first, without taking them.

        ``key``: only those sent under this ``dedup_key``; every message since ``since`` is looked at.
        """
        return self._background.run(self._client.query, addr=addr, key=key, limit=limit, since=since)

    def delete(
        self,
        addr: str,
        msg_id: int,
    ) -> None:
        """Remove one message; a missing one is refused."""
        self._background.run(self._client.delete, addr=addr, msg_id=msg_id)
