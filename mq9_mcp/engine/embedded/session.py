"""Sessions as the tables have them: the records for memory, and what a caller may read of a session.

A view rests on the tables alone, as ``mailbox_query`` does; what the caller may not read is not there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import duckdb

from mq9_mcp.domain.clock import milliseconds
from mq9_mcp.domain.commands import SessionGet, SessionList
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.events import SessionRecord
from mq9_mcp.domain.lease import FETCH_BYTES_MAX
from mq9_mcp.domain.limits import REMAINING_MAX
from mq9_mcp.domain.names import read_own_session
from mq9_mcp.domain.session import no_session, record_view
from mq9_mcp.domain.session_memory import IDLE_MS, PLACES_MAX, TURNS_MAX, Sessions, status
from mq9_mcp.engine.embedded.messages import copy_of
from mq9_mcp.engine.embedded.query import read_cursor
from mq9_mcp.engine.embedded.tables import SQL, Tables

Connection = duckdb.DuckDBPyConnection
_SIZE = 4  # the column of a message's bytes


def record_of(row: tuple[Any, ...]) -> SessionRecord:
    """The record in a row of the sessions' table."""
    name, turns, turns_max, at, mailboxes, senders, closed = row
    return SessionRecord(name, turns, turns_max, at, tuple(mailboxes), tuple(senders), closed)


def load_sessions(sessions: Sessions, tables: Tables) -> None:
    """Let memory know the sessions that changed last, as many as it has room for."""
    for row in tables.rows("load_sessions", [PLACES_MAX]):
        sessions.keep(record_of(row))
    sessions.spilled = tables.rows("count_sessions")[0][0] > len(sessions.known)


class SessionReader(NamedTuple):
    """One caller's view of sessions at ``now``. ``mailbox``: the number of the one that is asked for."""

    principal: str
    name: str
    now: int
    mailbox: int | None = None

    def read(self, con: Connection, command: SessionGet | SessionList) -> dict[str, Any] | None:
        """The reply of the command, None if there is no such session for the caller."""
        return self.get(con, command) if isinstance(command, SessionGet) else self.page(con, command)

    def get(self, con: Connection, command: SessionGet) -> dict[str, Any] | None:
        """The reply of ``session_get``: ``{session, entries, next_after?}``."""
        where = {"session": command.session, "own": read_own_session(command.session) or 0}
        who = {"principal": self.principal, "name": self.name}
        sent, seen_at = self._one(con, "session_seen", where | who)
        addresses = set(seen_at or ())
        row = con.execute(SQL["page_session"], [command.session]).fetchone()
        record = record_of(row) if row is not None else None
        if record is not None and (state := status(record, self.now)) != "gone":
            reads, owned = self._one(
                con, "session_taken_part", {"session": command.session, "principal": self.principal}
            )
            if not reads and self.name not in record.senders and not addresses:
                return None
            addresses.update(owned or ())
            turns = record.turns
        else:
            if not addresses:
                return None
            # No record: a message alone in its own session, or what is left of one that is long over.
            state, turns = ("open", 1) if where["own"] and sent <= 1 else ("closed", sent)
        session = {"id": command.session, "state": state, "mailboxes": sorted(addresses), "turns": turns}
        return {"session": session, **self._entries(con, command, where | who)}

    def _entries(self, con: Connection, command: SessionGet, where: dict[str, Any]) -> dict[str, Any]:
        """Messages in store order; the states of tasks will stand between them, by the same ids."""
        where |= {"after": read_after(command.after), "limit": command.limit + 1}
        rows = con.execute(SQL["session_messages"], where).fetchall()
        room = FETCH_BYTES_MAX
        page: list[tuple[Any, ...]] = []
        for row in rows[: command.limit]:
            room -= row[_SIZE]
            if room < 0 and page:
                break
            page.append(row)
        reply: dict[str, Any] = {"entries": [{"kind": "message", **copy_of(row)} for row in page]}
        if len(page) < len(rows):
            reply["next_after"] = str(page[-1][0])
        return reply

    def page(self, con: Connection, command: SessionList) -> dict[str, Any]:
        """The reply of ``session_list``: ``{sessions, next_cursor?, remaining}``."""
        where = {
            "principal": self.principal,
            "name": self.name,
            "now": self.now,
            "idle": IDLE_MS,
            "turns_max": TURNS_MAX,
            "cursor": command.cursor or "",
            "state": command.state,
            "number": self.mailbox,
            "sender": command.sender,
            "since": milliseconds(command.since) if command.since is not None else None,
            "limit": command.limit + REMAINING_MAX,
        }
        rows = con.execute(SQL["session_page"], where).fetchall()
        page = [record_of(row) for row in rows[: command.limit]]
        reply: dict[str, Any] = {
            "sessions": [record_view(one, self._owned(con, one.name), self.now) for one in page],
            "remaining": len(rows) - len(page),
        }
        if reply["remaining"]:
            reply["next_cursor"] = page[-1].name
        return reply

    def _owned(self, con: Connection, session: str) -> list[str]:
        found = self._one(con, "session_taken_part", {"session": session, "principal": self.principal})
        return list(found[1] or ())

    @staticmethod
    def _one(con: Connection, name: str, arguments: dict[str, Any]) -> tuple[Any, ...]:
        row = con.execute(SQL[name], arguments).fetchone()
        assert row is not None
        return row


def read_after(after: str | int | None) -> int:
    """The message id that a page comes after, 0 at the beginning; refuses what is none."""
    try:
        return after if isinstance(after, int) else read_cursor(after)
    except Refused:
        raise Refused(
            "INVALID_ARGUMENT",
            f"after: {str(after)[:32]!r}; accepted: next_after of the page before, or a message id",
            "leave after out to begin at the first message",
        ) from None


def unwrap(reply: dict[str, Any] | None, command: SessionGet | SessionList) -> dict[str, Any]:
    """The reply, or the refusal of a session that is not there for the caller."""
    if reply is None:
        assert isinstance(command, SessionGet)
        raise no_session(command.session)
    return reply
