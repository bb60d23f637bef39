"""One task in an executor's hands: what it says becomes updates under the lease, until it ends or asks.

The rules are those of the SDK's own server: one message alone, or a task; one call for each message; a
failure is the end of the task.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, NamedTuple

from a2a.server.agent_execution import AgentExecutor
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import A2AError

from mq9_a2a.listening import words
from mq9_a2a.listening.events import Event, Events
from mq9_a2a.words import INTERRUPTED, TERMINAL
from mq9_mcp.client import Job, LeaseLost, Mq9Client, Refused, TaskCanceled, TaskFailed

CANCEL_S = 30.0  # so long may an executor take to cancel
ASKED_S = 1.0  # an executor that asks, and goes on so long, waits for something else than the answer
_log = logging.getLogger("mq9_a2a.listening")


class Wrong(Exception):
    """The executor said what makes no sense; the text is for the asker."""


class Question(NamedTuple):
    """The executor asked; it is put to the asker when the executor returns."""

    state: str
    parts: list[dict[str, Any]]
    told: bool = False


class Work:
    """One lease of one task, worked on by an executor."""

    def __init__(self, client: Mq9Client, executor: AgentExecutor, agent: str, job: Job) -> None:
        self.client = client
        self.executor = executor
        self.agent = agent
        self.job = job
        self.events = Events()
        self._told = job.behind(self.events.stored)
        self.over = False
        self._alone: bool | None = None  # whether it answers with a message alone
        self._question: Question | None = None
        self._unanswered: list[Mapping[str, Any]] = []  # follow-ups that are to be calls
        self._heard: set[Any] = set()  # ids of those and of the ones that were
        self._new = job.attempt == 1 and job.question is None

    async def run(self) -> None:
        """Let the executor work until the task ends or asks."""
        try:
            await self._run()
        except (TaskCanceled, TaskFailed, LeaseLost):
            raise
        except Exception as error:
            raise TaskFailed(told(error)) from error
        finally:
            self.events.close()

    async def _run(self) -> None:
        message: Mapping[str, Any] = self.job.answer or self.job.message
        while True:
            await self._execute(message)
            while not self.over and not self._hear_follow_ups(self.job.follow_ups):
                await self._end()
            if self.over:
                return
            await self._say_question()
            message = self._unanswered.pop(0)

    def _hear_follow_ups(self, messages: Iterable[Mapping[str, Any]]) -> bool:
        """True if the asker has said what the executor was not called with yet."""
        for one in messages:
            if one["id"] not in self._heard:
                self._heard.add(one["id"])
                self._unanswered.append(one)
        return bool(self._unanswered)

    async def _end(self) -> None:
        """The executor returned: so ends the task, unless its asker has said something that nobody heard."""
        if self._question is None and self._alone is None:
            raise Wrong("The agent ended without an answer.")
        # What was answered does not come again with the next lease.
        fields = {"checkpoint": self.job.checkpoint_value or {}} if self._heard else {}
        await self.job.update(**fields)
        task = await self._task()  # knows of more than the replies that have come so far
        if self._hear_follow_ups([*self.job.follow_ups, *words.said_meanwhile(task, self.job)]):
            return
        state, parts = ("completed", []) if self._question is None else self._question[:2]
        try:
            await self.job.end(state, parts or None, expected_version=task["version"])
        except Refused as error:
            if error.code != "VERSION_CONFLICT":
                raise
        else:
            self._close()

    # -- calls of the executor

    async def _execute(self, message: Mapping[str, Any]) -> None:
        context = words.context_of(self._told, self.agent, message, None if self._new else await self._task())
        work = asyncio.create_task(_run(self.executor.execute(context, self.events)), name="mq9-execute")
        try:
            try:
                await self._hear(work)
            except TaskCanceled:
                await self._cancel(work)
                return
            if self.over:
                await asyncio.wait({work})
                _log_failure(work)
            else:
                work.result()
        finally:
            await _stop(work)
            self._new = False

    async def _cancel(self, work: asyncio.Task[None]) -> None:
        """Tell the executor, then end what runs; whatever it says of the task's end is the end."""
        context = words.context_of(self._told, self.agent, None, await self._task())
        stopping = asyncio.create_task(_run(self.executor.cancel(context, self.events)), name="mq9-cancel")
        try:
            async with asyncio.timeout(CANCEL_S):
                await self._hear(stopping)
        except TimeoutError:
            _log.warning("task %s: cancel takes more than %s s", self.job.task, CANCEL_S)
        except (Wrong, Refused) as error:
            _log.warning("task %s: what was said at its cancel is left out: %s", self.job.task, error)
        finally:
            await _stop(stopping)
        _log_failure(stopping)
        await _stop(work)
        while not self.over and (event := self.events.take()) is not None:
            await self._take(event)
            self.events.taken()
        if not self.over:
            await self.job.end("canceled")
            self._close()

    async def _task(self) -> dict[str, Any]:
        reply = await self.client.task_get(task=self.job.task, history=words.HISTORY_MAX)
        return dict(reply["task"])

    # -- what it says

    async def _hear(self, work: asyncio.Task[None]) -> None:
        """Pass on what is said until the task is over, or ``work`` is done and all is said."""
        while not self.over:
            event = self.events.take()
            if event is not None:
                await self._take(event)
                self.events.taken()
            elif work.done():
                return
            else:
                asks = self._question is not None and not self._question.told
                await self.events.moved(work, ASKED_S if asks else None)
                if asks and not self.events.ready and not work.done():
                    await self._say_question()

    async def _take(self, event: Event) -> None:
        if isinstance(event, pb.Message):
            await self._reply(event)
            return
        if self._alone:
            raise Wrong("The agent answered with a message, and then with a task.")
        self._alone = False
        if isinstance(event, pb.Task):
            await self._take_task(event)
            return
        if event.task_id != self.job.task or event.context_id not in ("", self.job.message["session"]):
            raise Wrong("The agent spoke of another task.")
        if isinstance(event, pb.TaskArtifactUpdateEvent):
            piece = words.piece_of(event.artifact, event.append, event.last_chunk)
            await self.job.update(artifacts=[piece])
        else:
            await self._take_status(event.status, words.progress_of(event))

    async def _reply(self, message: pb.Message) -> None:
        if self._alone is False:
            raise Wrong("The agent answered with a task, and then with a message.")
        self._alone = True
        await self.job.end("completed", words.message_parts(message, direct=True) or None)
        self._close()

    async def _take_task(self, task: pb.Task) -> None:
        """A task as the executor begins it; one that exists is not replaced, but may end."""
        if task.id != self.job.task:
            raise Wrong("The agent spoke of another task.")
        if self._new:
            for artifact in task.artifacts:
                await self.job.update(artifacts=[words.piece_of(artifact)])
        if self._new or words.state_of(task.status.state) in TERMINAL:
            await self._take_status(task.status, None)

    async def _take_status(self, status: pb.TaskStatus, progress: dict[str, Any] | None) -> None:
        state, parts = words.state_of(status.state), words.message_parts(status.message)
        if state in INTERRUPTED:
            self._question = Question(state, parts)
            return
        await self._say_question()
        self._question = None
        if state in TERMINAL:
            await self.job.end(state, parts or None)
            self._close()
            return
        said = ({"message": parts} if parts else {}) | ({"progress": progress} if progress else {})
        if said:
            await self.job.update(**said)

    async def _say_question(self) -> None:
        """The executor goes on though it asked: then the question is a word on the way."""
        asked = self._question
        if asked is not None and not asked.told:
            self._question = asked._replace(told=True)
            if asked.parts:
                await self.job.update(message=asked.parts)

    def _close(self) -> None:
        self.over = True
        self.events.close()


async def _run(work: Coroutine[Any, Any, None]) -> None:
    await work


async def _stop(work: asyncio.Task[None]) -> None:
    work.cancel()
    await asyncio.wait({work})
    if not work.cancelled():
        work.exception()  # of no more interest


def _log_failure(work: asyncio.Task[None]) -> None:
    if work.done() and not work.cancelled() and work.exception() is not None:
        _log.warning("the agent failed at the end of its work", exc_info=work.exception())


def told(error: Exception) -> str:
    """What the asker hears of a failure: what is meant for it, and of anything else the kind alone."""
    if isinstance(error, Wrong):
        return str(error)
    if isinstance(error, A2AError):
        return f"The agent failed: {error.message or type(error).__name__}"
    if isinstance(error, Refused):
        return f"The broker refused what the agent said: {error.message}"
    return f"The agent failed: {type(error).__name__}"
