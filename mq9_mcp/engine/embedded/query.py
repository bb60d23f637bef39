"""``mailbox_query``: filters and pages over everything the tables hold of a mailbox. It changes nothing."""

from __future__ import annotations

from typing import Any

import duckdb

from mq9_mcp.domain.clock import milliseconds
from mq9_mcp.domain.commands import TIERS, MailboxQuery
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.events import Mail
from mq9_mcp.domain.limits import REMAINING_MAX
from mq9_mcp.domain.names import DEFAULT_GROUP, read_own_session
from mq9_mcp.domain.state import NEVER
from mq9_mcp.engine.embedded.mails import extra_of, mail_of
from mq9_mcp.engine.embedded.messages import wire_message
from mq9_mcp.engine.embedded.tables import SQL

Connection = duckdb.DuckDBPyConnection

# How far a message has come in the group $grp, which began at ($start_id, $start_at).
_STATE = """
case
    when o.state = 'backoff' and o.until <= $now then 'waiting'
    when o.state is not null then o.state
    when d.state is not null then d.state
    when m.only_group is not null and m.only_group <> $name then null
    when m.only_group is null and m.id < $start_id and m.visible_at <= $start_at then null
    when m.ending is not null then m.ending
    when m.delayed and m.visible_at > $now then 'delayed'
    else 'waiting'
end"""
_IDS_CONDITION = "m.id between $first and $last and list_contains($ids, m.id)"
_TAG_CONDITIONS = {
    "list_has_any(m.tags, $tags_any)": "tags_any",
    "list_has_all(m.tags, $tags_all)": "tags_all",
    "not coalesce(list_has_any(m.tags, $tags_none), false)": "tags_none",
}
_COLUMNS = (
    "m.id, m.mailbox, m.tier, m.visible_at, m.size, m.sender, m.position, m.expires_at, m.session,"
    " m.letter, m.body, m.ending, m.delayed, m.only_group"
)


class GroupPlace:
    """What a query needs to know of a group: where it began."""

    def __init__(self, number: int, name: str, start_id: int, start_at: int) -> None:
        self.number = number
        self.name = name
        self.start_id = start_id
        self.start_at = start_at


def query(
    con: Connection, command: MailboxQuery, mailbox: int, address: str, groups: list[GroupPlace], now: int
) -> dict[str, Any]:
    """The reply of ``mailbox_query``: ``{messages, next_cursor?, remaining}``."""
    where, arguments = _conditions(command, mailbox, groups, now)
    descending = command.order == "desc"
    source = "messages m"
    if command.state is not None:
        source += (
            " left join open_deliveries o on o.message = m.id and o.grp = $grp"
            " left join deliveries d on d.message = m.id and d.grp = $grp"
        )
    if command.cursor is not None:
        arguments["cursor"] = read_cursor(command.cursor)
        where.append("m.id < $cursor" if descending else "m.id > $cursor")
    rows = con.execute(
        f"select {_COLUMNS} from {source} where {' and '.join(where)}"
        f" order by m.id {'desc' if descending else 'asc'} limit {command.limit}",
        arguments,
    ).fetchmany(command.limit)  # DuckDB forgets the limit where it knows that a joined table has no row
    reply: dict[str, Any] = {"messages": _messages(con, rows, address, groups, now), "remaining": 0}
    if len(rows) == command.limit:
        arguments["cursor"] = rows[-1][0]
        where.append("m.id < $cursor" if descending else "m.id > $cursor")
        left = con.execute(
            f"select count(*) from (select 1 from {source} where {' and '.join(where)}"
            f" limit {REMAINING_MAX})",
            arguments,
        ).fetchone()
        reply["remaining"] = min(REMAINING_MAX, int(left[0])) if left else 0
        if reply["remaining"]:
            reply["next_cursor"] = str(rows[-1][0])
    return reply


def read_cursor(cursor: str | None) -> int:
    """The message id at which the page before ended, 0 without one; refuses what is no cursor."""
    if cursor is None:
        return 0
    if cursor.isascii() and cursor.isdecimal() and len(cursor) <= 16:
        return int(cursor)
    raise Refused(
        "INVALID_ARGUMENT",
        f"cursor: {cursor[:32]!r} is none; accepted: next_cursor of the page before",
        "leave cursor out to begin again",
    )


def _conditions(
    command: MailboxQuery, mailbox: int, groups: list[GroupPlace], now: int
) -> tuple[list[str], dict[str, Any]]:
    where = ["m.mailbox = $mailbox"]
    arguments: dict[str, Any] = {"mailbox": mailbox}

    def add(condition: str, **values: Any) -> None:
        where.append(condition)
        arguments.update(values)

    if command.ids is not None:
        first, last = min(command.ids), max(command.ids)
        add(_IDS_CONDITION, ids=command.ids, first=first, last=last)
    if command.session is not None:
        own = read_own_session(command.session)
        add("(m.session = $session or (m.session is null and m.id = $own))", session=command.session, own=own)
    if command.priority is not None:
        add("m.tier = $tier", tier=TIERS.index(command.priority))
    if command.from_ is not None:
        add("m.sender = $sender", sender=command.from_)
    if command.since is not None:
        add("m.created_at >= $since", since=milliseconds(command.since))
    if command.until is not None:
        add("m.created_at < $until", until=milliseconds(command.until))
    for condition, tags in _TAG_CONDITIONS.items():
        if getattr(command, tags):
            add(condition, **{tags: getattr(command, tags)})
    if command.state is not None:
        name = command.group or DEFAULT_GROUP
        known = next((group for group in groups if group.name == name), GroupPlace(0, name, 0, 0))
        add(
            f"{_STATE} = $state",
            state=command.state,
            name=name,
            grp=known.number,
            start_id=known.start_id,
            start_at=min(known.start_at, NEVER),
            now=now,
        )
    return where, arguments


def _messages(
    con: Connection, rows: list[tuple[Any, ...]], address: str, groups: list[GroupPlace], now: int
) -> list[dict[str, Any]]:
    if not rows:
        return []
    ids = [row[0] for row in rows]
    known: dict[tuple[int, int], tuple[str, int, str]] = {}
    where = [min(ids), max(ids), ids]
    tasks = dict(con.execute(SQL["tasks_of_messages"], where).fetchall())
    for id, group, *settled in con.execute(SQL["query_settled"], where).fetchall():
        known[group, id] = (settled[0], settled[1], settled[2])
    for id, group, state, attempts, worker, until in con.execute(SQL["query_open"], where).fetchall():
        over = state == "backoff" and until <= now  # that a backoff is over is no event
        known[group, id] = ("waiting" if over else state, attempts, worker)
    return [_message(row, address, groups, known, now, tasks.get(row[0])) for row in rows]


def _message(
    row: tuple[Any, ...],
    address: str,
    groups: list[GroupPlace],
    known: dict[tuple[int, int], tuple[str, int, str]],
    now: int,
    task: str | None,
) -> dict[str, Any]:
    letter, body, ending, delayed, only_group = row[9:]
    mail = mail_of(row, extra=extra_of(only_group=only_group, letter=letter, task=task))
    deliveries = []
    for group in groups:
        found = known.get((group.number, mail.id))
        if found is not None:
            state, attempts, worker = found
            view = {"group": group.name, "state": state, "attempt": max(1, attempts + (state != "dead"))}
            if worker:
                view["worker"] = worker
            deliveries.append(view)
        elif _wanted(group, mail, only_group):
            state = ending or ("delayed" if delayed and mail.visible_at > now else "waiting")
            deliveries.append({"group": group.name, "state": state, "attempt": 1})
    return {**wire_message(mail, address, body), "deliveries": deliveries}


def _wanted(group: GroupPlace, mail: Mail, only_group: str | None) -> bool:
    if only_group is not None:
        return only_group == group.name
    return mail.id >= group.start_id or mail.visible_at > group.start_at
