"""Bring in what a command needs and memory does not hold, from DuckDB or from the journal.

Memory is enough nearly always: a decision that finds it is not says so (``Unprepared``), and is made
again on what the function for its command brought into ``ask.paged``. What leaves memory meanwhile is
missing then, so each function is asked again until it says that it sought nothing new.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import duckdb
import msgspec
from msgspec import structs

from mq9_mcp.domain.commands import (
    GroupReset,
    MailboxAck,
    MailboxDelete,
    MailboxSend,
    MessageArguments,
    SessionClose,
    SessionReopen,
)
from mq9_mcp.domain.events import DedupKey, Extra, Mail
from mq9_mcp.domain.group import read_start
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.names import PARKED, own_session, read_lease_token, read_own_session
from mq9_mcp.domain.plan import (
    Ask,
    HistoryPage,
    HistorySize,
    Paged,
    PagedDelivery,
    PagedMessage,
    PagedSettled,
    Plan,
)
from mq9_mcp.domain.push_commands import PushDelete, PushReport, PushRequest, PushSet
from mq9_mcp.domain.session import first_message
from mq9_mcp.domain.state import Caller, Group, Mailbox, State
from mq9_mcp.domain.task_commands import TaskCancel, TaskGet, TaskUpdate
from mq9_mcp.domain.task_request import TaskRequest
from mq9_mcp.engine.embedded.journal import Journal
from mq9_mcp.engine.embedded.mails import extra_of, mail_of
from mq9_mcp.engine.embedded.push_rows import decode_push
from mq9_mcp.engine.embedded.session import record_of
from mq9_mcp.engine.embedded.tables import SQL
from mq9_mcp.engine.embedded.task_rows import decode_task

HISTORY_PAGE = limit("history_page")
TASK_RETENTION_MS = limit("task_retention_s") * 1000


class Source(Protocol):
    """What this room needs of the engine."""

    state: State
    journal: Journal

    async def durable(self) -> None:
        """Return when everything decided so far is on disk."""

    async def read_row(self, name: str, arguments: Any) -> Any:
        """The first row of a named statement, or None."""

    async def read_rows(self, name: str, arguments: Any) -> list[Any]:
        """All rows of a named statement."""


class _BodyHead(msgspec.Struct):
    """The field of a body that a reply needs."""

    reply_to: str | None = None


_decode_head = msgspec.json.Decoder(_BodyHead).decode


async def for_send(engine: Source, caller: Caller, command: MailboxSend, ask: Ask) -> bool:
    """Messages that are answered or joined, and dedup keys that only the tables remember."""
    return await _for_messages(engine, command.messages or [command], ask)


async def _for_messages(engine: Source, messages: list[MessageArguments], ask: Ask) -> bool:
    sought, paged = await _for_plain(engine, messages, ask.paged), ask.paged
    named = {message.task for message in messages if isinstance(message.task, str)}
    answered = (paged.messages.get(message.in_reply_to or 0) for message in messages)
    named |= {found.task for found in answered if found is not None and found.task is not None}
    for id in sorted(named):
        sought = await _task(engine, id, ask) or sought
    if not engine.state.sessions.spilled:
        return sought
    tasks = (engine.state.tasks.get(id) or paged.tasks.get(id) for id in named)
    sessions = {first_message(task).session for task in tasks if task is not None}
    return await page_sessions(engine, sessions, paged) or sought


async def _for_plain(engine: Source, messages: list[MessageArguments], paged: Paged) -> bool:
    ids: set[int] = set()
    keys: set[tuple[int, str]] = set()
    for message in messages:
        if message.in_reply_to is not None:
            ids.add(message.in_reply_to)
        original = paged.messages.get(message.in_reply_to or 0)
        session = message.session or (original.session if original is not None else None)
        if session is not None and (own := read_own_session(session)) is not None:
            ids.add(own)
        if message.dedup_key is not None:
            keys.update(_spilled(engine, message, message.dedup_key))
            if message.intent is not None:
                ids.update(_sent_by_intent(engine, message.dedup_key, paged))
    sought = await _for_sessions(engine, messages, paged)
    ids -= paged.sought
    keys -= paged.sought
    paged.sought.update(ids, keys)
    for id in ids:
        found = await _message(engine, id)
        if found is not None:
            paged.messages[id] = found
    for mailbox, key in keys:
        row = await engine.read_row("page_key", [mailbox, key])
        if row is not None:
            paged.keys[mailbox, key] = DedupKey(key, *row)
    return bool(sought or ids or keys)


async def _for_sessions(engine: Source, messages: list[MessageArguments], paged: Paged) -> bool:
    """Sessions that the messages name or inherit and that have left memory."""
    if not engine.state.sessions.spilled:
        return False
    names = {message.session for message in messages}
    originals = (paged.messages.get(message.in_reply_to or 0) for message in messages)
    names.update(original.session for original in originals if original is not None)
    return await page_sessions(engine, {name for name in names if name is not None}, paged)


async def page_sessions(engine: Source, names: set[str], paged: Paged) -> bool:
    """Bring in the records of those sessions that memory does not hold."""
    known, sought = engine.state.sessions, False
    for name in sorted(names):
        if known.get(name) is None and ("session", name) not in paged.sought:
            sought = True
            paged.sought.add(("session", name))
            row = await engine.read_row("page_session", [name])
            if row is not None:
                paged.sessions[name] = record_of(row)
    return sought


async def for_session(
    engine: Source, caller: Caller, command: SessionClose | SessionReopen, ask: Ask
) -> bool:
    """The session, or the message whose own it is."""
    sought = await page_sessions(engine, {command.session}, ask.paged)
    own = read_own_session(command.session)
    if own is None or own in ask.paged.sought:
        return sought
    ask.paged.sought.add(own)
    found = await _message(engine, own)
    if found is not None:
        ask.paged.messages[own] = found
    return True


def _sent_by_intent(engine: Source, key: str, paged: Paged) -> list[int]:
    """The message that was sent by intent under this key, to tell where it went."""
    parked = engine.state.addresses.get(PARKED)
    if parked is None:
        return []
    known = parked.dedup.get(key) or paged.keys.get((parked.number, key))
    return [known.message] if known is not None and known.message not in engine.state.mails else []


def _spilled(engine: Source, message: MessageArguments, key: str) -> list[tuple[int, str]]:
    to = message.to
    addresses = [to] if isinstance(to, str) else to or []
    mailboxes = [engine.state.addresses.get(address) for address in addresses]
    if to is None:
        mailboxes = [mailbox for mailbox in engine.state.mailboxes.values() if mailbox.dedup_spilled]
    return [
        (mailbox.number, key)
        for mailbox in mailboxes
        if mailbox is not None and mailbox.dedup_spilled and key not in mailbox.dedup
    ]


async def _message(engine: Source, id: int) -> PagedMessage | None:
    mail = engine.state.mails.get(id)
    if mail is not None:
        await engine.durable()
        body = engine.journal.read(mail.position, mail.size)
        if body is not None:
            task = mail.extra.task if mail.extra is not None else None
            return PagedMessage(
                mail.mailbox, mail.sender, mail.session or own_session(id), _decode_head(body).reply_to, task
            )
    row = await engine.read_row("page_message", [id])
    if row is None:
        return None
    mailbox, sender, session, text, task = row
    return PagedMessage(mailbox, sender, session or own_session(id), _decode_head(text).reply_to, task)


async def _task(engine: Source, id: str, ask: Ask) -> bool:
    """A task that is over, and not one of the last."""
    if id in engine.state.tasks or id in engine.state.ended_tasks or id in ask.paged.sought:
        return False
    ask.paged.sought.add(id)
    row = await engine.read_row("page_task", [id, ask.now - TASK_RETENTION_MS])
    if row is not None:
        ask.paged.tasks[id] = decode_task(row[0])
    return True


async def for_task(
    engine: Source, caller: Caller, command: TaskGet | TaskUpdate | TaskCancel, ask: Ask
) -> bool:
    """The task, if it is not in memory."""
    return await _task(engine, command.task, ask)


async def for_push(
    engine: Source, caller: Caller, command: PushSet | PushDelete | PushReport, ask: Ask
) -> bool:
    """A task that is over, and all of its push targets."""
    sought = await _task(engine, command.task, ask)
    if ("pushes", command.task) in ask.paged.sought:
        return sought
    ask.paged.sought.add(("pushes", command.task))
    rows = await engine.read_rows("page_pushes", [command.task])
    ask.paged.pushes[command.task] = [decode_push(record) for (record,) in rows]
    return True


async def for_ack(engine: Source, caller: Caller, command: MailboxAck, ask: Ask) -> bool:
    """Deliveries that are settled and have left memory, and what the send in the call needs."""
    send = command.send
    messages = [] if send is None else send if isinstance(send, list) else [send]
    sought = await _for_messages(engine, messages, ask)
    for update in command.tasks or ():
        sought = await _task(engine, update.task, ask) or sought
    for item in command.items:
        token = read_lease_token(item.lease)
        if token is None or token[:2] in ask.paged.sought:
            continue
        number, message, _ = token
        group = engine.state.groups.get(number)
        if group is not None and message in group.open:
            continue
        sought = True
        ask.paged.sought.add((number, message))
        if 0 < number < 2**53 and 0 < message < 2**53:
            row = await engine.read_row("page_delivery", [number, message])
            if row is not None:
                ask.paged.deliveries[number, message] = PagedDelivery(*row)
    return sought


async def for_delete(engine: Source, caller: Caller, command: MailboxDelete, ask: Ask) -> bool:
    """Settled messages, which only the tables have."""
    ids = [id for id in command.ids if id not in engine.state.mails and id not in ask.paged.sought]
    mailbox = engine.state.addresses.get(command.mailbox or caller.agent or "")
    if not ids or mailbox is None:
        return False
    ask.paged.sought.update(ids)
    rows = await engine.read_rows("page_settled", [mailbox.number, min(ids), max(ids), ids])
    ask.paged.settled.update((id, PagedSettled(*row)) for id, *row in rows)
    return True


async def for_reset(engine: Source, caller: Caller, command: GroupReset, ask: Ask) -> bool:
    """How much settled mail the group will read again."""
    mailbox = engine.state.addresses.get(command.mailbox or caller.agent or "")
    return await history_sizes(engine, caller, [mailbox] if mailbox else [], command.to, "to", ask)


async def history_sizes(
    engine: Source,
    caller: Caller,
    mailboxes: list[Mailbox],
    start: str | int,
    argument: str,
    ask: Ask,
) -> bool:
    """Count the settled mail behind ``start`` in each of the mailboxes that have any."""
    known = ask.paged.histories
    mailboxes = [mailbox for mailbox in mailboxes if mailbox.settled and mailbox.number not in known]
    if not mailboxes or start == "latest":
        return False
    start_id, start_at = read_start(Plan(engine.state, caller, ask, ask.now), start, argument)
    for mailbox in mailboxes:
        settled = (mailbox.settled, mailbox.settled_bytes)
        row = await engine.read_row(
            "history_size",
            {
                "mailbox": mailbox.number,
                "through": 2**53,
                "start_id": start_id,
                "start_at": start_at,
                "ordered": False,
                "tier": -1,
                "visible_at": -1,
                "id": -1,
            },
        )
        known[mailbox.number] = HistorySize(int(row[0]), int(row[1]), settled)
    return True


async def history_page(engine: Source, group: Group) -> HistoryPage | None:
    """The next page of a group's history; None if it changed meanwhile and must be read again."""
    history, mailbox = group.history, group.mailbox
    assert history is not None
    version = mailbox.history_version
    rows = await engine.read_rows(
        "history_page",
        {
            "mailbox": mailbox.number,
            "through": history.through,
            "start_id": group.start_id,
            "start_at": group.start_at,
            "ordered": mailbox.settings.ordered_by is not None,
            "tier": history.after[0],
            "visible_at": history.after[1],
            "id": history.after[2],
            "page": HISTORY_PAGE,
        },
    )
    mails = [_mail(row) for row in rows]
    await _name_tasks(engine, mails)
    if version != mailbox.history_version or engine.state.groups.get(group.number) is not group:
        return None
    return HistoryPage(mails, group.history_key(mails[-1]) if len(mails) == HISTORY_PAGE else None)


async def _name_tasks(engine: Source, mails: list[Mail]) -> None:
    """Messages that belong to tasks say so again."""
    ids = [mail.id for mail in mails]
    rows = await engine.read_rows("tasks_of_messages", [min(ids), max(ids), ids]) if ids else []
    tasks = dict(rows)
    for mail in mails:
        if mail.id in tasks:
            mail.extra = structs.replace(mail.extra or Extra(), task=tasks[mail.id])


def _mail(row: tuple[Any, ...]) -> Mail:
    return mail_of(row, row[9], extra_of(state_key=row[10], letter=row[11]))


def read_one(con: duckdb.DuckDBPyConnection, name: str, arguments: Any) -> Any:
    """The first row of a named statement."""
    return con.execute(SQL[name], arguments).fetchone()


def read_all(con: duckdb.DuckDBPyConnection, name: str, arguments: Any) -> Any:
    """All rows of a named statement."""
    return con.execute(SQL[name], arguments).fetchall()


PREPARE: dict[type[Any], Callable[[Source, Caller, Any, Ask], Coroutine[Any, Any, bool]]] = {
    MailboxSend: for_send,
    TaskRequest: for_send,
    MailboxAck: for_ack,
    MailboxDelete: for_delete,
    GroupReset: for_reset,
    SessionClose: for_session,
    SessionReopen: for_session,
    TaskGet: for_task,
    TaskUpdate: for_task,
    TaskCancel: for_task,
    PushSet: for_push,
    PushRequest: for_push,
    PushDelete: for_push,
    PushReport: for_push,
}
