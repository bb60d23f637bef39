"""Start: the open tasks as the tables have them, and which waiting message belongs to which task."""

from __future__ import annotations

from msgspec import structs

from mq9_mcp.domain.apply_task import add_task
from mq9_mcp.domain.events import Extra
from mq9_mcp.domain.state import State
from mq9_mcp.engine.embedded.tables import Tables
from mq9_mcp.engine.embedded.task_rows import load_open


def load_tasks(state: State, tables: Tables) -> None:
    """Bring the open tasks into memory."""
    names: dict[str, str] = {}
    for task in load_open(tables):
        names[task.id] = task.id
        add_task(state, task)
    for message, name in tables.rows("load_task_messages"):
        mail = state.mails[message]
        known = names.setdefault(name, name)
        mail.extra = Extra(task=known) if mail.extra is None else structs.replace(mail.extra, task=known)
