"""A worker of tasks: a consumer whose handlers get jobs, and whose leases end by what is said of the task."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import aclosing
from typing import Any

from mq9_mcp.client.consumer import Consumer, Work, handling
from mq9_mcp.client.delivery import Delivery, HandlerCancelled, Reject, failure, is_async
from mq9_mcp.client.following import Following
from mq9_mcp.client.interrupt import Interruptible
from mq9_mcp.client.job import Job, SyncJob
from mq9_mcp.client.job_core import (
    JobCore,
    LeaseLost,
    Suspended,
    TaskCanceled,
    TaskFailed,
    parts_of,
)
from mq9_mcp.client.retry import pause_s
from mq9_mcp.domain.errors import Mq9Error, Refused, Unavailable

ASKING_MAX = 100  # plain functions that wait for an answer, each in a thread
WATCH_AFTER_S = 0.2  # most tasks are done by then, and none of their calls is for nothing
WATCH_S = 5.0  # one look at a task from outside
WATCHERS = 16  # of them at a time
_log = logging.getLogger("mq9_mcp.client")


class JobDelivery(Delivery):
    """A leased message of a task. ``done`` tells whether what is behind it in its session may be handled."""

    def __init__(self, message: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.core: JobCore | None = None
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def lose(self, error: Mq9Error) -> None:
        """The broker says that the lease is lost."""
        super().lose(error)
        if self.core is not None:
            self.core.lose(error.message)

    def heard(self, result: Mapping[str, Any]) -> None:
        """What a heartbeat brought."""
        if self.core is not None:
            self.core.hear(result)

    def end(self, well: bool) -> None:
        """The message is in nobody's hands any more."""
        if not self.done.done():
            self.done.set_result(well)


class Worker(Consumer):
    """A running worker, made by ``work``. ``async with`` or ``await stop()`` ends it in order.

    ``processed_count``: tasks completed. ``failed_count``: failed, tried again, rejected, or lost.
    ``error``: what ended it before it was stopped.
    """

    _threads_more = ASKING_MAX
    _delivery = JobDelivery

    def __init__(self, client: Following, work: Work) -> None:
        self._jobs: dict[str, JobCore] = {}
        self._asking: dict[str, JobCore] = {}
        self._watching = asyncio.Semaphore(WATCHERS)
        self._following = client
        self._lease_s: float = work.fetch["lease_s"]
        super().__init__(client, work, lambda _: None)

    async def stop(self, timeout_s: float | None = None) -> None:
        """Take no more, let what has begun come to its end, give back the rest.

        Handlers that wait for an answer end at once: the answer will begin them anew. After ``timeout_s``
        the others are cancelled and their tasks given back. Called from within a handler, it does not wait
        for that handler's end.
        """
        self._stop.set()
        for core in list(self._asking.values()):
            core.suspend()
        await super().stop(timeout_s)

    # -- what a job needs

    @property
    def stopping(self) -> bool:
        """True once it is time to end."""
        return self._stop.is_set()

    def waits(self, core: JobCore) -> None:
        """The job asks: the next message of its task is for it. Once its lease is over, its place is free."""
        self._asking[core.task] = core
        if core.delivery.over:
            self._end(core.delivery, well=True)

    def goes_on(self, core: JobCore) -> None:
        """The job waits no more."""
        if self._asking.get(core.task) is core:
            del self._asking[core.task]

    def beat(self) -> None:
        """Ask the broker at once what is new."""
        self._settling.beat_now()

    def _end(self, delivery: Delivery, *, well: bool) -> None:
        self._let_go(delivery)
        if isinstance(delivery, JobDelivery):
            delivery.end(well)

    # -- taking tasks

    def _told(self, reply: Mapping[str, Any]) -> None:
        """What a fetch says of tasks that are worked on."""
        for task in reply["cancel_requested"]:
            if task in self._jobs:
                self._jobs[task].cancel()
        for message in reply.get("follow_ups", ()):
            if message["task"] in self._jobs:
                self._jobs[message["task"]].hear({"follow_ups": [message]})

    async def _handle(self, delivery: Delivery) -> bool:
        """One message, until its lease is over; True if what is behind it may be handled."""
        assert isinstance(delivery, JobDelivery)
        message = delivery.message
        if "task" not in message or message.get("task_state") != "working":
            return await self._refuse(delivery)
        waiting = self._asking.get(message["task"])
        delivery.core = waiting
        if waiting is None or not await waiting.offer(delivery):
            core = delivery.core = JobCore(self._client, self, delivery, self._lease_s)
            self._jobs[core.task] = core
            job = asyncio.create_task(self._work_on(core), name="mq9-job")
            self._chains.add(job)
            job.add_done_callback(self._chains.discard)
        return await delivery.done

    async def _refuse(self, delivery: Delivery) -> bool:
        """Mail that is no task has no place here, and is not to be lost: it goes to the dead letters."""
        error = Reject("no-task", "the worker of this mailbox takes tasks only")
        self.failed_count += 1
        await self._tell(delivery, error)
        outcome, fields = failure(error)
        await self._settling.settle_quietly([delivery], outcome, **fields)
        return True

    # -- working on them

    async def _work_on(self, core: JobCore) -> None:
        watch = asyncio.create_task(self._watch(core), name="mq9-watch")
        well = False
        try:
            well = await self._worked(core)
        finally:
            watch.cancel()
            if self._jobs.get(core.task) is core:
                del self._jobs[core.task]
            self._end(core.delivery, well=well)

    async def _worked(self, core: JobCore) -> bool:
        """Let the handler work, and say how the task ends; True if it did not fail."""
        try:
            value = await self._job_value(core)
            if core.ended is None:
                await self._finish(core, "completed", value)
        except Suspended:
            if core.held:  # also an answer that came in the moment in which nobody waited any more
                await self._settling.settle_quietly([core.delivery], "release")
            return True
        except TaskCanceled:
            await self._finish_quietly(core, "canceled")
            return True
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if core.ended is None:
                self.failed_count += 1
                await self._tell(core.delivery, error)
                await self._fail(core, error)
                return False
            _log.warning("the handler failed after the end of task %s", core.task, exc_info=error)
        if core.ended in (None, "completed"):
            self.processed_count += 1
        elif core.ended in ("failed", "rejected"):
            self.failed_count += 1
        return True

    async def _job_value(self, core: JobCore) -> Any:
        """What the handler returns, or raises."""
        if core.question is not None:
            await self._recall(core)
        context = contextvars.copy_context()
        context.run(handling.set, self)
        work = begin(self._work.handler, core, context, self._threads)
        self._handlers.add(work)
        try:
            await asyncio.wait({work})
        finally:
            self._handlers.discard(work)
            work.cancel()
        if not work.cancelled():
            return work.result()
        if self._no_more_time:
            raise Suspended("the worker has no more time")
        raise HandlerCancelled

    async def _recall(self, core: JobCore) -> None:
        """Read what happened up to the lease of the answer."""
        entries: list[Mapping[str, Any]] = []
        async with aclosing(self._following.task_follow(core.task, after=0)) as history:
            async for told in history:
                entry = told["entry"]
                entries.append(entry)
                if entry["kind"] == "leased" and entry.get("message") == core.delivery.message["id"]:
                    break
        core.recall(entries)

    async def _finish(self, core: JobCore, state: str, content: Any = None) -> None:
        """The last word."""
        if not core.held:
            raise core.lost or LeaseLost("the task is not in this worker's hands any more")
        fields = {"state": state} | ({} if content is None else {"message": parts_of(content)})
        core.delivery.settling = True
        await core.say(fields)
        core.delivery.over = True

    async def _finish_quietly(self, core: JobCore, state: str, content: Any = None) -> None:
        if core.held:
            try:
                await self._finish(core, state, content)
            except (Mq9Error, LeaseLost, TypeError) as error:
                _log.warning("could not end task %s: %s", core.task, error)

    async def _fail(self, core: JobCore, error: Exception) -> None:
        """A handler failed: ``TaskFailed`` ends the task, anything else gives it back or rejects it."""
        if isinstance(error, TaskFailed):
            await self._finish_quietly(core, "failed", error.content)
        elif core.held:
            outcome, fields = failure(error)
            await self._settling.settle_quietly([core.delivery], outcome, **fields)

    async def _watch(self, core: JobCore) -> None:
        """Look at the task from outside: a cancel, a follow-up, an answer that another worker has."""
        look: dict[str, Any] = {"task": core.task}
        failures = 0
        await asyncio.sleep(WATCH_AFTER_S)
        while True:
            try:
                async with self._watching:
                    task = (await self._client.call("task_get", look))["task"]
            except Unavailable:
                failures += 1
                await asyncio.sleep(pause_s(failures))
                continue
            except Refused:
                return
            failures = 0
            core.saw(task, self._following.agent or "")
            look |= {"after_version": task["version"], "wait_s": WATCH_S}


def begin(
    handler: Callable[..., Any], core: JobCore, context: contextvars.Context, threads: Executor | None
) -> asyncio.Future[Any]:
    """Let the handler work: a coroutine function on the loop, any other function in a thread."""
    loop = asyncio.get_running_loop()
    if threads is not None:
        return loop.run_in_executor(threads, context.run, handler, SyncJob(core, loop))
    assert is_async(handler)
    work = Interruptible(handler(Job(core)))
    core.interrupt = work.throw

    async def run() -> Any:
        return await work

    work.task = loop.create_task(run(), name="mq9-handler", context=context)
    return work.task
