"""One task that is worked on elsewhere: sent once, followed, mirrored; its checkpoint says how far that is.

The checkpoint is written before the message is sent, so whoever goes on knows that it may be there already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import ParseDict  # type: ignore[import-untyped]

from mq9_a2a.remote.mirror import message_parts, name_of, pieces, progress, words
from mq9_a2a.remote.peer import UNCLEAR_MAX, Down, Peer, Refusal, Unclear, took
from mq9_a2a.words import INTERRUPTED, NAMES, TERMINAL, View
from mq9_mcp.client import Job, LeaseLost, Mq9Message, Refused, Reject, TaskCanceled, TaskFailed
from mq9_mcp.hosted.inside import Inside

LOOK_S = 0.5  # what the asker adds is passed on so soon
CANCEL_S = 20.0  # so long the agent has to stop; then the task is canceled here
PIECES_MAX = 64


class Errand:
    """One lease of one task."""

    def __init__(self, inside: Inside, peer: Peer, job: Job) -> None:
        self.inside = inside
        self.peer = peer
        self.job = job
        self.record: View = dict(job.checkpoint_value or {})
        self.resumed = "remote" in self.record  # what is to be sent may have been sent by who had it before
        self.known: dict[str, list[View]] = {}
        self.told_progress: View | None = None
        self.sending: asyncio.Future[View] | None = None

    async def run(self) -> None:
        """Until the task ends or asks here as it does there."""
        try:
            await self._run()
        except TaskCanceled:
            await self._cancel()
        except LeaseLost:
            await self._let_go()
            raise
        except Refusal as error:
            await self._fail(f"The agent did not take the task: {error}.")
        except Refused as error:
            await self._fail(f"The broker refused what the agent said: {error.message}")
        finally:
            if self.sending is not None and not self.sending.done():
                self.sending.cancel()

    async def _fail(self, why: str) -> None:
        raise TaskFailed(why)

    async def _run(self) -> None:
        task = (await self.inside.task_get(task=self.job.task))["task"]
        self.known = {one["artifact_id"]: [dict(part) for part in one["parts"]] for one in task["artifacts"]}
        if "remote" not in self.record and await self._open():
            return
        await self._follow()

    # -- sending

    async def _open(self) -> bool:
        """Send the message that opens the task; True if it was answered with a message alone."""
        message = self.job.answer or self.job.message
        doubt = "sending" in self.record
        if not doubt:
            self.record = {"context": self._context(), "sending": message["id"]}
            await self.job.checkpoint(self.record)
        answer = await self._send(message, doubt)
        if "message" in answer:
            await self.job.end("completed", message_parts(answer["message"], direct=True) or None)
            return True
        task = answer["task"]
        self.record = {"remote": task["id"], "context": task.get("contextId", ""), "sent": message["id"]}
        await self.job.checkpoint(self.record)
        return False

    def _context(self) -> str:
        """Names the session there; one that has no name of its own is named by what nobody can guess."""
        session = self.job.message["session"]
        return self.job.task if session.startswith("mq9.") else session

    async def _send(self, message: Mapping[str, Any], doubt: bool) -> View:
        """Send until it is taken, once: what may be there already is looked for first."""
        request, unclear = self._request(message), 0
        while True:
            if doubt and (there := await self._there(request.message.message_id)) is not None:
                return {"task": there}
            try:
                self.sending = asyncio.ensure_future(self.peer.send(request))
                return await asyncio.shield(self.sending)  # what is on its way cannot be called back
            except Down as error:
                unclear += isinstance(error, Unclear)
                if unclear == UNCLEAR_MAX:
                    raise Refusal(str(error)) from error
                doubt = doubt or error.sent
                await self.peer.pause(error)

    async def _there(self, name: str) -> View | None:
        if "remote" in self.record:
            task = await self.peer.task(self.record["remote"])
            return task if took(task, name) else None
        return await self.peer.find(self.record["context"], name)

    def _request(self, message: Mapping[str, Any]) -> pb.SendMessageRequest:
        about = {"messageId": f"{self.job.task}.{message['id']}", "contextId": self.record["context"]}
        if "remote" in self.record:
            about["taskId"] = self.record["remote"]
        return request_of(message, about)

    async def _send_more(self) -> None:
        """Pass on what the asker has said since: the answer, or more about the task."""
        sent = self.record["sent"]
        while (message := self._unsent()) is not None:
            await self._send(message, doubt=self.resumed)
            self.record["sent"] = message["id"]
        self.resumed = False
        if self.record["sent"] != sent:
            await self.job.checkpoint(self.record)

    def _unsent(self) -> Mapping[str, Any] | None:
        said = [one for one in (self.job.answer, *self.job.follow_ups) if one is not None]
        return min(
            (one for one in said if one["id"] > self.record["sent"]),
            key=lambda one: int(one["id"]),
            default=None,
        )

    # -- following

    async def _follow(self) -> None:
        await self._send_more()
        snapshots = self.peer.snapshots(self.record["remote"])
        coming: asyncio.Future[View] | None = None
        try:
            while True:
                if coming is None:
                    coming = asyncio.ensure_future(anext(snapshots))
                await asyncio.wait({coming}, timeout=LOOK_S)
                await self._send_more()
                if coming.done():
                    task, coming = coming.result(), None
                    if await self._mirror(task):
                        return
        finally:
            if coming is not None:
                coming.cancel()
                with suppress(asyncio.CancelledError, StopAsyncIteration, Exception):
                    await coming
            await snapshots.aclose()

    async def _mirror(self, task: View) -> bool:
        """Say here what is new there; True if the task is over here, or waits for its asker."""
        state = NAMES.get(task["status"]["state"], "working")
        fresh = pieces(self.known, task)
        while len(fresh) > PIECES_MAX:
            await self.job.update(artifacts=fresh[:PIECES_MAX])
            del fresh[:PIECES_MAX]
        fields: dict[str, Any] = {"artifacts": fresh} if fresh else {}
        if (far := progress(task)) is not None and far != self.told_progress:
            fields["progress"] = self.told_progress = far
        new = words(task, self.record.get("word"))
        over = state in TERMINAL or state in INTERRUPTED
        last = new.pop() if over and new and "message" in task["status"] else None
        for message in new:
            self.record["word"] = message.get("messageId")
            if parts := message_parts(message):
                await self.job.update(**fields, message=parts, checkpoint=self.record)
                fields = {}
        if over:
            return await self._end(state, task, last, fields)
        if fields:
            await self.job.update(**fields)
        return False

    async def _end(self, state: str, task: View, last: View | None, fields: dict[str, Any]) -> bool:
        """The end, or a question; False for one that was asked here before: its answer is on the way."""
        parts = message_parts(last) or None if last is not None else None
        if state in INTERRUPTED:
            if self.record.get("asked") == name_of(task):
                return False
            self.record |= {"asked": name_of(task)} | ({"word": last.get("messageId")} if last else {})
            fields["checkpoint"] = self.record
        if fields:
            await self.job.update(**fields)
        await self.job.end(state, parts)
        return True

    # -- canceling

    async def _cancel(self) -> None:
        """Have it stopped there, and end here as it ends there."""
        with suppress(TimeoutError, Refusal):
            async with asyncio.timeout(CANCEL_S):
                id = self.record.get("remote") or await self._opened()
                if id is not None:
                    await self._stop_there(id)
                    return
        with suppress(LeaseLost):
            await self.job.end("canceled")

    async def _let_go(self) -> None:
        """Somebody else follows it now; but if the task is over here, it is stopped there."""
        task = (await self.inside.task_get(task=self.job.task))["task"]
        if task["state"] in TERMINAL and "remote" in self.record:
            with suppress(TimeoutError, Refusal):
                async with asyncio.timeout(CANCEL_S):
                    await self.peer.cancel(self.record["remote"])

    async def _opened(self) -> str | None:
        """The task that the message under way opened, or one that a send before it did."""
        if "sending" not in self.record:
            return None
        task: View | None = None
        if self.sending is not None:
            with suppress(Down, Refusal):
                task = (await self.sending).get("task")
        if task is None:
            task = await self.peer.find(self.record["context"], f"{self.job.task}.{self.record['sending']}")
        return task["id"] if task is not None else None

    async def _stop_there(self, id: str) -> None:
        with suppress(Refusal):  # it is over, or cannot be stopped: the end comes all the same
            if await self._mirror(await self.peer.cancel(id)):
                return
        snapshots = self.peer.snapshots(id)
        try:
            async for task in snapshots:
                if await self._mirror(task):
                    return
        finally:
            await snapshots.aclose()


def request_of(message: Mapping[str, Any], about: View) -> pb.SendMessageRequest:
    """A message as it is sent; nobody waits for what becomes of it."""
    given: View = {**about, "role": "ROLE_USER", "parts": message["parts"]}
    if "metadata" in message:
        given["metadata"] = message["metadata"]
    extensions = message.get("a2a", {}).get("extensions")
    if extensions:
        given["extensions"] = extensions
    request = {"message": given, "configuration": {"returnImmediately": True}}
    read: pb.SendMessageRequest = ParseDict(request, pb.SendMessageRequest())
    return read


async def deliver(inside: Inside, peer: Peer, message: Mq9Message) -> None:
    """Mail that is no task: it is settled once the agent has it, and what it answers at once is the reply."""
    context = message["session"] if not message["session"].startswith("mq9.") else ""
    request = request_of(message, {"messageId": f"mq9-{message['id']}", "contextId": context})
    unclear = 0
    while True:
        try:
            answer = await peer.send(request)
            break
        except Refusal as error:
            raise Reject("remote-refused", f"The agent did not take the message: {error}.") from error
        except Down as error:
            unclear += isinstance(error, Unclear)
            if unclear == UNCLEAR_MAX:
                raise Reject("remote-refused", f"The agent did not take the message: {error}.") from error
            await peer.pause(error)
    if "message" in answer and answer["message"].get("parts"):
        reply: dict[str, Any] = {"in_reply_to": message["id"], "parts": answer["message"]["parts"]}
        with suppress(Refused):  # the sender has no mailbox
            await inside.call("mailbox_send", {**reply, "dedup_key": f"mq9-reply-{message['id']}"})
