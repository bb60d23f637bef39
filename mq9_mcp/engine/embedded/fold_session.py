"""What a run of records changes in the table of sessions, gathered by name and merged in bulk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from mq9_mcp.domain import events as e
from mq9_mcp.domain.session_memory import IDLE_MS
from mq9_mcp.engine.embedded.replay import Entry
from mq9_mcp.engine.embedded.tables import SQL, Tables

_STEPS = 8192  # changes of sessions in one record, at most


class Change(Struct, gc=False):
    """One session in this run: what is added to its row, or with ``fresh`` the whole new row."""

    first_at: int
    fresh: bool = False
    turns: int = 0
    turns_max: int | None = None
    closed: bool = False
    at: int = 0
    seq: int = 0
    mailboxes: tuple[int, ...] = ()
    senders: tuple[str, ...] = ()

    def gone(self, at: int) -> bool:
        """True if the session was over for so long at ``at`` that its name was free again."""
        return self.at > 0 and at - self.at >= (IDLE_MS if self.closed else 2 * IDLE_MS)

    def row(self, name: str) -> tuple[Any, ...]:
        """The row in ``session_changes``."""
        return (
            name,
            self.fresh,
            self.turns,
            self.turns_max,
            self.closed,
            self.at,
            self.seq,
            self.mailboxes,
            self.senders,
            self.first_at,
        )


class SessionChanges:
    """The changes of a run, by the names of the sessions."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.clear()

    def clear(self) -> None:
        """Forget what was gathered."""
        self._changes: dict[str, Change] = {}
        self._seq = 0

    def keep(self, record: e.SessionRecord) -> None:
        """A session that memory did not hold: whatever the table says of it, this is how it was."""
        self._changes[record.name] = Change(
            record.at,
            True,
            record.turns,
            record.turns_max,
            record.closed,
            record.at,
            0,
            record.mailboxes,
            record.senders,
        )

    def change(self, name: str, at: int, seq: int) -> Change:
        """The change of a session by a record, to be filled in."""
        found = self._changes.get(name)
        if found is None:
            found = self._changes[name] = Change(at)
        elif found.gone(at):
            found = self._changes[name] = Change(at, fresh=True)
        found.at = at
        self._seq = max(self._seq + 1, seq * _STEPS)
        found.seq = self._seq
        return found

    def join(self, name: str, mailbox: int, sender: str, at: int, seq: int) -> None:
        """A message was stored in the session."""
        found = self.change(name, at, seq)
        found.turns += 1
        if mailbox not in found.mailboxes:
            found.mailboxes += (mailbox,)
        if sender not in found.senders:
            found.senders += (sender,)

    def write(self) -> None:
        """Merge everything gathered into the table; part of the open transaction."""
        if not self._changes:
            return
        tables = self.tables
        tables.run("make_session_changes")
        tables.append("session_changes", [change.row(name) for name, change in self._changes.items()])
        tables.run("make_sessions_merged")
        tables.con.execute(SQL["merge_sessions"], {"idle": IDLE_MS})
        tables.run("delete_merged")
        tables.run("insert_merged")


def _closed(fold: Any, entry: Entry, event: e.SessionClosed) -> None:
    if event.record is not None:
        fold.sessions.keep(event.record)
    fold.sessions.change(event.session, event.at, entry.seq).closed = True


def _reopened(fold: Any, entry: Entry, event: e.SessionReopened) -> None:
    if event.record is not None:
        fold.sessions.keep(event.record)
    change = fold.sessions.change(event.session, event.at, entry.seq)
    change.closed, change.turns_max = False, event.turns_max


SESSION: dict[type[e.Event], Callable[[Any, Entry, Any], None]] = {
    e.SessionClosed: _closed,
    e.SessionReopened: _reopened,
}
