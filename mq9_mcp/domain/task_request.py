"""A client that knows its messages by names of its own: sent again while the task is open, it is one task.

Doors alone use it. What such a client wrote around its parts is kept as it came (``a2a`` of a message).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from msgspec import structs

from mq9_mcp.domain.commands import MailboxSend
from mq9_mcp.domain.parts import check_parts, digest
from mq9_mcp.domain.plan import Plan
from mq9_mcp.domain.push_commands import PushRequest
from mq9_mcp.domain.state import Caller
from mq9_mcp.domain.task import Task, TaskState

Send = Callable[[Plan, Any], dict[str, Any]]
ANYWHERE = "intent/"  # begins the name of a request whose mailbox the broker chose
REPEATABLE = (TaskState.SUBMITTED, TaskState.WORKING)


class TaskRequest(MailboxSend, kw_only=True, frozen=True):
    """A message that opens a task or belongs to one. ``a2a`` is kept with it verbatim.

    ``push``: where the task's events are posted, from its first one if this opens it.
    """

    message_id: str
    a2a: dict[str, Any]
    push: PushRequest | None = None


def request_key(caller: Caller, command: TaskRequest, parts: list[dict[str, Any]]) -> str:
    """Names the request: the same caller, the same id, the same parts."""
    named = f"{digest(parts):x}/{caller.name}/{command.message_id}"
    return ANYWHERE + named if command.intent is not None else named


def place_of(mailbox: int, name: str) -> tuple[int, str]:
    """Where a request is remembered: with its mailbox, or for all of them if it named none."""
    return (0 if name.startswith(ANYWHERE) else mailbox), name


def repeated(plan: Plan, command: TaskRequest) -> Task | None:
    """The task that this very request opened or continued, while it is submitted or working."""
    mailbox = plan.find(command.to) if isinstance(command.to, str) else None
    if mailbox is None and command.intent is None:
        return None
    parts = check_parts(command.text, command.parts)
    key = plan.request = request_key(plan.caller, command, parts)
    id = plan.state.requests.get(place_of(mailbox.number if mailbox is not None else 0, key))
    task = plan.state.tasks.get(id) if id is not None else None
    if task is None or task.state not in REPEATABLE or command.task not in (True, task.id):
        return None
    return task


def with_lasting_key(plan: Plan, command: TaskRequest) -> TaskRequest:
    """What an exactly-once mailbox asks of every send: here the client's own name for the message."""
    mailbox = plan.find(command.to) if isinstance(command.to, str) else None
    if mailbox is None or not mailbox.settings.exactly_once or command.dedup_key is not None:
        return command
    named = f"{plan.caller.name}\n{command.message_id}".encode()
    key = "request-" + hashlib.blake2b(named, digest_size=16).hexdigest()
    return structs.replace(command, dedup_key=key)
