"""Commands that the tables answer: what they need of memory, then one read of everything acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from msgspec import structs

from mq9_mcp.domain.commands import MailboxQuery, SessionGet, SessionList
from mq9_mcp.domain.park import hidden, own_parked
from mq9_mcp.domain.plan import Ask, Plan
from mq9_mcp.domain.push_commands import PushList, PushLook
from mq9_mcp.domain.state import SYSTEM, Caller, State
from mq9_mcp.domain.task_commands import TaskList, TaskPage
from mq9_mcp.engine.embedded.push_list import list_pushes
from mq9_mcp.engine.embedded.query import GroupPlace, query, read_cursor
from mq9_mcp.engine.embedded.session import SessionReader, read_after, unwrap
from mq9_mcp.engine.embedded.task_list import list_tasks, page_tasks

Reply = dict[str, Any]


class Source(Protocol):
    """What this room needs of the engine."""

    state: State

    async def ready_to_read(self, ask: Ask) -> None:
        """Be up to date before a read."""

    async def read_tables(self, read: Callable[[Any], Any]) -> Any:
        """What the tables say once they have everything that was acknowledged before."""


async def _messages(engine: Source, caller: Caller, command: MailboxQuery, ask: Ask) -> Reply:
    await engine.ready_to_read(ask)
    read_cursor(command.cursor)
    if hidden(command.mailbox, caller):
        known = own_parked(engine.state, caller)
        ids = known if command.ids is None else [id for id in command.ids if id in known]
        if not ids:
            return {"messages": [], "remaining": 0}
        command, caller = structs.replace(command, ids=ids), SYSTEM
    plan = Plan(engine.state, caller, ask, ask.now)
    mailbox = plan.mailbox(command.mailbox or plan.own_mailbox())
    groups = [
        GroupPlace(group.number, group.name, group.start_id, group.start_at)
        for group in mailbox.groups.values()
    ]
    number, address = mailbox.number, mailbox.address
    reply: Reply = await engine.read_tables(
        partial(query, command=command, mailbox=number, address=address, groups=groups, now=ask.now)
    )
    return reply


async def _sessions(engine: Source, caller: Caller, command: SessionGet | SessionList, ask: Ask) -> Reply:
    await engine.ready_to_read(ask)
    number = None
    if isinstance(command, SessionGet):
        read_after(command.after)
    elif command.mailbox is not None:
        number = Plan(engine.state, caller, ask, ask.now).mailbox(command.mailbox).number
    view = SessionReader(caller.principal, caller.name, ask.now, number)
    return unwrap(await engine.read_tables(partial(view.read, command=command)), command)


async def _tasks(engine: Source, caller: Caller, command: TaskList, ask: Ask) -> Reply:
    await engine.ready_to_read(ask)
    read_cursor(command.cursor)
    listed = partial(list_tasks, command=command, principal=caller.principal, now=ask.now)
    reply: Reply = await engine.read_tables(listed)
    return reply


async def _task_page(engine: Source, caller: Caller, command: TaskPage, ask: Ask) -> Reply:
    await engine.ready_to_read(ask)
    paged = partial(page_tasks, command=command, principal=caller.principal, now=ask.now)
    reply: Reply = await engine.read_tables(paged)
    return reply


async def _pushes(engine: Source, caller: Caller, command: PushList, ask: Ask) -> Reply:
    await engine.ready_to_read(ask)
    read_cursor(command.cursor)
    listed = partial(list_pushes, command=command, principal=caller.principal, now=ask.now)
    reply: Reply = await engine.read_tables(listed)
    return reply


FROM_TABLES: dict[type[Any], Callable[[Any, Caller, Any, Ask], Coroutine[Any, Any, Reply]]] = {
    MailboxQuery: _messages,
    SessionGet: _sessions,
    SessionList: _sessions,
    TaskList: _tasks,
    TaskPage: _task_page,
    PushList: _pushes,
    PushLook: _pushes,
}
