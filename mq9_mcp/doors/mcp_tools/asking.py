"""A person is asked what a worker asks, where the host can ask one: elicitation, in both protocol eras.

A ``task_get`` that waits, made by the asker of a task, does not end with the question then: it asks, sends
the answer into the task, and goes on. Nothing is kept between the rounds, neither here nor at the client:
the question is the task's own, so a round goes on over a restart of the broker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import mcp_types as types

from mq9_mcp.domain.task_commands import TaskGet
from mq9_mcp.doors.mcp_tools.calling import Context, Result, caller, exchange
from mq9_mcp.doors.mcp_tools.elicit import View, key_of, request_of
from mq9_mcp.doors.mcp_tools.exchange import plain
from mq9_mcp.doors.mcp_tools.handles import TaskHandles, asked_by

ROUNDS = "2026-07-28"  # from here on a host is asked by an answer, and calls again
Look = Callable[[], Awaitable[View]]


class Asking:
    """Asks the person behind a host."""

    def __init__(self, handles: TaskHandles) -> None:
        self.handles = handles

    async def look(
        self, ctx: Context, params: types.CallToolRequestParams, command: TaskGet, wait: Look
    ) -> tuple[Result | None, View]:
        """The reply of a ``task_get`` that waits, or before it a question to the person."""
        reply = await self._now(ctx, command)
        if not _asks(ctx, reply["task"]):
            reply = await wait()
        task = reply["task"]
        if not _asks(ctx, task):
            return None, reply
        key, request, rounds = str(key_of(task)), request_of(task), ctx.protocol_version >= ROUNDS
        said = (params.input_responses or {}).get(key)
        if said is None and rounds:
            asked = {"resultType": "input_required", "inputRequests": {key: request}, "requestState": key}
            return asked, reply
        said = await self._form(ctx, request["params"]) if said is None else said
        if not isinstance(said, types.ElicitResult) or said.action != "accept":
            return None, await self._now(ctx, command)  # the model learns of the question instead
        await self.handles.answer(caller(ctx), task, said.action, said.content)
        return None, await (wait() if rounds else self._now(ctx, command))

    async def _now(self, ctx: Context, command: TaskGet) -> View:
        arguments = {"task": command.task, "history": command.history}
        return await self.handles.broker.call(caller(ctx), "task_get", arguments)

    async def _form(self, ctx: Context, asks: View) -> types.ElicitResult | None:
        """What the person filled in; None if the host hung up."""
        post = exchange(ctx)
        form: asyncio.Future[Any] = asyncio.ensure_future(_elicit(ctx, asks))
        gone = asyncio.ensure_future(asyncio.Event().wait() if post is None else post.gone.wait())
        try:
            await asyncio.wait((form, gone), return_when=asyncio.FIRST_COMPLETED)
            return form.result() if form.done() else None
        finally:
            gone.cancel()
            form.cancel()


async def _elicit(ctx: Context, asks: View) -> types.ElicitResult:
    id = ctx.request_id
    if asks["mode"] == "url":
        return await ctx.session.elicit_url(
            asks["message"], asks["url"], asks["elicitationId"], related_request_id=id
        )
    return await ctx.session.elicit_form(asks["message"], asks["requestedSchema"], related_request_id=id)


def can_ask(ctx: Context) -> bool:
    """The host can ask a person something while a call waits."""
    able = ctx.session.client_capabilities
    way = ctx.protocol_version >= ROUNDS or not plain.get()  # else the answer is one piece of JSON
    return able is not None and able.elicitation is not None and way


def _asks(ctx: Context, task: View) -> bool:
    """The task waits for the caller's answer, and its host can show what is asked."""
    if key_of(task) is None or not asked_by(caller(ctx), task):
        return False
    able = ctx.session.client_capabilities
    ways = None if able is None else able.elicitation
    assert ways is not None
    link = request_of(task)["params"]["mode"] == "url"
    return ways.url is not None if link else ways.form is not None or ways.url is None  # none named: forms
