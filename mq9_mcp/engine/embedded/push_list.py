"""``push_list``: pages over the push targets that the tables hold, in the order in which they were set."""

from __future__ import annotations

from typing import Any

import duckdb

from mq9_mcp.domain.limits import REMAINING_MAX, limit
from mq9_mcp.domain.push import view_of
from mq9_mcp.domain.push_commands import PushList, PushLook
from mq9_mcp.engine.embedded.push_rows import decode_push
from mq9_mcp.engine.embedded.query import read_cursor
from mq9_mcp.engine.embedded.tables import SQL

RETENTION_MS = limit("task_retention_s") * 1000


def list_pushes(
    con: duckdb.DuckDBPyConnection, command: PushList, principal: str, now: int
) -> dict[str, Any]:
    """The reply of ``push_list``: ``{pushes, next_cursor?, remaining}``."""
    arguments = {
        "principal": principal,
        "retained": now - RETENTION_MS,
        "after": read_cursor(command.cursor) or 0,
        "task": command.task,
        "limit": command.limit,
    }
    rows = con.execute(SQL["list_pushes"], arguments).fetchall()
    secrets = isinstance(command, PushLook)
    reply: dict[str, Any] = {
        "pushes": [view_of(decode_push(record), secrets) for _, record, _ in rows],
        "remaining": min(REMAINING_MAX, rows[0][2] - len(rows)) if rows else 0,
    }
    if reply["remaining"]:
        reply["next_cursor"] = str(rows[-1][0])
    return reply
