"""What is behind a job: its lease, its words to the broker, its questions, and what interrupts it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from mq9_mcp.client.base import Caller
from mq9_mcp.client.delivery import Delivery
from mq9_mcp.client.errors import ConnectionFailed
from mq9_mcp.client.mq9_names import Mq9Message, part_of
from mq9_mcp.client.retry import pause_s
from mq9_mcp.domain.errors import Mq9Error, Refused, Unavailable

OVER = ("completed", "failed", "canceled", "rejected")
INTERRUPTED = ("input-required", "auth-required")
_WORDS = {"progress": "progress", "checkpoint": "checkpoint", "artifacts": "artifact", "message": "status"}
_LOOK = 100  # entries of a history


class TaskCanceled(Exception):
    """Raised in a handler: the asker wants the task canceled. Let it pass, or return a value all the same."""


class LeaseLost(Exception):
    """Raised in a handler: the task is somebody else's, or over. What the handler does now counts no more."""


class Suspended(Exception):
    """Raised in a handler: it waits for an answer no longer. The answer will begin a handler anew.

    A handler that raises it while it holds the task gives the task back, without a failed attempt.
    """


class TaskFailed(Exception):
    """Raised by a handler: the task is failed, and not tried again. ``content`` is what the asker hears."""

    def __init__(self, content: Any = "failed") -> None:
        super().__init__(content if isinstance(content, str) else "failed")
        self.content = content


def given(**fields: Any) -> dict[str, Any]:
    """The fields that say something."""
    return {name: value for name, value in fields.items() if value is not None}


def parts_of(value: Any) -> list[dict[str, Any]]:
    """What a handler says: a str, bytes, a dict as data, or a list of Parts."""
    if not isinstance(value, str | bytes | dict | list | tuple):
        raise TypeError(f"a value of type {type(value).__name__}; accepted: str, bytes, dict, list of Parts")
    return list(value) if isinstance(value, list | tuple) else [part_of(value)]


class Desk(Protocol):
    """What a job needs of its worker."""

    @property
    def stopping(self) -> bool:
        """True once it is time to end."""

    def waits(self, core: JobCore) -> None:
        """The job lets go of its lease, and waits for an answer."""

    def goes_on(self, core: JobCore) -> None:
        """The job waits no more."""

    def beat(self) -> None:
        """Ask the broker at once what is new."""


class JobCore:
    """One task in this process, over all its leases."""

    def __init__(self, client: Caller, desk: Desk, delivery: Delivery, lease_s: float) -> None:
        self.delivery = delivery
        self.task: str = delivery.message["task"]
        self.parts: list[dict[str, Any]] = delivery.message["parts"]
        self.checkpoint = delivery.message.get("checkpoint")
        self.question: dict[str, Any] | None = delivery.message.get("question")
        self.answer: Mq9Message | None = delivery.message if self.question is not None else None
        self.follow_ups: list[Mq9Message] = []
        self.cancel_requested = False
        self.interrupt: Callable[[Exception], None] | None = None  # of a coroutine; None for a thread
        self.asked: asyncio.Future[str] | None = None  # when the question that waits was stored
        self.version = self._said = 0
        self._client = client
        self._desk = desk
        self._lease_s = lease_s
        self._lock = asyncio.Lock()
        self._busy = 0
        self._pending: Exception | None = None
        self.lost: LeaseLost | None = None
        self.ended: str | None = None  # the state that the handler itself has ended its work with
        self._answered: list[tuple[list[Any], Mq9Message]] = []
        self._answer: asyncio.Future[Delivery] | None = None
        self.hear(delivery.message)

    # -- what the broker tells

    @property
    def held(self) -> bool:
        """True while the task is in this job's hands."""
        return not self.delivery.over

    def hear(self, told: Mapping[str, Any]) -> None:
        """Take in what a delivery, a heartbeat or an update says."""
        known = {one["id"] for one in self.follow_ups}
        for one in told.get("follow_ups", ()):
            if one["id"] not in known:
                self.follow_ups.append(Mq9Message(one))
        if told.get("cancel_requested") is True:
            self.cancel()

    def cancel(self) -> None:
        """The asker wants the task canceled: the handler hears it once."""
        if not self.cancel_requested:
            self.cancel_requested = True
            self._raise_in_handler(TaskCanceled("the asker wants the task canceled"))

    def lose(self, why: str) -> None:
        """The task is not in this job's hands any more."""
        if self.lost is None:
            self.lost = LeaseLost(why)
            self._raise_in_handler(self.lost)

    def saw(self, task: Mapping[str, Any], worker: str) -> None:
        """A look at the task from outside."""
        if self._answer is not None:
            if task["state"] == "canceled":
                self.cancel()
            elif task["state"] in OVER:
                self.lose(f"the task is {task['state']}")
            elif task["state"] == "working" and task.get("worker") != worker:
                self.lose("another worker has the answer")
        elif task["cancel_requested"]:
            self.cancel()
        elif self.held and task["version"] > self.version:
            self.version = task["version"]
            self._desk.beat()

    def _raise_in_handler(self, error: Exception) -> None:
        if self.ended is not None:
            return
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        elif self._busy or self.interrupt is None:
            self._pending = error  # the call that is under way raises it, or the next one
        else:
            self.interrupt(error)

    def _check(self) -> None:
        error, self._pending = self._pending, None
        if error is not None:
            raise error
        if self.lost is not None:
            raise self.lost

    # -- what the handler tells

    async def update(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """A word about the work in progress."""
        if "state" in fields:
            raise Refused("INVALID_ARGUMENT", "state: what the handler returns or raises says it", "leave it")
        self._check()
        self._busy += 1
        try:
            async with self._lock:
                reply = await self.say({**fields, "lease_s": fields.get("lease_s", self._lease_s)})
                if "checkpoint" in fields:
                    self.checkpoint = fields["checkpoint"]
        finally:
            self._busy -= 1
        self._check()
        return reply

    async def artifact(
        self, content: Any, name: str | None, artifact_id: str | None, append: bool, last_chunk: bool
    ) -> None:
        """A result, or a piece of one."""
        piece = given(parts=parts_of(content), name=name, artifact_id=artifact_id)
        piece |= {"append": True} if append else {}
        piece |= {"last_chunk": True} if last_chunk else {}
        await self.update({"artifacts": [piece]})

    async def say(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """``task_update``, however long the broker is away; nothing is said twice."""
        arguments = {"task": self.task, "lease": self.delivery.lease, **fields}
        failures, doubt = 0, False
        while True:
            try:
                known = await self._said_already(fields) if doubt else None
                reply = known or await self._client.call("task_update", arguments)
                break
            except Unavailable as error:
                if self._desk.stopping and failures:
                    raise
                failures += 1
                lost = isinstance(error, ConnectionFailed) and error.unknown
                doubt = doubt or (lost and "state" not in fields)  # a state is said once anyway
                await asyncio.sleep(pause_s(failures))
            except Refused as error:
                if error.code == "LEASE_LOST":
                    self.delivery.lose(error)
                    raise self.lost or LeaseLost(error.message) from error
                raise
        task = reply["task"]
        self._said = task["version"]
        self.version = max(self.version, self._said)
        self.hear({**reply, "cancel_requested": "state" not in fields and task["cancel_requested"]})
        return reply

    async def _said_already(self, fields: Mapping[str, Any]) -> dict[str, Any] | None:
        """The task, if an update whose answer was lost was carried out: nobody else has the lease."""
        reply = await self._client.call("task_get", {"task": self.task, "history": _LOOK})
        entries = reply["task"].pop("history")
        begin = max((one["number"] for one in entries if one["kind"] == "leased"), default=0)
        behind = max(begin, self._said)
        kinds = {kind for name, kind in _WORDS.items() if name in fields}
        done = any(one["number"] > behind and one["kind"] in kinds for one in entries)
        return reply if done else None

    # -- the last word, while the handler goes on

    async def end(self, state: str, content: Any, expected_version: int | None = None) -> None:
        """Settle the task's message with a state; what the handler says after it does not count."""
        if state not in (*OVER, *INTERRUPTED):
            accepted = ", ".join((*OVER, *INTERRUPTED))
            raise Refused("INVALID_ARGUMENT", f"state: {state!r}; accepted: {accepted}")
        fields: dict[str, Any] = {"state": state}
        fields |= {} if content is None else {"message": parts_of(content)}
        fields |= given(expected_version=expected_version)
        self._check()
        self._busy += 1
        try:
            async with self._lock:
                self.delivery.settling = True
                await self.say(fields)
                self.delivery.over = True
                self.ended = state
        except Refused:
            self.delivery.settling = self.delivery.over  # it is held on, unless the lease is lost
            raise
        finally:
            self._busy -= 1

    # -- questions

    def recall(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Take up the task where an answer begins it anew: what it is about, and what was answered."""
        self.parts = history[0]["parts"]
        asked: list[Any] | None = None
        for entry in history:
            if entry["kind"] == "checkpoint":
                self._answered.clear()
            elif entry["kind"] == "status" and entry["state"] in INTERRUPTED:
                asked = entry.get("parts")
            elif entry["kind"] == "answer" and asked is not None:
                self._answered.append((asked, self._message(entry)))

    def _message(self, entry: Mapping[str, Any]) -> Mq9Message:
        if entry["message"] == self.delivery.message["id"]:
            return self.delivery.message
        return Mq9Message(
            {"id": entry["message"], "from": entry["from"], "created_at": entry["at"], "task": self.task}
            | {"parts": entry["parts"]}
        )

    async def ask(self, question: Any, auth: bool, wait_s: float | None) -> Mq9Message:
        """Ask, let go of the lease, wait for the answer."""
        parts = parts_of(question)
        self._check()
        for index, (asked, answer) in enumerate(self._answered):
            if asked == parts:
                del self._answered[: index + 1]
                return answer
        loop = asyncio.get_running_loop()
        self.asked, self._answer = loop.create_future(), loop.create_future()
        self._desk.waits(self)
        try:
            async with self._lock:
                await self._put(parts, INTERRUPTED[auth])
            if self._desk.stopping or wait_s == 0:
                raise Suspended("the worker does not wait for the answer")
            async with asyncio.timeout(wait_s):
                delivery = await self._answer
        except TimeoutError:
            raise Suspended(f"no answer within {wait_s} s") from None
        finally:
            self._desk.goes_on(self)
            if not self.asked.done():
                self.asked.set_result("")
            if self._answer.done() and not self._answer.cancelled():
                self._answer.exception()
            self._answer = None
        self.question, self.answer = delivery.message.get("question"), delivery.message
        return delivery.message

    async def _put(self, parts: list[dict[str, Any]], state: str) -> None:
        assert self.asked is not None
        delivery = self.delivery
        delivery.settling = True
        try:
            reply = await self.say({"state": state, "message": parts})
        except Mq9Error:
            delivery.settling = False
            raise
        delivery.over = True
        self._desk.waits(self)
        if reply["task"]["state"] == state and "status_message" in reply["task"]:
            self.asked.set_result(reply["task"]["status_message"]["created_at"])
        else:  # it is answered already
            known = await self._client.call("task_get", {"task": self.task, "history": _LOOK})
            times = [one["at"] for one in known["task"]["history"] if one["state"] in INTERRUPTED]
            self.asked.set_result(times[-1] if times else "")
        if reply["task"]["cancel_requested"]:
            with suppress(Refused):  # it is over already
                await self._client.call("task_cancel", {"task": self.task})
            raise TaskCanceled("the asker wants the task canceled")

    async def offer(self, delivery: Delivery) -> bool:
        """Hand the answer over; False if it is not the one that is waited for."""
        assert self.asked is not None
        asked = await self.asked
        waits = self._answer
        if waits is None or waits.done():
            return False
        if delivery.message.get("question", {}).get("created_at") != asked:
            self.lose("another worker has asked on")
            return False
        self.delivery = delivery
        self.hear(delivery.message)
        waits.set_result(delivery)
        return True

    def suspend(self) -> None:
        """Wait no longer: the worker ends."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Suspended("the worker ends"))
