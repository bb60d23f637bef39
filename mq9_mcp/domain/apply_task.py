"""How tasks move in the state. What is over leaves; the last few stay a while for who waited for them."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappush
from typing import Any

from mq9_mcp.domain import events as e
from mq9_mcp.domain.apply_mail import end_messages, supersede
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.state import State
from mq9_mcp.domain.task import Task, advance, opened
from mq9_mcp.domain.task_request import place_of

ENDED_MAX = limit("ended_tasks_in_memory")


def add_task(state: State, task: Task) -> None:
    """Know an open task, its time and what its worker is to be told."""
    state.tasks[task.id] = task
    mailbox = state.mailboxes[task.mailbox]
    task.address, task.owner = mailbox.address, mailbox.owner  # the same strings, after a restart too
    if task.timeout_at is not None:
        heappush(mailbox.timeouts, (task.timeout_at, task.id))
        state.watch(mailbox, task.timeout_at)
    for name in task.requests or ():
        state.requests[place_of(task.mailbox, name)] = task.id
    _note_news(state, task)


def _note_news(state: State, task: Task) -> None:
    worker = task.worker or ""
    known = state.task_news.get(worker)
    if task.news:
        state.task_news.setdefault(worker, set()).add(task.id)
    elif known is not None and task.id in known:
        known.remove(task.id)
        if not known:
            del state.task_news[worker]


def _forget_requests(state: State, task: Task) -> None:
    for name in task.requests or ():
        if state.requests.get(place_of(task.mailbox, name)) == task.id:
            del state.requests[place_of(task.mailbox, name)]


def _forget_disabled(state: State, task: str) -> None:
    """Targets that nothing more is posted to: they stayed for as long as they could be set again."""
    known = state.pushes.pop(task, None)
    if known is not None and (live := {id: push for id, push in known.items() if push.live}):
        state.pushes[task] = live


def _opened(state: State, event: e.TaskOpened) -> None:
    add_task(state, opened(event))


def _moved(state: State, event: e.TaskMoved) -> None:
    task = state.tasks[event.task]
    if state.task_news and task.news:  # another worker may hold it now
        known = state.task_news[task.worker or ""]
        known.remove(task.id)
        if not known:
            del state.task_news[task.worker or ""]
    advance(task, event)
    for id in event.withdrawn:
        end_messages(state, state.mailboxes[state.mails[id].mailbox], (id,), event.at)
    for id in event.superseded:
        supersede(state.mailboxes[state.mails[id].mailbox], state.mails[id], "withdrawn")
    if state.task_news or task.news:
        _note_news(state, task)
    if event.request is not None:
        state.requests[place_of(task.mailbox, event.request)] = task.id
    if task.over:
        _forget_requests(state, task)
        del state.tasks[task.id]
        if state.pushes:
            _forget_disabled(state, task.id)
        state.ended_tasks[task.id] = task
        if len(state.ended_tasks) > ENDED_MAX:
            state.ended_tasks.popitem(last=False)


TASKS: dict[type[e.Event], Callable[[State, Any], None]] = {
    e.TaskOpened: _opened,
    e.TaskMoved: _moved,
}
