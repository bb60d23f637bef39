"""``tools/list`` and ``tools/call``: arguments become a command, the reply text and data, a refusal words."""

from __future__ import annotations

import asyncio
import logging
import secrets
import traceback
from collections.abc import Coroutine
from typing import Any

import mcp_types as types
from mcp.shared.exceptions import MCPError

from mq9_mcp.broker.arguments import read_arguments
from mq9_mcp.broker.broker import Broker, waits
from mq9_mcp.broker.catalogue import CATALOGUE, LATER
from mq9_mcp.domain.commands import Command, MailboxFetch, MailboxSend
from mq9_mcp.domain.errors import Mq9Error, Refused
from mq9_mcp.domain.task_commands import TaskGet
from mq9_mcp.doors.mcp_tools.asking import Asking, can_ask
from mq9_mcp.doors.mcp_tools.calling import COMPLETE, Context, Result, caller, exchange
from mq9_mcp.doors.mcp_tools.exchange import Exchange
from mq9_mcp.doors.mcp_tools.handles import TaskHandles
from mq9_mcp.doors.mcp_tools.schema import DETAIL, DETAILS
from mq9_mcp.doors.mcp_tools.text import refused, shown
from mq9_mcp.doors.mcp_tools.tools import Tool

PROGRESS_S = 5.0  # hosts that count a silent call as dead do so after 30 s and more
ERROR_KEY = "mq9/error"
log = logging.getLogger("mq9.mcp")


class ToolDesk:
    """Answers ``tools/list`` and ``tools/call``."""

    def __init__(self, broker: Broker, tools: dict[str, Tool]) -> None:
        self.broker = broker
        self.tools = tools
        self.handles = TaskHandles(broker)
        self.asking = Asking(self.handles)
        self._listed = COMPLETE | {"tools": [tool.as_dict() for tool in tools.values()]}

    async def list(self, ctx: Context, params: types.PaginatedRequestParams | None) -> Result:  # noqa: ARG002
        """All tools, in the same order for everybody."""
        return self._listed

    async def call(self, ctx: Context, params: types.CallToolRequestParams) -> Result:
        """Call a tool; what the broker refuses is an error that the model reads."""
        tool = self.tools.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, _no_tool(params.name))
        try:
            arguments = {name: one for name, one in (params.arguments or {}).items() if one is not None}
            full = self._full(tool, arguments)
            command = self._command(tool, arguments)
            other, reply = await self._reply(ctx, params, arguments, command)
            if other is not None:
                return other
            text = shown(reply, full)
        except MCPError:
            raise
        except Mq9Error as error:
            return _error(refused(tool.name, error), error.as_dict())
        except Exception as error:
            number = _fault(tool.name, error)
            return _error(f"INTERNAL: a fault of the broker itself; tell the operator: log_id {number}.", {})
        return COMPLETE | {"content": [{"type": "text", "text": text}], "structuredContent": reply}

    async def _reply(
        self, ctx: Context, params: types.CallToolRequestParams, arguments: dict[str, Any], command: Command
    ) -> tuple[Result | None, dict[str, Any]]:
        """The reply of a command, and what is answered instead of it, if something is."""
        if isinstance(command, TaskGet) and command.wait_s and can_ask(ctx):
            return await self.asking.look(ctx, params, command, lambda: self._execute(ctx, command))
        reply = await self._execute(ctx, command)
        opened = isinstance(command, MailboxSend)
        return await self.handles.begun(ctx, arguments, reply) if opened else None, reply

    def _full(self, tool: Tool, arguments: dict[str, Any]) -> bool:
        detail = arguments.pop(DETAIL, DETAILS[0])
        if detail not in DETAILS:
            self._refuse(
                tool, Refused("INVALID_ARGUMENT", f"detail: {detail!a:.80}; accepted: {', '.join(DETAILS)}")
            )
        return bool(detail == "full")

    def _command(self, tool: Tool, arguments: dict[str, Any]) -> Command:
        known = CATALOGUE[tool.name].arguments.__struct_encode_fields__
        for name in arguments:
            if name not in known:
                accepted = ", ".join(tool.accepted)
                what = f"{name[:64]!a}: unknown; accepted by {tool.name}: {accepted}"
                self._refuse(tool, Refused("INVALID_ARGUMENT", what, "leave it out"))
        try:
            return read_arguments(tool.name, arguments)
        except Mq9Error as error:
            self._refuse(tool, error)
            raise

    def _refuse(self, tool: Tool, error: Mq9Error) -> None:
        self.broker.tally.refused(tool.name, error)
        raise error

    async def _execute(self, ctx: Context, command: Command) -> dict[str, Any]:
        post = exchange(ctx)
        work = self.broker.execute(caller(ctx), command)
        reply = await (_unless_gone(ctx, post, command, work, self.broker) if waits(command) else work)
        if isinstance(command, MailboxFetch) and reply["messages"] and post is not None:
            post.hand(reply)
        return reply


async def _unless_gone(
    ctx: Context,
    post: Exchange | None,
    command: Command,
    work: Coroutine[Any, Any, dict[str, Any]],
    broker: Broker,
) -> dict[str, Any]:
    """The reply of a call that waits, telling now and then that it does; nothing is taken for nobody."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(asyncio.Event().wait() if post is None else post.gone.wait())
    reached = False
    try:
        begin = asyncio.get_running_loop().time()
        while not working.done() and not gone.done():
            await asyncio.wait((working, gone), timeout=PROGRESS_S, return_when=asyncio.FIRST_COMPLETED)
            if not working.done() and not gone.done():
                waited = asyncio.get_running_loop().time() - begin
                await ctx.session.report_progress(round(waited, 1), command.wait_s, "waiting")  # type: ignore[attr-defined]
        if not working.done():
            raise MCPError(types.CONNECTION_CLOSED, "the caller hung up; nothing was taken")
        reached = True
        return working.result()
    finally:
        gone.cancel()
        if not reached:
            working.cancel()
            await asyncio.wait((working,))
            ended = not working.cancelled() and working.exception() is None
            if ended and isinstance(command, MailboxFetch):
                broker.give_back(working.result())


def _error(text: str, shape: dict[str, Any]) -> Result:
    """An error that the model reads; programs read the same as data in ``_meta``."""
    result: Result = COMPLETE | {"content": [{"type": "text", "text": text}], "isError": True}
    return {**result, "_meta": {ERROR_KEY: shape}} if shape else result


def _no_tool(name: str) -> str:
    if name in LATER:
        return f"Unknown tool: {name} is not part of this version: {LATER[name]} come later"
    if name in CATALOGUE:
        return f"Unknown tool: {name} is for operators; they start mq9 serve with --toolsets operators"
    return f"Unknown tool: {name[:64]!a}; tools/list has those that there are"


def _fault(name: str, error: Exception) -> str:
    """Log a fault without what the caller sent; returns its number."""
    number = secrets.token_hex(8)
    frames = traceback.extract_tb(error.__traceback__)
    log.error(
        "a fault in the tool %s: %s",
        name,
        type(error).__name__,
        extra={
            "event": "fault",
            "log_id": number,
            "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
        },
    )
    return number
