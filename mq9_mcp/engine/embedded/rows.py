"""What a run of journal records changes in the tables: gathered in dictionaries, then written in bulk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from mq9_mcp.domain import events as e
from mq9_mcp.engine.embedded.fold_session import SessionChanges
from mq9_mcp.engine.embedded.push_rows import PushRows
from mq9_mcp.engine.embedded.tables import Tables
from mq9_mcp.engine.embedded.task_rows import TaskRows

_encode = msgspec.json.Encoder().encode
OPEN_COLUMNS = (
    "grp, message, state, attempts, fence, secret, until, worker, principal, lapsed, first_at, last_at,"
    " reason, past"
)


NUMBERS = ("next_message", "next_mailbox", "next_group")


class OpenRow(msgspec.Struct, gc=False):
    """A delivery that is touched and not settled, as the table keeps it."""

    state: str = "waiting"
    attempts: int = 0
    fence: int = 0
    secret: str = ""
    until: int = 0
    worker: str = ""
    principal: str = ""
    lapsed: bool = False
    first_at: int = 0
    last_at: int = 0
    reason: str | None = None
    past: dict[str, tuple[str, str | None]] | None = None
    stored: bool = False  # the table has a row for it

    def lease_again(self, event: e.Leased, fence: int) -> None:
        """The message goes out under another lease."""
        self.state = "leased"
        self.fence = fence
        self.secret = event.secret
        self.until = event.until
        self.worker = event.worker
        self.principal = event.principal
        self.lapsed = False
        self.first_at = self.first_at or event.at
        self.last_at = event.at

    def row(self, group: int, message: int) -> tuple[Any, ...]:
        """The row in ``open_deliveries``."""
        past = _encode(self.past).decode() if self.past else None
        return (
            group,
            message,
            self.state,
            self.attempts,
            self.fence,
            self.secret,
            self.until,
            self.worker,
            self.principal,
            self.lapsed,
            self.first_at,
            self.last_at,
            self.reason,
            past,
        )


class Rows:
    """What a transaction will change in the tables, and the open deliveries as they are then."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.seq = tables.meta("folded_seq")
        self.at = tables.meta("folded_at")
        self.numbers = {name: tables.meta(name) for name in NUMBERS}
        self.open: dict[int, dict[int, OpenRow]] = {}  # message: group: row
        self.mailbox_of: dict[int, int] = {}  # group: mailbox
        self.sessions = SessionChanges(tables)
        self.tasks = TaskRows(tables)
        self.pushes = PushRows(tables)
        self.load_open()
        self.clear()

    def load_open(self) -> None:
        """Read the open deliveries and groups, as they are after a start or a failed transaction."""
        self.open = {}
        rows = self.tables.con.execute(f"select {OPEN_COLUMNS} from open_deliveries").fetchall()
        for group, message, *values, past in rows:
            row = self.open.setdefault(message, {})[group] = OpenRow(*values)
            row.past = msgspec.json.decode(past) if past else None
            row.stored = True
        self.mailbox_of = dict(self.tables.con.execute("select number, mailbox from groups").fetchall())

    def clear(self) -> None:
        self._new: dict[int, list[Any]] = {}
        self._copies: list[tuple[Any, ...]] = []
        self._sources: dict[int, int] = {}
        self._ended: dict[int, tuple[int, int, int, str | None]] = {}
        self._ending: dict[int, tuple[int, int, int, str | None]] = {}
        self._shown: set[int] = set()
        self._closed: list[tuple[Any, ...]] = []
        self._dirty: set[tuple[int, int]] = set()
        self._keys: list[tuple[Any, ...]] = []
        self._parked: list[tuple[int, str]] = []
        self.sessions.clear()

    # -- what events gather

    def number(self, name: str, used: int) -> None:
        """Remember that a number was given out, so that it never is again."""
        if used >= self.numbers[name]:
            self.numbers[name] = used + 1

    def add_message(
        self, mail: e.Mail, at: int, body: str | None, source: int = 0, in_reply_to: int | None = None
    ) -> None:
        """A new message; without a body it takes that of the message ``source``."""
        self.number("next_message", mail.id)
        extra = mail.extra or e.Extra()
        letter = _encode(extra.letter).decode() if extra.letter is not None else None
        if extra.task is not None:
            self.tasks.belongs(mail.id, extra.task)
        if extra.wish is not None:
            self._parked.append((mail.id, _encode(extra.wish).decode()))
        delayed = mail.visible_at > at
        outside = extra.only_group is not None
        head = (
            mail.id,
            mail.mailbox,
            mail.tier,
            mail.visible_at,
            mail.size,
            mail.sender,
            mail.position,
            mail.expires_at,
            mail.session,
            mail.tags,
            extra.state_key,
            extra.only_group,
            letter,
            at,
            in_reply_to,
        )
        if body is None and source in self._new:
            body = self._new[source][len(head)]
        if body is not None:
            self._new[mail.id] = [*head, body, delayed, outside, None, None, None]
        else:
            source = self._sources.get(source, source)  # a copy of a copy that is not in the table yet
            self._sources[mail.id] = source
            self._copies.append((*head, delayed, outside, source))

    def add_key(self, mailbox: int, key: e.DedupKey) -> None:
        """A dedup key to remember."""
        parked = key.parked or None
        self._keys.append((mailbox, key.key, key.message, key.at, key.digest, key.session, key.task, parked))

    def touch(self, group: int, message: int) -> OpenRow:
        """The open row of a delivery, made at need; it will be written."""
        rows = self.open.setdefault(message, {})
        row = rows.get(group)
        if row is None:
            row = rows[group] = OpenRow()
        self._dirty.add((group, message))
        return row

    def lease(self, event: e.Leased, fence: int) -> None:
        """Messages are handed out; most of them for the first time."""
        group, at, until, secret, worker = event.group, event.at, event.until, event.secret, event.worker
        open_, dirty, principal = self.open, self._dirty, event.principal
        for id in event.ids:
            rows = open_.get(id)
            if rows is None:
                rows = open_[id] = {}
            row = rows.get(group)
            if row is None:
                rows[group] = OpenRow("leased", 0, fence, secret, until, worker, principal, False, at, at)
            else:
                row.lease_again(event, fence)
            dirty.add((group, id))

    def settle(
        self,
        group: int,
        message: int,
        at: int,
        state: str,
        outcome: str | None,
        receipts: str | None = None,
        attempts: int | None = None,
        reason: str | None = None,
    ) -> None:
        """A group is done with a message: the open row becomes a settled one."""
        rows = self.open.get(message)
        row = rows.pop(group, None) if rows is not None else None
        if not rows:
            self.open.pop(message, None)
        if row is None:
            row = OpenRow()
        if row.stored:
            self._dirty.add((group, message))
        else:
            self._dirty.discard((group, message))
        self._closed.append(
            (
                group,
                message,
                self.mailbox_of.get(group, 0),
                state,
                outcome,
                row.attempts if attempts is None else attempts,
                row.fence,
                row.secret,
                row.worker,
                row.principal,
                at,
                reason or row.reason,
                receipts,
            )
        )

    def end(self, message: int, seq: int, at: int, ending: str | None = None) -> None:
        """No group owes the message any more."""
        new = self._new.get(message)
        if new is not None:
            new[-3], new[-2], new[-1] = ending or new[-3], seq, at
        else:
            before = self._ending.pop(message, None)
            self._ended[message] = (message, seq, at, ending or (before[3] if before else None))

    def end_everywhere(self, message: int, seq: int, at: int, ending: str) -> None:
        """Expired or withdrawn from every group."""
        for group in list(self.open.get(message, ())):
            self.settle(group, message, at, ending, None)
        self.end(message, seq, at, ending)

    def mark_ending(self, message: int, at: int, ending: str) -> None:
        """Expired or superseded, but somebody holds a lease: only the others let go."""
        for group, row in list(self.open.get(message, {}).items()):
            if row.state != "leased":
                self.settle(group, message, at, ending, None)
        new = self._new.get(message)
        if new is not None:
            new[-3] = ending
        else:
            self._ending[message] = (message, 0, at, ending)

    def show(self, message: int) -> None:
        """A delayed message became visible."""
        new = self._new.get(message)
        if new is not None:
            new[-5] = False
        else:
            self._shown.add(message)

    # -- writing

    def write(self) -> None:
        """Write everything gathered; part of the open transaction."""
        tables = self.tables
        tables.append("messages", list(self._new.values()))
        if self._copies:
            tables.run("make_copies")
            tables.append("copies", self._copies)
            tables.run("insert_copies")
        self._with_ids("end_messages", list(self._ended.values()))
        self._with_ids("mark_ending", list(self._ending.values()))
        self._with_ids("show_messages", [(id, 0, 0, None) for id in self._shown])
        self._write_open()
        tables.append("deliveries", self._closed)
        tables.append("dedup_keys", self._keys)
        tables.append("parked", self._parked)
        self.sessions.write()
        self.tasks.write()
        self.pushes.write()
        self.clear()

    def _write_open(self) -> None:
        if not self._dirty:
            return
        rows, touched = [], []
        for group, message in self._dirty:
            row = self.open.get(message, {}).get(group)
            if row is None or row.stored:
                touched.append((group, message))
            if row is not None:
                row.stored = True
                rows.append(row.row(group, message))
        if touched:
            self.tables.run("make_touched")
            self.tables.append("touched", touched)
            self.tables.run("delete_open")
        self.tables.append("open_deliveries", rows)

    def _with_ids(self, statement: str, rows: list[tuple[int, int, int, str | None]]) -> None:
        """Run a statement over the messages in ``rows``; their bounds let DuckDB skip the rest."""
        if not rows:
            return
        self.tables.run("make_ids")
        self.tables.append("ids", rows)
        self.tables.run(statement, [min(row[0] for row in rows), max(row[0] for row in rows)])

    def over_messages(self, statements: tuple[str, ...], ids: list[int]) -> None:
        """Write what is gathered, then run statements over ``ids``."""
        self.write()
        for statement in statements:
            self._with_ids(statement, [(id, 0, 0, None) for id in ids])

    def delete_open(self, messages: list[int]) -> None:
        """Forget the open rows of messages that are gone, here and in the table."""
        touched = [(group, id) for id in messages for group in self.open.pop(id, ())]
        if touched:
            self.tables.run("make_touched")
            self.tables.append("touched", touched)
            self.tables.run("delete_open")

    def forget_open(self, keep: Callable[[int, int], bool]) -> None:
        """Forget open rows of deliveries that a rare event ended; it deletes them from the table itself."""
        for message in list(self.open):
            rows = {group: row for group, row in self.open[message].items() if keep(group, message)}
            if rows:
                self.open[message] = rows
            else:
                del self.open[message]
