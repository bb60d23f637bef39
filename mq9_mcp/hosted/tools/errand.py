"""One task for a tool: understood, asked back if need be, called once, its result told.

The checkpoint is written before the call, so whoever goes on knows that the tool may have run already.
Then it is called again only if it says of itself that this does no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import mcp_types as types
import msgspec

from mq9_mcp.client import Job, LeaseLost, Refused, TaskCanceled, TaskFailed
from mq9_mcp.domain.intent import SKILL
from mq9_mcp.domain.limits import limit
from mq9_mcp.hosted.inside import Inside
from mq9_mcp.hosted.tools.link import Link, tools_of
from mq9_mcp.hosted.tools.results import parts_of, pieces
from mq9_mcp.hosted.tools.wanted import Call, Draft
from mq9_mcp.peers.mcp_servers.session import Lost, Refusal, Session

QUESTIONS_MAX = 10
CALLS_MAX = 5  # of a tool that may be called again, when the server breaks each time
PROGRESS_S = 0.2  # between two words about progress
RECORD_BYTES_MAX = limit("checkpoint_bytes_max") - 1024
MAY_HAVE_RUN = (
    "The call of {tool!r} was interrupted: the tool may have run, and its result is not known. "
    "It is not called again by itself, as it does not say that this does no harm."
)
_encode = msgspec.json.Encoder().encode


class Errand:
    """One lease of one task."""

    def __init__(self, inside: Inside, link: Link, job: Job) -> None:
        self.inside = inside
        self.link = link
        self.job = job
        self.called = False

    async def run(self) -> None:
        """Until the task ends, or asks."""
        try:
            record = self.job.checkpoint_value
            if isinstance(record, dict) and "tool" in record:
                await self._go_on(record)
            else:
                await self._call(await self._understood())
        except TaskCanceled:
            words = "The tool was told to stop; it may have run." if self.called else None
            await self.job.end("canceled", words)
        except Refused as error:
            raise TaskFailed(f"The broker refused the result: {error.message}") from error

    # -- what is wanted

    async def _understood(self) -> Call:
        """The call, after as many questions as it takes."""
        session = await self.link.session()
        draft = Draft(tools_of(session))
        draft.take(self.job.parts, await self._skill())
        for message in self.job.follow_ups:
            draft.take(message["parts"])
        for _ in range(QUESTIONS_MAX):
            found = draft.judge()
            if isinstance(found, Call):
                return found
            answer = await self.job.ask(found.parts, wait_s=0)
            draft.take(answer["parts"], answer.get("metadata", {}).get(SKILL))
        raise TaskFailed(f"{QUESTIONS_MAX} answers, and still it is not clear what to call.")

    async def _skill(self) -> Any:
        message: Mapping[str, Any] = self.job.message
        if self.job.question is not None:  # then this is the last answer: the first message is in the history
            history = self.inside.task_follow(self.job.task, after=0)
            async with aclosing(history) as told:
                async for one in told:
                    message = one["entry"]
                    break
        return message.get("metadata", {}).get(SKILL)

    # -- the call

    async def _go_on(self, record: Mapping[str, Any]) -> None:
        """After a call of which nothing more is known than that it was about to begin."""
        task = (await self.inside.task_get(task=self.job.task))["task"]
        if any(one["artifact_id"] == "result" for one in task["artifacts"]):
            await self.job.end("completed")
            return
        tool = tools_of(await self.link.session()).get(record["tool"])
        if tool is None or not tool.repeatable or "arguments" not in record:
            raise TaskFailed(MAY_HAVE_RUN.format(tool=record["tool"]))
        await self._call(Call(tool, record["arguments"]))

    async def _call(self, call: Call) -> None:
        record = {"tool": call.tool.name, "arguments": call.arguments}
        if len(_encode(record)) > RECORD_BYTES_MAX:
            del record["arguments"]
        await self.job.checkpoint(record)
        for _ in range(CALLS_MAX):
            session = await self.link.session()
            try:
                result = await self._attend(session, call)
                break
            except Lost as lost:
                if lost.sent and not call.tool.repeatable:
                    raise TaskFailed(MAY_HAVE_RUN.format(tool=call.tool.name)) from lost
                await session.ended.wait()
            except Refusal as error:
                raise TaskFailed(f"The server refused the call: {error}") from error
        else:
            raise TaskFailed(f"The server broke {CALLS_MAX} times while it worked on the call.")
        parts = parts_of(result)
        if result.is_error:
            await self.job.end("failed", parts or "The tool failed, and did not say why.")
            return
        if parts:
            await self.job.update(artifacts=pieces(parts, call.tool.name))
        await self.job.end("completed")

    async def _attend(self, session: Session, call: Call) -> types.CallToolResult:
        """The result; meanwhile progress is told, and who cancels has the server told."""
        progress = _Progress()
        self.called = True
        calling = asyncio.create_task(session.call(call.tool.name, call.arguments, progress.heard))
        try:
            while not calling.done():
                news = asyncio.ensure_future(progress.news.wait())
                await asyncio.wait({calling, news}, return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
                if (told := progress.take()) is not None:
                    await self.job.update(progress=told)
                    await asyncio.wait({calling}, timeout=PROGRESS_S)
            return calling.result()
        except LeaseLost:
            self.called = False
            raise
        finally:
            calling.cancel()
            await asyncio.wait({calling})


class _Progress:
    """The last word about progress."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self._last: dict[str, Any] | None = None

    async def heard(self, progress: float, total: float | None, message: str | None) -> None:
        self._last = {"done": progress}
        self._last |= {} if total is None else {"total": total}
        self._last |= {} if not message else {"note": message}
        self.news.set()

    def take(self) -> dict[str, Any] | None:
        self.news.clear()
        last, self._last = self._last, None
        return last
