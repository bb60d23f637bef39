"""Push targets on their way into the tables and back: the same fold as in memory, written in bulk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from mq9_mcp.domain import push_events as push
from mq9_mcp.domain.event import Event
from mq9_mcp.domain.push import add_push, advance, begun
from mq9_mcp.domain.push_target import Push
from mq9_mcp.domain.state import State
from mq9_mcp.engine.embedded.replay import Entry
from mq9_mcp.engine.embedded.tables import Tables

Key = tuple[str, str]
_encode = msgspec.json.Encoder().encode
decode_push = msgspec.json.Decoder(Push).decode


class PushRows:
    """The targets that memory holds, as the tables will have them, and which of them changed."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.load()

    def load(self) -> None:
        """Read them, as they are after a start or a failed transaction."""
        self._known: dict[Key, Push] = {(push.task, push.id): push for push in load_known(self.tables)}
        self.clear()

    def clear(self) -> None:
        """Forget what was gathered."""
        self._dirty: dict[Key, Push | None] = {}

    def set(self, entry: Entry, event: push.PushSet) -> None:
        """A new target, or another one of that name."""
        key = (event.task, event.push)
        self._known[key] = self._dirty[key] = begun(event, entry.seq)

    def delete(self, event: push.PushDeleted) -> None:
        """No target any more."""
        key = (event.task, event.push)
        self._known.pop(key, None)
        self._dirty[key] = None

    def move(self, event: push.PushMoved | push.PushDisabled) -> None:
        """How far it came, or its end."""
        key = (event.task, event.push)
        known = self._known.get(key)
        if known is None:
            return  # only in a repair: the record that set it is lost
        self._known[key] = self._dirty[key] = advance(known, event)
        if not self._known[key].live:
            del self._known[key]

    def write(self) -> None:
        """Write everything gathered; part of the open transaction."""
        if not self._dirty:
            return
        self.tables.run("make_push_ids")
        self.tables.append("push_ids", list(self._dirty))
        self.tables.run("delete_pushes")
        self.tables.append("pushes", [_row(push) for push in self._dirty.values() if push is not None])
        self.clear()


def _row(push: Push) -> tuple[Any, ...]:
    return (push.task, push.id, push.made, push.done, push.disabled_at, _encode(push).decode())


def load_known(tables: Tables) -> list[Push]:
    """The targets that memory holds, in the order in which they were set."""
    return [decode_push(row[0]) for row in tables.rows("load_pushes")]


def load_pushes(state: State, tables: Tables) -> None:
    """Bring them into memory."""
    for one in load_known(tables):
        add_push(state, one)


PUSH: dict[type[Event], Callable[[Any, Entry, Any], None]] = {
    push.PushSet: lambda fold, entry, event: fold.pushes.set(entry, event),
    push.PushDeleted: lambda fold, _, event: fold.pushes.delete(event),
    push.PushMoved: lambda fold, _, event: fold.pushes.move(event),
    push.PushDisabled: lambda fold, _, event: fold.pushes.move(event),
}
