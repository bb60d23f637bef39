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
from mq9_mcp.engine.embedded.task_words import BYTES_MAX, entry_of, view_of

_SAME = ("mailbox", "session", "asker", "state")
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
    views = _views(con, [decode_task(record) for _, record in rows])
    reply: dict[str, Any] = {"tasks": views, "remaining": 0}
    if views and (len(rows) == command.limit or len(views) < len(rows)):
        last = rows[len(views) - 1][0]
        arguments["cursor"] = last
        condition = " and ".join([*(one for one in where if one != "first < $cursor"), "first < $cursor"])
        left = con.execute(
            f"select count(*) from (select 1 from tasks where {condition} limit {REMAINING_MAX})", arguments
        ).fetchone()
        reply["remaining"] = int(left[0]) if left else 0
        if reply["remaining"]:
            reply["next_cursor"] = str(last)
    return reply


def _views(con: duckdb.DuckDBPyConnection, tasks: list[Task]) -> list[dict[str, Any]]:
    """The tasks as a list shows them; as many as fit into a reply, and the one that goes past it."""
    views: list[dict[str, Any]] = []
    spent = 0
    for task in tasks:
        rows = con.execute(SQL["task_outline"], [task.id, task.version]).fetchall()
        views.append(view_of(task, rows))
        spent += sum(len(detail) for *_, detail in rows)
        if spent >= BYTES_MAX:
            break
    return views


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
    tasks = _pages(con, [decode_task(record) for (record,) in rows[: command.limit]], command)
    return {"tasks": tasks, "total": int(total[0]) if total else 0, "more": len(rows) > len(tasks)}


def _pages(con: duckdb.DuckDBPyConnection, tasks: list[Task], command: TaskPage) -> list[dict[str, Any]]:
    """The tasks with what was said in each; as many as fit, and the one that goes past it."""
    details = SQL["task_details" if command.parts else "task_outline"]
    views: list[dict[str, Any]] = []
    spent = 0
    for task in tasks:
        rows = con.execute(details, [task.id, task.version]).fetchall()
        said = con.execute(SQL["task_said"], [task.id, task.version, command.said]).fetchall()
        views.append({**view_of(task, rows), "said": [entry_of(row) for row in reversed(said)]})
        spent += sum(len(detail) for *_, detail in rows) + sum(len(detail) for *_, detail in said)
        if spent >= BYTES_MAX:
            break
    return views
