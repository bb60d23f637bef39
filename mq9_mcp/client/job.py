"""A task in the hands of a handler: what it is about, and what may be said about it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from mq9_mcp.client.job_core import JobCore, given
from mq9_mcp.client.mq9_names import Mq9Message

T = TypeVar("T")
Before = Callable[[], Awaitable[None]]


class Facts:
    """What a handler knows of its task."""

    def __init__(self, core: JobCore) -> None:
        self._core = core

    @property
    def task(self) -> str:
        """The task's id."""
        return self._core.task

    @property
    def message(self) -> Mq9Message:
        """The message that is leased: the one that opened the task, or the last answer."""
        return self._core.delivery.message

    @property
    def parts(self) -> list[dict[str, Any]]:
        """What the task is about: the parts of the message that opened it, also after an answer."""
        return self._core.parts

    @property
    def text(self) -> str:
        """The text in ``parts``."""
        return "\n".join(part["text"] for part in self.parts if "text" in part)

    @property
    def data(self) -> Any:
        """The first data in ``parts``, else None."""
        return next((part["data"] for part in self.parts if "data" in part), None)

    @property
    def attempt(self) -> int:
        """1, and one more for every attempt at the message that failed."""
        attempt: int = self.message["attempt"]
        return attempt

    @property
    def fence(self) -> int:
        """Rises with every lease; pass it on to effects outside."""
        fence: int = self.message["fence"]
        return fence

    @property
    def checkpoint_value(self) -> Any:
        """The last checkpoint, of this attempt or one before it, else None."""
        return self._core.checkpoint

    @property
    def question(self) -> dict[str, Any] | None:
        """The question that ``answer`` answers."""
        return self._core.question

    @property
    def answer(self) -> Mq9Message | None:
        """The answer to the task's last question."""
        return self._core.answer

    @property
    def follow_ups(self) -> list[Mq9Message]:
        """What the asker said since, as far as it is in no checkpoint of an earlier attempt."""
        return list(self._core.follow_ups)

    @property
    def cancel_requested(self) -> bool:
        """True once the asker wants the task canceled."""
        return self._core.cancel_requested


class Job(Facts):
    """A task that a coroutine works on. Every word about it renews the lease.

    Any call raises ``LeaseLost`` once the lease is lost, and ``TaskCanceled`` once if cancel is asked for.
    """

    def __init__(self, core: JobCore, before: Before | None = None) -> None:
        super().__init__(core)
        self._before = before

    def behind(self, before: Before) -> Job:
        """The same job, whose every word waits for ``before``: for who says some of it in another way."""
        return Job(self._core, before)

    async def _ready(self) -> JobCore:
        if self._before is not None:
            await self._before()
        return self._core

    async def update(self, **fields: Any) -> dict[str, Any]:
        """``task_update`` with any of its fields but ``state``; returns its reply."""
        return await (await self._ready()).update(fields)

    async def progress(
        self, done: float | None = None, total: float | None = None, note: str | None = None
    ) -> None:
        """Tell how far it is."""
        await (await self._ready()).update({"progress": given(done=done, total=total, note=note)})

    async def checkpoint(self, value: Any) -> None:
        """Store where to go on from, for whoever gets the next lease."""
        await (await self._ready()).update({"checkpoint": value})

    async def artifact(
        self,
        content: Any,
        *,
        name: str | None = None,
        artifact_id: str | None = None,
        append: bool = False,
        last_chunk: bool = False,
    ) -> None:
        """Add a result, or a piece of one: a str, bytes, a dict as data, or a list of Parts."""
        await (await self._ready()).artifact(content, name, artifact_id, append, last_chunk)

    async def ask(
        self,
        question: str | Sequence[Mapping[str, Any]],
        *,
        auth: bool = False,
        wait_s: float | None = None,
    ) -> Mq9Message:
        """Ask the asker, and wait for the answer, ``wait_s`` seconds or for as long as the worker runs.

        While it waits, the task is in nobody's hands: no lease, no place of the worker. When waiting ends
        without an answer, ``Suspended`` is raised, and the answer, when it comes, begins the handler anew.
        A question that was answered since the last checkpoint is not asked again. ``auth``: the state is
        ``auth-required`` instead of ``input-required``.
        """
        return await (await self._ready()).ask(question, auth, wait_s)

    async def end(self, state: str, content: Any = None, *, expected_version: int | None = None) -> None:
        """Say the last word now, and clean up after it: what the handler returns or raises counts no more.

        ``state``: ``completed``, ``failed``, ``rejected`` or ``canceled``; ``input-required`` and
        ``auth-required`` ask, and the answer begins a handler anew, whatever was answered before. With
        ``expected_version`` it is ``VERSION_CONFLICT`` if something was said that the handler did not see.
        """
        await (await self._ready()).end(state, content, expected_version)


class SyncJob(Facts):
    """``Job`` for a plain function, which runs in a thread: the same names, without ``await``.

    A thread cannot be interrupted: it hears of cancel and of a lost lease in its next call.
    """

    def __init__(self, core: JobCore, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(core)
        self._loop = loop

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def update(self, **fields: Any) -> dict[str, Any]:
        """As ``update`` of ``Job``."""
        return self._wait(self._core.update(fields))

    def progress(
        self, done: float | None = None, total: float | None = None, note: str | None = None
    ) -> None:
        """As ``progress`` of ``Job``."""
        self._wait(self._core.update({"progress": given(done=done, total=total, note=note)}))

    def checkpoint(self, value: Any) -> None:
        """As ``checkpoint`` of ``Job``."""
        self._wait(self._core.update({"checkpoint": value}))

    def artifact(
        self,
        content: Any,
        *,
        name: str | None = None,
        artifact_id: str | None = None,
        append: bool = False,
        last_chunk: bool = False,
    ) -> None:
        """As ``artifact`` of ``Job``."""
        self._wait(self._core.artifact(content, name, artifact_id, append, last_chunk))

    def ask(
        self,
        question: str | Sequence[Mapping[str, Any]],
        *,
        auth: bool = False,
        wait_s: float | None = None,
    ) -> Mq9Message:
        """As ``ask`` of ``Job``."""
        return self._wait(self._core.ask(question, auth, wait_s))

    def end(self, state: str, content: Any = None, *, expected_version: int | None = None) -> None:
        """As ``end`` of ``Job``."""
        self._wait(self._core.end(state, content, expected_version))
