"""Start: the state as the tables have it; what the journal has after them is applied on top."""

from __future__ import annotations

from heapq import heapify
from typing import Any

import duckdb
import msgspec

from mq9_mcp.domain.apply import apply
from mq9_mcp.domain.delivery import Delivery, DeliveryState, Outcome
from mq9_mcp.domain.events import DedupKey, Settings
from mq9_mcp.domain.group import wanted
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.log import OUTSIDE
from mq9_mcp.domain.state import IDLE_GRACE, NEVER, Group, History, Mailbox, State
from mq9_mcp.engine.embedded.agents import load_agents
from mq9_mcp.engine.embedded.fold import FOLDED_MARK, mark_of
from mq9_mcp.engine.embedded.frame import Damaged, Frame
from mq9_mcp.engine.embedded.mails import extra_of, mail_of
from mq9_mcp.engine.embedded.push_rows import load_pushes
from mq9_mcp.engine.embedded.replay import Entry, entries
from mq9_mcp.engine.embedded.segments import Segment
from mq9_mcp.engine.embedded.session import load_sessions
from mq9_mcp.engine.embedded.tables import SQL, TABLES_FILE, Tables
from mq9_mcp.engine.embedded.task_load import load_tasks

KEYS_MAX = limit("dedup_keys_in_memory")
_CHUNK = 20_000


def load_state(tables: Tables) -> State:
    """The state that the tables hold, at their ``folded_seq``."""
    state = State()
    state.seq = tables.meta("folded_seq")
    state.at = tables.meta("folded_at")
    state.next_message = max(1, tables.meta("next_message"))
    state.next_mailbox = max(1, tables.meta("next_mailbox"))
    state.next_group = max(1, tables.meta("next_group"))
    _load_mailboxes(state, tables)
    _load_messages(state, tables)
    _load_groups(state, tables)
    _load_deliveries(state, tables)
    _load_keys(state, tables)
    load_agents(state, tables)
    load_sessions(state.sessions, tables)
    load_tasks(state, tables)
    load_pushes(state, tables)
    for mailbox in state.mailboxes.values():
        heapify(mailbox.delayed)
        heapify(mailbox.expiries)
        state.watch(mailbox, mailbox.next_due())
    return state


class Replay:
    """The state of the tables, brought up to date by what the journal has after them."""

    def __init__(self, tables: Tables) -> None:
        self._mark = tables.meta(FOLDED_MARK)
        try:
            self.state = load_state(tables)
        except (LookupError, ValueError, TypeError, AssertionError, msgspec.MsgspecError) as error:
            raise Damaged(f"{TABLES_FILE}: its rows do not fit together: {error!r}") from error
        self.folded = self.state.seq
        self._folded_at = self.state.at

    def __call__(self, segment: Segment, frame: Frame) -> None:
        """One commit of the journal; its records are applied if the tables do not have them."""
        self._check_mark(segment, frame)
        if frame.first_seq + frame.records <= self.folded + 1:
            segment.last_at = self._folded_at
            return
        for entry in entries(segment, frame):
            if entry.seq > self.folded:
                self._apply(entry)
        segment.last_at = self.state.at

    def _check_mark(self, segment: Segment, frame: Frame) -> None:
        """The commit that the tables end with must be the journal's, not that of another one."""
        if not self._mark:
            return
        if frame.first_seq + frame.records - 1 == self.folded:
            digest = frame.hash
        elif frame.first_seq == self.folded + 1:
            digest = frame.previous
        else:
            return
        if mark_of(digest) != self._mark:
            raise Damaged(
                f"{TABLES_FILE} and {segment.path.name} do not belong together: "
                f"record {self.folded} is not the same in both"
            )

    def _apply(self, entry: Entry) -> None:
        if entry.seq != self.state.seq + 1:
            raise Damaged(
                f"the journal begins with record {entry.seq}, the tables end with {self.state.seq}: "
                "a segment is missing" + ("" if self.folded else f", or {TABLES_FILE}")
            )
        try:
            apply(self.state, entry.events)
        except (LookupError, ValueError, TypeError, AssertionError) as error:
            raise Damaged(f"record {entry.seq} does not fit what came before: {error!r}") from error


def load_from(con: duckdb.DuckDBPyConnection) -> State:
    """The state over a connection that somebody else has open."""
    return load_state(Tables.over(con))


def _load_mailboxes(state: State, tables: Tables) -> None:
    for row in tables.rows("load_mailboxes"):
        number, address, owner, description, settings, created_at, expires_at, agent = row[:8]
        mailbox = Mailbox(state, number, address, owner, msgspec.json.decode(settings, type=Settings))
        mailbox.description = description
        mailbox.created_at = created_at
        mailbox.expires_at = expires_at
        mailbox.agent = agent
        mailbox.settled, mailbox.settled_bytes, since = row[8:]
        mailbox.settled_since = NEVER if since is None else since
        state.mailboxes[number] = mailbox
        state.addresses[address] = mailbox


def _load_messages(state: State, tables: Tables) -> None:
    senders: dict[str, str] = {}
    wishes: dict[int, str] = dict(tables.rows("load_parked"))
    cursor = tables.con.execute(SQL["load_messages"])
    while rows := cursor.fetchmany(_CHUNK):
        for row in rows:
            _load_message(state, row, senders, wishes.get(row[0]))


def _load_message(state: State, row: tuple[Any, ...], senders: dict[str, str], wish: str | None) -> None:
    state_key, only_group, letter, delayed, outside, ending = row[10:]
    mail = mail_of(row, row[9], extra_of(state_key, only_group, letter, wish=wish))
    mail.sender = senders.setdefault(mail.sender, mail.sender)
    id, visible_at, expires_at = mail.id, mail.visible_at, mail.expires_at
    state.mails[id] = mail
    if wish is not None:
        state.park(mail)
    mailbox = state.mailboxes[mail.mailbox]
    state.count(mailbox, 1, mail.size)
    if expires_at is not None:
        mailbox.expiries.append((expires_at, id))
    if ending is not None:
        mailbox.ending[id] = ending
    if delayed:
        mailbox.delayed.append((visible_at, id))
        return
    if outside:
        mail.place = OUTSIDE
        mailbox.outside.add(id)
    else:
        mailbox.logs.append(mail)
    if state_key is not None:
        mailbox.state_keys.setdefault(state_key, []).append(id)


def _load_groups(state: State, tables: Tables) -> None:
    for number, mailbox, name, start_id, start_at, seen_at, through, *after in tables.rows("load_groups"):
        group = Group(number, state.mailboxes[mailbox], name, start_id, start_at)
        group.seen_at = group.fetched_at = seen_at
        group.grace = IDLE_GRACE
        if through is not None:
            count, size = history_size(tables, group, through, (after[0], after[1], after[2]))
            group.history = History(through, count, size, (after[0], after[1], after[2]))
        group.mailbox.groups[name] = group
        state.groups[number] = group


def history_size(tables: Tables, group: Group, through: int, after: tuple[int, int, int]) -> tuple[int, int]:
    """Messages and bytes of a group's history that lie behind ``after``."""
    ordered = group.mailbox.settings.ordered_by is not None
    found = tables.con.execute(
        SQL["history_size"],
        {
            "mailbox": group.mailbox.number,
            "through": through,
            "start_id": group.start_id,
            "start_at": group.start_at,
            "ordered": ordered,
            "tier": after[0],
            "visible_at": after[1],
            "id": after[2],
        },
    ).fetchone()
    assert found is not None
    return int(found[0]), int(found[1])


def _load_deliveries(state: State, tables: Tables) -> None:
    """Give every group its place: what it settled, what it touched, what only it has in line."""
    settled: set[tuple[int, int]] = {(group, id) for group, id in tables.rows("load_settled_once")}
    touched: dict[int, dict[int, tuple[Any, ...]]] = {}
    for row in tables.rows("load_open"):
        touched.setdefault(row[0], {})[row[1]] = row[2:]
    for group in state.groups.values():
        _load_outside(group, settled, touched.get(group.number, {}))
        for log in group.mailbox.logs.tiers:
            for mail in list(log.since(0)):
                held = mail.id in touched.get(group.number, {})
                ended = mail.id in group.mailbox.ending and not held
                if (group.number, mail.id) in settled or ended or not wanted(group, mail):
                    group.line.drop(mail, waiting=True)
        for id, row in touched.get(group.number, {}).items():
            if id in state.mails:
                _load_delivery(group, id, row)


def _load_outside(group: Group, settled: set[tuple[int, int]], touched: dict[int, tuple[Any, ...]]) -> None:
    for id in sorted(group.mailbox.outside):
        mail = group.mailbox.state.mails[id]
        ended = id in group.mailbox.ending and id not in touched
        if (group.number, id) not in settled and wanted(group, mail) and not ended:
            group.open[id] = Delivery()
            group.line.enter(mail)


def _load_delivery(group: Group, id: int, row: tuple[Any, ...]) -> None:
    mail = group.mailbox.state.mails[id]
    delivery = group.open[id] = Delivery()
    state, delivery.attempts, delivery.fence, delivery.secret, delivery.until = row[:5]
    delivery.worker, delivery.principal, delivery.lapsed = row[5:8]
    delivery.first_at, delivery.last_at, delivery.reason, past = row[8:]
    delivery.state = DeliveryState(state)
    if past:
        known = msgspec.json.decode(past, type=dict[str, tuple[str, str | None]])
        delivery.past = {secret: Outcome(*outcome) for secret, outcome in known.items()}
    group.line.take(mail)
    if delivery.state is DeliveryState.WAITING:
        group.line.put_back(mail)
        return
    group.watch(delivery.until, [id])
    group.leased += delivery.state is DeliveryState.LEASED


def _load_keys(state: State, tables: Tables) -> None:
    counts = dict(tables.rows("count_keys"))
    for number, key, *values in tables.rows("load_keys", [KEYS_MAX, KEYS_MAX]):
        dedup = state.mailboxes[number].dedup
        state.dedup_keys += dedup.pop(key, None) is None  # a later send under the key replaces it
        dedup[key] = DedupKey(key, *values)
    for number, count in counts.items():
        mailbox: Mailbox = state.mailboxes[number]
        mailbox.dedup_spilled = count > len(mailbox.dedup)
