"""What an agent's coming changes in the tables: parked messages become mail of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mq9_mcp.domain import events as e
from mq9_mcp.engine.embedded.replay import Entry
from mq9_mcp.engine.embedded.tables import SQL

if TYPE_CHECKING:
    from mq9_mcp.engine.embedded.rows import Rows


def fold_unparked(fold: Rows, __entry: Entry, event: e.Unparked) -> None:
    """The rows move; what is gathered of them is written before."""
    fold.write()
    tables = fold.tables
    tables.run("make_unparked")
    tables.append("unparked", list(zip(event.ids, event.visible, strict=True)))
    tables.run("unpark_messages", [event.mailbox, min(event.ids), max(event.ids)])
    tables.con.execute(SQL["unpark_sessions"], {"mailbox": event.mailbox})
    tables.run("delete_unparked")
    for key in event.keys:
        fold.add_key(event.mailbox, key)
    fold.tasks.rehouse(event)
