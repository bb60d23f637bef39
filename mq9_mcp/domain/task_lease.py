"""What a lease on a task's message means: the right to work, resume where it stopped, and hear of news."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.events import Mail
from mq9_mcp.domain.names import DEFAULT_GROUP
from mq9_mcp.domain.plan import Plan
from mq9_mcp.domain.state import Group, Mailbox, due_now
from mq9_mcp.domain.task import Move, Task, allowed
from mq9_mcp.domain.task_moves import CODES, end_work, finish, move, open_task, work_of


def describe(plan: Plan, group: Group, mail: Mail, delivery: dict[str, Any]) -> None:
    """Add to a delivery what a worker needs to go on; a group other than ``default`` gets a mere copy."""
    assert mail.extra is not None
    known = plan.state.tasks.get(mail.extra.task or "")
    if known is None or known.work != mail.id or group.name != DEFAULT_GROUP:
        return
    delivery["task_state"] = "working"
    if known.checkpoint:
        delivery["checkpoint"] = known.checkpoint
    if known.question and known.work != known.first:
        delivery["question"] = known.question
    if known.follow_ups:
        delivery["follow_ups"] = known.follow_ups
    if known.checkpoint or known.question or known.follow_ups:
        later(plan, known.id, delivery)


def later(plan: Plan, task: str, part: dict[str, Any]) -> None:
    """Have the engine put the words of a task in for their places and message ids in a part of the reply.

    Follow-ups are found by their ids alone: they may be of several tasks.
    """
    if plan.ask.words is None:
        plan.ask.words = []
    plan.ask.words.append((task, part))


def tell_news(plan: Plan, group: Group, message: int, result: dict[str, Any]) -> None:
    """Tell who extends a lease that cancel was asked for, and the follow-ups that it does not know."""
    task = work_of(plan, message)
    if task is None or group.name != DEFAULT_GROUP:
        return
    if task.cancel_requested:
        result["cancel_requested"] = True
    fresh = (task.follow_ups or [])[task.told :]
    if fresh:
        result["follow_ups"] = fresh
        later(plan, task.id, result)


def news_of(plan: Plan, reply: dict[str, Any]) -> None:
    """Tell a worker that fetches more what is new about the tasks that it holds."""
    fresh: list[int] = []
    for id in sorted(plan.state.task_news.get(plan.caller.name, ()), key=lambda id: _opening(plan, id)):
        task = open_task(plan, id)
        assert task is not None
        if not holds(plan, task):
            continue
        if task.cancel_requested:
            reply["cancel_requested"].append(id)
        unknown = (task.follow_ups or [])[task.told :]
        if unknown:
            fresh += unknown
            move(plan, task, Move.PROGRESS, [], told=len(task.follow_ups or ()))
    if fresh:
        reply["follow_ups"] = fresh
        later(plan, "", reply)


def canceled_work(plan: Plan, worker: str) -> list[str]:
    """The tasks that ``worker`` holds and should stop, in the order in which they were opened."""
    ids = sorted(plan.state.task_news.get(worker, ()), key=lambda id: _opening(plan, id))
    return [id for id in ids if (task := open_task(plan, id)) and task.cancel_requested and holds(plan, task)]


def _opening(plan: Plan, id: str) -> int:
    """Tasks in the order in which they were opened, as their names are in none."""
    return plan.state.tasks[id].first


def holds(plan: Plan, task: Task) -> bool:
    """True if the caller's principal has the lease on the task's work message."""
    group = plan.state.mailboxes[task.mailbox].groups.get(DEFAULT_GROUP)
    delivery = group.open.get(task.work) if group is not None else None
    return delivery is not None and delivery.principal == plan.caller.principal


def check_ack(plan: Plan, group: Group, mail: Mail, replied: Collection[int | None]) -> None:
    """An ack says that the message is done with, not how the task ended: only a reply in the call does."""
    task = work_of(plan, mail.id)
    if task is None or group.name != DEFAULT_GROUP:
        return
    if mail.id in replied:
        if plan.completing is None:
            plan.completing = set()
        plan.completing.add(mail.id)
        return
    raise Refused(
        "ILLEGAL_TRANSITION",
        f"message {mail.id} is the work of task {task.id!r}, which is {task.state}: "
        "ack does not say how it ended",
        'call task_update(state="completed"), or send the reply in the same call',
        task=task.id,
        state=str(task.state),
        allowed=[str(one) for one in allowed(task.state)],
    )


def decide_timeouts(plan: Plan, mailbox: Mailbox) -> None:
    """Tasks whose ``timeout_s`` is over fail, whoever works on them."""
    due = [id for id in due_now(mailbox.timeouts, plan.now) if id in plan.state.tasks]
    for id in sorted(due, key=lambda id: _opening(plan, id)):
        task = open_task(plan, id)
        if task is not None:
            fields = end_work(plan, task)
            finish(plan, task, Move.FAIL, "TIMEOUT", CODES["TIMEOUT"], **fields)
