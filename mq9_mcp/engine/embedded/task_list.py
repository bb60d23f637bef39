"""``task_list``: filters and pages over all tasks that the tables hold, newest first. It changes nothing."""

from __future__ import annotations

from typing import Any

import duckdb

from mq9_mcp.domain.clock import milliseconds
from mq9_mcp.domain.limits import REMAINING_MAX, limit
from mq9_mcp.domain.task import Task
from mq9_mcp.domain.task_commands import TaskList, TaskPage
from mq9_mcp.engine.embedded.query import read_cursor
from mq9_mcp.engine.embedded.tables import SQL
from mq9_mcp.engine.embedded.task_rows import decode_task
from mq9_mcp.engine.embedded.task_words import entry_of, view_of

_SAME = ("mailbox", "session", "state")
_EQUAL = ("mailbox", "session", "asker", "worker", "state")
RETENTION_MS = limit("task_retention_s") * 1000


def list_tasks(con: duckdb.DuckDBPyConnection, command: TaskList, principal: str, now: int) -> dict[str, Any]:
    """The reply of ``task_list``: ``{tasks, next_cursor?, remaining}``; artifacts without their parts."""
    where = ["(principal = $principal or owner = $principal)", "(ended_at is null or ended_at > $retained)"]
    arguments: dict[str, Any] = {"principal": principal, "retained": now - RETENTION_MS}
    for name in _EQUAL:
        if (value := getattr(command, name)) is not None:
            where.append(f"{name} = ${name}")
            arguments[name] = value
    if command.since is not None:
        where.append("updated_at >= $since")
        arguments["since"] = milliseconds(command.since)
    if command.cursor is not None:
        where.append("first < $cursor")
        arguments["cursor"] = read_cursor(command.cursor)
    condition = " and ".join(where)
    rows = con.execute(
        f"select first, record from tasks where {condition} order by first desc limit {command.limit}",
        arguments,
    ).fetchall()
    reply: dict[str, Any] = {"tasks": [_view(con, decode_task(row[1])) for row in rows], "remaining": 0}
    if len(rows) == command.limit:
        arguments["cursor"] = rows[-1][0]
        condition = " and ".join([*(one for one in where if one != "first < $cursor"), "first < $cursor"])
        left = con.execute(
            f"select count(*) from (select 1 from tasks where {condition} limit {REMAINING_MAX})", arguments
        ).fetchone()
        reply["remaining"] = int(left[0]) if left else 0
        if reply["remaining"]:
            reply["next_cursor"] = str(rows[-1][0])
    return reply


def _view(con: duckdb.DuckDBPyConnection, task: Task) -> dict[str, Any]:
    view = view_of(task, con.execute(SQL["task_details"], [task.id, task.version]).fetchall())
    view["artifacts"] = [{n: v for n, v in one.items() if n != "parts"} for one in view["artifacts"]]
    return view


def page_tasks(con: duckdb.DuckDBPyConnection, command: TaskPage, principal: str, now: int) -> dict[str, Any]:
    """``{tasks, total, more}``: a page of a mailbox's tasks, the last changed first, ``said`` in each."""
    where = ["(principal = $principal or owner = $principal)", "(ended_at is null or ended_at > $retained)"]
    arguments: dict[str, Any] = {"principal": principal, "retained": now - RETENTION_MS}
    for name in _SAME:
        if (value := getattr(command, name)) is not None:
            where.append(f"{name} = ${name}")
            arguments[name] = value
    if command.task is not None:
        where.append("id = $task")
        arguments["task"] = command.task
    if command.since is not None:
        where.append("updated_at >= $since")
        arguments["since"] = command.since
    counted = f"select count(*) from tasks where {' and '.join(where)}"
    total = con.execute(counted, arguments).fetchone()
    if command.before is not None:
        where.append("(updated_at < $at or (updated_at = $at and id < $id))")
        arguments["at"], arguments["id"] = command.before
    rows = con.execute(
        f"select record from tasks where {' and '.join(where)} "
        f"order by updated_at desc, id desc limit {command.limit + 1}",
        arguments,
    ).fetchall()
    tasks = [_with_said(con, decode_task(row[0]), command) for row in rows[: command.limit]]
    return {"tasks": tasks, "total": int(total[0]) if total else 0, "more": len(rows) > command.limit}


def _with_said(con: duckdb.DuckDBPyConnection, task: Task, command: TaskPage) -> dict[str, Any]:
    if command.parts:
        view = view_of(task, con.execute(SQL["task_details"], [task.id, task.version]).fetchall())
    else:
        view = _view(con, task)
    rows = con.execute(SQL["task_said"], [task.id, task.version, command.said]).fetchall()
    view["said"] = [entry_of(row) for row in reversed(rows)]
    return view
