"""The words of tasks, which memory knows only by their places: from the journal, or from DuckDB."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec
from msgspec import structs

from mq9_mcp.domain.clock import wire_time
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.names import own_session
from mq9_mcp.domain.plan import Words
from mq9_mcp.domain.task import Task, read_place
from mq9_mcp.engine.embedded.journal import Journal

_decode = msgspec.json.decode
_STEPS_MAX = 1_000  # read at a time
_STEPS_BYTES = 256 * 1024  # of these; a follower that reads slowly holds no more
BYTES_MAX = limit("fetch_bytes_max")  # of entries; the one that goes past it is still given
_SHOWN = ("from", "created_at", "parts")
_AROUND = ("metadata", "a2a")


class Source(Protocol):
    """What this room needs of the engine."""

    journal: Journal

    async def read_row(self, name: str, arguments: Any) -> Any:
        """The first row of a named statement, or None."""

    async def read_rows(self, name: str, arguments: Any) -> list[Any]:
        """All rows of a named statement."""

    async def copies(self, messages: Sequence[int]) -> list[dict[str, Any]]:
        """Messages as the wire shows them."""


def task_view(engine: Source, task: Task) -> dict[str, Any] | Task:
    """A task as the wire shows it; if the journal has not all of its words any more, a copy of the task."""
    read, pieces = engine.journal.read, []
    for at in task.artifacts or ():
        if (piece := read(*read_place(at))) is None:
            return structs.replace(task)
        pieces.append(_decode(piece))
    view = _head(task, pieces)
    if task.progress:
        if (progress := read(*read_place(task.progress))) is None:
            return structs.replace(task)
        view["progress"] = _decode(progress)
    if task.status:
        if (status := read(*read_place(task.status))) is None:
            return structs.replace(task)
        view["status_message"] = _message(status)
    return view


async def task_view_from_tables(engine: Source, task: Task) -> dict[str, Any]:
    """The same from DuckDB."""
    return view_of(task, await engine.read_rows("task_details", [task.id, task.version]))


def view_of(task: Task, rows: list[Any]) -> dict[str, Any]:
    """A task as the wire shows it, with words from the rows of its history; a repair may have lost some."""
    view = _head(task, [_decode(detail) for _, kind, _, detail in rows if kind == "artifact"])
    last = {kind: detail for _, kind, _, detail in rows}
    if task.progress and "progress" in last:
        view["progress"] = _decode(last["progress"])
    if task.status and "status" in last:
        view["status_message"] = _message(last["status"])
    return view


def _message(body: bytes | str) -> dict[str, Any]:
    known = _decode(body)
    return {name: known[name] for name in _SHOWN}


def _head(task: Task, pieces: list[dict[str, Any]]) -> dict[str, Any]:
    view: dict[str, Any] = {
        "id": task.id,
        "state": str(task.state),
        "session": task.session or own_session(task.first),
        "mailbox": task.address,
        "asker": task.asker,
        "artifacts": artifacts(pieces) if pieces else [],
        "created_at": wire_time(task.created_at),
        "updated_at": wire_time(task.updated_at),
        "version": task.version,
        "cancel_requested": task.cancel_requested,
    }
    if task.worker is not None:
        view["worker"] = task.worker
    return view


def artifacts(pieces: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The artifacts that the pieces make, in the order in which they began; the pieces are used up."""
    known: dict[str, dict[str, Any]] = {}
    for piece in pieces:
        name, append = piece["artifact_id"], piece.pop("append", False)
        before = known.get(name)
        if before is None or not append:
            known[name] = piece
        else:
            parts = before.get("parts", [])
            parts += piece.pop("parts", ())
            before.update(piece)
    return list(known.values())


async def put_words(engine: Source, places: list[Words]) -> None:
    """Replace places and message ids in parts of a reply by the words that stand there.

    Words that a repair lost are left out: the work goes on without them.
    """
    for task, one in places:
        for name, read in (("checkpoint", _decode), ("question", _message)):
            if name not in one:
                continue
            place = one.pop(name)
            body = engine.journal.read(*read_place(place)) or await _from_tables(engine, f"last_{name}", task)
            if body is not None:
                one[name] = read(body)
        if "follow_ups" in one:
            one["follow_ups"] = await engine.copies(one["follow_ups"])


async def _from_tables(engine: Source, name: str, task: str) -> str | None:
    row = await engine.read_row(name, [task])
    return None if row is None else str(row[0])


async def task_history(engine: Source, task: str, through: int, most: int) -> list[dict[str, Any]]:
    """The last ``most`` entries of a task's history up to a number, oldest first; fewer if they are large."""
    rows = await engine.read_rows("task_history", [task, through, most, BYTES_MAX])
    return [entry_of(row) for row in reversed(rows)]


async def task_steps(engine: Source, task: str, after: int, through: int) -> list[dict[str, Any]]:
    """The first entries behind ``after``: at most 1,000, and at most one that goes past 256 KiB."""
    rows = await engine.read_rows("task_steps", [task, after, through, _STEPS_MAX, _STEPS_BYTES])
    return [entry_of(row) for row in rows]


def entry_of(row: tuple[Any, ...]) -> dict[str, Any]:
    """One entry of a task's history as the wire shows it."""
    number, at, kind, state, who, message, reason, detail = row
    entry = {"number": number, "at": wire_time(at), "kind": kind, "state": state, "from": who}
    if message is not None:
        entry["message"] = message
    if reason is not None:
        entry["reason"] = reason
    if detail is not None:
        words = _decode(detail)
        if kind in ("progress", "artifact", "checkpoint"):
            entry[kind] = words
        else:
            entry["parts"] = words["parts"]
            entry |= {name: words[name] for name in _AROUND if name in words}
    return entry
