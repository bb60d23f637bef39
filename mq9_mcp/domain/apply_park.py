"""How parked messages move in the state: out of the broker's own mailbox, with their ids, to an agent."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappush
from typing import Any, TypeVar

from mq9_mcp.domain import events as e
from mq9_mcp.domain.apply_mail import remember_key, store
from mq9_mcp.domain.names import PARKED, own_session
from mq9_mcp.domain.state import Mailbox, State
from mq9_mcp.domain.task import rehouse

T = TypeVar("T")


def moved(mail: e.Mail, event: e.Unparked, visible_at: int) -> e.Mail:
    """The message as the agent's mailbox has it."""
    assert mail.extra is not None
    assert mail.extra.wish is not None
    key, task = mail.extra.wish.state_key, mail.extra.task
    return e.Mail(
        mail.id,
        event.mailbox,
        mail.tier,
        visible_at,
        mail.size,
        mail.sender,
        mail.position,
        mail.expires_at,
        mail.session,
        mail.tags,
        e.Extra(state_key=key, task=task) if key is not None or task is not None else None,
    )


def _unparked(state: State, event: e.Unparked) -> None:
    parked, target = state.addresses[PARKED], state.mailboxes[event.mailbox]
    for id, visible_at in zip(event.ids, event.visible, strict=True):
        mail = state.mails[id]
        state.forget(parked, [mail])
        store(state, moved(mail, event, visible_at), event.at)
        state.sessions.attach(mail.session or own_session(id), target.number, event.at)
    for name in event.tasks:
        _move_task(state, parked, target, name)
    for key in event.keys:
        remember_key(state, target, key)
    # The messages live on elsewhere: what the parked mailbox remembers of their times must go.
    gone, tasks = set(event.ids), set(event.tasks)
    parked.delayed = _without(parked.delayed, gone)
    parked.expiries = _without(parked.expiries, gone)
    parked.timeouts = _without(parked.timeouts, tasks)


def _without(heap: list[tuple[int, T]], gone: set[T]) -> list[tuple[int, T]]:
    left = [one for one in heap if one[1] not in gone]
    heapify(left)
    return left


def _move_task(state: State, parked: Mailbox, target: Mailbox, name: str) -> None:
    """The task is worked where its message is."""
    task = state.tasks[name]
    rehouse(task, target.number, target.address, target.owner)
    if task.timeout_at is not None:
        heappush(target.timeouts, (task.timeout_at, name))
        state.watch(target, task.timeout_at)
    for request in task.requests or ():
        state.requests.pop((parked.number, request), None)
        state.requests[target.number, request] = name


PARK: dict[type[e.Event], Callable[[State, Any], None]] = {e.Unparked: _unparked}
