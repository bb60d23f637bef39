"""The extension ``io.modelcontextprotocol/tasks`` (SEP-2663) over the broker's durable tasks.

A client that declares it gets a handle where ``mailbox_send`` opens a task: the id of the durable task
itself. So nothing is kept here, a handle outlives every restart, and the tools ``task_*`` and the other doors
see the same task.
"""

from __future__ import annotations

from typing import Any

import mcp_types as types
from mcp.server.mcpserver import require_client_extension
from mcp.shared.exceptions import MCPError

from mq9_mcp.broker.broker import Broker
from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.domain.state import Caller
from mq9_mcp.doors.mcp_tools.calling import COMPLETE, Context, Result, caller
from mq9_mcp.doors.mcp_tools.elicit import View, answer_of, key_of, request_of
from mq9_mcp.doors.mcp_tools.text import shown

TASKS = "io.modelcontextprotocol/tasks"
VERSIONS = ("2026-07-28",)
HEADER_MISMATCH = -32020
POLL_MS = 1_000
NAME = "mcp-name"
# Both protocols' words; "failed" is for the protocol alone, an agent that gives up has a result.
STATUS = {
    "submitted": "working",
    "working": "working",
    "input-required": "input_required",
    "auth-required": "input_required",
    "completed": "completed",
    "failed": "completed",
    "rejected": "completed",
    "canceled": "cancelled",
}


class TaskParams(types.RequestParams):
    """Names a task."""

    task_id: str


class UpdateParams(TaskParams):
    """Answers to the questions of a task, by their keys."""

    input_responses: dict[str, dict[str, Any]]


class TaskHandles:
    """Answers ``tasks/get``, ``tasks/update`` and ``tasks/cancel``, and makes handles."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    def handlers(self) -> dict[str, tuple[type[TaskParams], Any]]:
        """The methods of the extension."""
        return {
            "tasks/get": (TaskParams, self.get),
            "tasks/update": (UpdateParams, self.update),
            "tasks/cancel": (TaskParams, self.cancel),
        }

    async def begun(self, ctx: Context, arguments: View, reply: View) -> Result | None:
        """The handle for a send that opened one task, if the client takes handles."""
        receipts = reply["receipts"]
        opened = arguments.get("task") not in (None, False) and not isinstance(arguments["task"], str)
        if not opened or "messages" in arguments or len(receipts) != 1 or not declares(ctx):
            return None
        found = await self._look(ctx, receipts[0]["task"])
        return {"resultType": "task", **_wire(found, detailed=False), "_meta": {"mq9/receipt": receipts[0]}}

    async def get(self, ctx: Context, params: TaskParams) -> Result:
        """The task as it stands, with its result or its question."""
        return COMPLETE | _wire(await self._found(ctx, params), detailed=True)

    async def update(self, ctx: Context, params: UpdateParams) -> Result:
        """Answer the question that the task waits with; answers to others are too late, and left out."""
        task = await self._found(ctx, params)
        said = params.input_responses.get(key_of(task) or "")
        if said is not None:
            await self.answer(caller(ctx), task, str(said.get("action")), said.get("content"))
        return dict(COMPLETE)

    async def answer(self, who: Caller, task: View, action: str, content: Any) -> bool:
        """Send what a person said; False if that was no answer. A repeated one is stored once."""
        if content is not None and not isinstance(content, dict):
            raise MCPError(types.INVALID_PARAMS, "content: must be an object, as the form said")
        message = answer_of(action, content)
        if message is None:
            return False
        key = f"mcp-answer.{task['id']}.{key_of(task)}"
        try:
            await self.broker.call(who, "mailbox_send", {**message, "task": task["id"], "dedup_key": key})
        except Mq9Error as error:
            raise MCPError(types.INVALID_PARAMS, str(error)) from None
        return True

    async def cancel(self, ctx: Context, params: TaskParams) -> Result:
        """Ask the worker to stop; a task that is over stays as it is."""
        task = await self._found(ctx, params)
        if STATUS[task["state"]] not in ("completed", "cancelled"):
            try:
                await self.broker.call(caller(ctx), "task_cancel", {"task": task["id"]})
            except Mq9Error as error:
                if error.code != "ILLEGAL_TRANSITION":  # it ended just now
                    raise MCPError(types.INVALID_PARAMS, str(error)) from None
        return dict(COMPLETE)

    async def seen(self, who: Caller, ids: list[str]) -> list[str]:
        """Those of the ids that are tasks which the caller asked for."""
        found = []
        for id in ids:
            try:
                task = (await self.broker.call(who, "task_get", {"task": id}))["task"]
            except Mq9Error:
                continue
            if asked_by(who, task):
                found.append(id)
        return found

    async def told(self, who: Caller, id: str) -> View:
        """The parameters of ``notifications/tasks``: the task as ``tasks/get`` shows it."""
        reply = await self.broker.call(who, "task_get", {"task": id, "history": 1})
        return _wire(reply["task"], detailed=True)

    async def _found(self, ctx: Context, params: TaskParams) -> View:
        if ctx.protocol_version not in VERSIONS:
            raise MCPError(types.METHOD_NOT_FOUND, "Method not found", ctx.method)
        require_client_extension(ctx, TASKS)
        named = None if ctx.request is None else ctx.request.headers.get(NAME)
        if named is not None and named.strip() != params.task_id:
            raise MCPError(HEADER_MISMATCH, "Mcp-Name does not match params.taskId")
        return await self._look(ctx, params.task_id)

    async def _look(self, ctx: Context, id: str) -> View:
        """A task of the caller's own asking; others are not there for it."""
        who = caller(ctx)
        try:
            task: View = (await self.broker.call(who, "task_get", {"task": id, "history": 1}))["task"]
        except Mq9Error as error:
            if error.code not in ("TASK_NOT_FOUND", "INVALID_ARGUMENT"):
                raise MCPError(types.INTERNAL_ERROR, str(error)) from None
            task = {}
        if not task or not asked_by(who, task):
            raise MCPError(types.INVALID_PARAMS, "Failed to retrieve task: Task not found")
        return task


def declares(ctx: Context) -> bool:
    """The client takes handles of tasks."""
    able = ctx.session.client_capabilities
    return ctx.protocol_version in VERSIONS and bool(able and able.extensions and TASKS in able.extensions)


def asked_by(who: Caller, task: View) -> bool:
    """Whether ``who`` asked for the task."""
    return bool(task["asker"] == (who.agent or f"principal:{who.principal}"))


def _wire(task: View, detailed: bool) -> View:
    """A task as the extension shows it."""
    found: View = {
        "taskId": task["id"],
        "status": STATUS[task["state"]],
        "createdAt": task["created_at"],
        "lastUpdatedAt": task["updated_at"],
        "ttlMs": None,  # it stays for as long as it is open, and task_retention_s longer
        "pollIntervalMs": POLL_MS,
        "statusMessage": _status(task),
    }
    failure = _failure(task)
    if failure is not None:
        found |= {"status": "failed"} | ({"error": failure} if detailed else {})
    elif detailed and found["status"] == "completed":
        found["result"] = _result(task)
    elif detailed and found["status"] == "input_required":
        found["inputRequests"] = {key_of(task): request_of(task)}
    return found


def _status(task: View) -> str:
    """How it stands, in the broker's own words."""
    progress = task.get("progress", {})
    if task["state"] == "submitted":
        return "queued"
    if task["state"] == "working" and "done" in progress:
        return f"working: {progress['done']}" + (f"/{progress['total']}" if "total" in progress else "")
    return str(task["state"])


def _failure(task: View) -> View | None:
    """What the broker says of a task that it had to give up; None if its worker gave up, or nobody did."""
    reason = task["history"][-1].get("reason")
    if task["state"] != "failed" or reason is None:
        return None
    return {"code": types.INTERNAL_ERROR, "message": f"The task failed: {reason}"}


def _result(task: View) -> View:
    """A finished task as the result of the tool that opened it."""
    view = {name: one for name, one in task.items() if name != "history"}
    content = [{"type": "text", "text": shown({"task": view}, True)}]
    failed = {} if task["state"] == "completed" else {"isError": True}
    return COMPLETE | {"content": content, "structuredContent": {"task": view}} | failed
