"""Sessions as the tables have them: the records for memory, and what a caller may read of a session.

A view rests on the tables alone, as ``mailbox_query`` does; what the caller may not read is not there.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import duckdb

from mq9_mcp.domain.clock import milliseconds, wire_time
from mq9_mcp.domain.commands import SessionGet, SessionList
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.events import SessionRecord
from mq9_mcp.domain.lease import FETCH_BYTES_MAX
from mq9_mcp.domain.limits import REMAINING_MAX, limit
from mq9_mcp.domain.names import read_own_session
from mq9_mcp.domain.session import no_session, record_view
from mq9_mcp.domain.session_memory import IDLE_MS, PLACES_MAX, TURNS_MAX, Sessions, status
from mq9_mcp.engine.embedded.messages import copy_of
from mq9_mcp.engine.embedded.tables import SQL, Tables

Connection = duckdb.DuckDBPyConnection
_SIZE = 4  # the column of a message's bytes
TASK_RETENTION_MS = limit("task_retention_s") * 1000
_TASK_ENTRY_BYTES = 512  # about, a reason of full length included
_PLACE = re.compile(r"(\d{1,16})(?:\.(\d{1,16})\.(\d{1,16})\.(\d{1,16}))?", re.ASCII)


class Place(NamedTuple):
    """Where an entry stands in a session: a message, or the state of a task after the message ``message``.

    ``first`` is the message that opened the task, ``number`` that of the task's history.
    """

    message: int
    at: int = -1
    first: int = 0
    number: int = 0

    def text(self) -> str:
        """As ``next_after`` says it."""
        return ".".join(map(str, self)) if self.first else str(self.message)


class _Entry(NamedTuple):
    place: Place
    size: int
    view: dict[str, Any]


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
        """Messages in store order, and between them the states that tasks came to."""
        after, most = read_after(command.after), command.limit + 1
        messages = con.execute(SQL["session_messages"], where | {"after": after.message, "limit": most})
        found = [_message_entry(row) for row in messages.fetchall()]
        asked = {"session": command.session, "principal": self.principal, "limit": most}
        asked |= {"after": after.message, "at": after.at, "first": after.first, "number": after.number}
        asked |= {"kept": self.now - TASK_RETENTION_MS}
        found += [_task_entry(row) for row in con.execute(SQL["session_task_states"], asked).fetchall()]
        found.sort(key=lambda one: one.place)
        room, page = FETCH_BYTES_MAX, list[_Entry]()
        for entry in found[: command.limit]:
            room -= entry.size
            if room < 0 and page:
                break
            page.append(entry)
        reply: dict[str, Any] = {"entries": [entry.view for entry in page]}
        if len(page) < len(found):
            reply["next_after"] = page[-1].place.text()
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


def read_after(after: str | int | None) -> Place:
    """The place that a page comes after, before everything at the beginning; refuses what is none."""
    if after is None or isinstance(after, int):
        return Place(after or 0)
    found = _PLACE.fullmatch(after)
    if found is None:
        raise Refused(
            "INVALID_ARGUMENT",
            f"after: {after[:32]!r}; accepted: next_after of the page before, or a message id",
            "leave after out to begin at the first message",
        )
    return Place(*(int(one) for one in found.groups() if one is not None))


def _message_entry(row: tuple[Any, ...]) -> _Entry:
    return _Entry(Place(row[0]), row[_SIZE], {"kind": "message", **copy_of(row)})


def _task_entry(row: tuple[Any, ...]) -> _Entry:
    message, at, first, number, task, state, who, reason = row
    view = {"kind": "task", "task": task, "number": number, "at": wire_time(at), "state": state, "from": who}
    if reason is not None:
        view["reason"] = reason
    return _Entry(Place(message, at, first, number), _TASK_ENTRY_BYTES, view)


def unwrap(reply: dict[str, Any] | None, command: SessionGet | SessionList) -> dict[str, Any]:
    """The reply, or the refusal of a session that is not there for the caller."""
    if reply is None:
        assert isinstance(command, SessionGet)
        raise no_session(command.session)
    return reply
