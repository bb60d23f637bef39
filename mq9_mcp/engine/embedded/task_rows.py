"""Tasks on their way into the tables: the same fold as in memory, gathered and then written in bulk."""

from __future__ import annotations

from typing import Any

import msgspec

from mq9_mcp.domain import events as e
from mq9_mcp.domain.names import own_session
from mq9_mcp.domain.task import Task, advance, opened, rehouse
from mq9_mcp.engine.embedded.replay import Entry
from mq9_mcp.engine.embedded.tables import Tables

_encode = msgspec.json.Encoder().encode
decode_task = msgspec.json.Decoder(Task).decode


class TaskRows:
    """The open tasks as the tables will have them, and what is new in their histories."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.load()

    def load(self) -> None:
        """Read the open tasks, as they are after a start or a failed transaction."""
        self.open = {task.id: task for task in load_open(self.tables)}
        self._stored = set(self.open)
        self.clear()

    def clear(self) -> None:
        """Forget what was gathered."""
        self._dirty: dict[str, Task] = {}
        self._events: list[tuple[Any, ...]] = []
        self._messages: list[tuple[int, str]] = []

    def belongs(self, message: int, task: str) -> None:
        """A message that is part of a task."""
        self._messages.append((message, task))

    def begin(self, entry: Entry, event: e.TaskOpened) -> None:
        """A new task, whose first message is stored with it."""
        task = self.open[event.task] = self._dirty[event.task] = opened(event)
        detail = _detail(entry, event.body)
        self._events.append(
            (
                *(task.id, 1, event.at, event.message),
                *("submitted", str(task.state), task.asker, event.message, None, detail),
            )
        )

    def move(self, entry: Entry, event: e.TaskMoved, newest: int) -> None:
        """A task moved, when ``newest`` was the last message stored."""
        known = self.open.get(event.task)
        if known is None:
            return  # only in a repair: the record with its beginning is lost
        task = self._dirty[event.task] = known
        number = task.version
        advance(task, event)
        for step in event.steps:
            number += 1
            detail = _detail(entry, step.detail) if step.detail is not None else None
            message = step.message or None
            self._events.append(
                (
                    *(task.id, number, event.at, max(newest, step.message)),
                    *(step.kind, event.state, event.by, message, step.reason, detail),
                )
            )
        if task.over:
            del self.open[task.id]

    def rehouse(self, event: e.Unparked) -> None:
        """The work of these tasks moved into another mailbox."""
        for name in event.tasks:
            known = self.open.get(name)
            if known is not None:  # in a repair the record with its beginning may be lost
                rehouse(known, event.mailbox, event.address, event.owner)
                self._dirty[name] = known

    def write(self) -> None:
        """Write everything gathered; part of the open transaction."""
        stale = [(id,) for id in self._dirty if id in self._stored]
        if stale:
            self.tables.run("make_task_ids")
            self.tables.append("task_ids", stale)
            self.tables.run("delete_tasks")
        self.tables.append("tasks", [_row(task) for task in self._dirty.values()])
        self.tables.append("task_events", self._events)
        self.tables.append("task_messages", self._messages)
        for id, task in self._dirty.items():
            if task.over:
                self._stored.discard(id)
            else:
                self._stored.add(id)
        self.clear()


def load_open(tables: Tables) -> list[Task]:
    """The open tasks in the order in which they were opened."""
    return [decode_task(row[0]) for row in tables.rows("load_tasks")]


def _detail(entry: Entry, place: tuple[int, int]) -> str:
    """The words of a step: its place was moved from the record into the journal when it was read."""
    start = place[0] - entry.position
    return entry.bodies[start : start + place[1]].decode()


def _row(task: Task) -> tuple[Any, ...]:
    return (
        task.id,
        task.first,
        task.address,
        task.owner,
        task.principal,
        task.asker,
        task.session or own_session(task.first),
        task.worker,
        str(task.state),
        task.created_at,
        task.updated_at,
        task.ended_at,
        _encode(task).decode(),
    )
