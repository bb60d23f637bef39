"""Push: a task's events are posted to targets that its asker names, from the journal, until it is over.

Memory holds the targets of open tasks, and those that are owed the last events of one that is over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from msgspec import structs

from mq9_mcp.domain import push_events as e
from mq9_mcp.domain.clock import wire_time
from mq9_mcp.domain.commands import TIERS
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.events import Event, Mail, Sent
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.parts import Body, encode_body
from mq9_mcp.domain.plan import Plan
from mq9_mcp.domain.push_commands import PushAuthentication, PushDelete, PushReport, PushRequest, PushSet
from mq9_mcp.domain.push_target import AS_IT_STANDS, Push, PushTarget, read_url
from mq9_mcp.domain.state import State
from mq9_mcp.domain.task import Task
from mq9_mcp.domain.task_moves import asker_mailbox, find_task, open_task

PUSHES_MAX = limit("pushes_max")


def decide_set(plan: Plan, command: PushSet) -> dict[str, Any]:
    """Post a task's events to a target; the reply is ``{push}``."""
    task = _asked_for(plan, command.task)
    return {"push": view_of(set_push(plan, task, command, AS_IT_STANDS))}


def set_push(plan: Plan, task: Task, command: PushSet, number: int) -> Push:
    """Plan a target of ``task`` for its events after ``number``; one that is set again stays as it is."""
    read_url(command.url)
    given = command.authentication or PushAuthentication(scheme="-")
    scheme = command.authentication.scheme if command.authentication is not None else None
    version = command.version if isinstance(command, PushRequest) else "1.0"
    target = PushTarget(command.url, command.token, scheme, given.credentials, version)
    known = _known(plan, task)
    for push in known.values():
        if push.live and push.target == target and command.id in (None, push.id):
            return push
    if command.id not in known and len(known) >= PUSHES_MAX:
        raise Refused(
            "BATCH_TOO_LARGE",
            f"task {task.id!r} has {len(known)} push targets; pushes_max is {PUSHES_MAX}",
            "push_delete one of them",
            pushes_max=PUSHES_MAX,
        )
    id = command.id or _new_id(plan.ask.secret, task.id)
    event = e.PushSet(
        at=plan.now, task=task.id, push=id, principal=plan.caller.principal, target=target, number=number
    )
    plan.events.append(event)
    return begun(event, plan.seq)


def _new_id(secret: str, task: str) -> str:
    return "push-" + hashlib.blake2b(f"push/{secret}/{task}".encode(), digest_size=8).hexdigest()


def _asked_for(plan: Plan, id: str) -> Task:
    """The task, if the caller is its asker's principal: whoever works on it need not hear who else hears."""
    task = find_task(plan, id)
    if task.principal != plan.caller.principal:
        raise Refused("FORBIDDEN", f"task {id[:64]!a}: only its asker's principal may push its events")
    return task


def _known(plan: Plan, task: Task) -> dict[str, Push]:
    """The targets of a task by name: in memory while it is open, else those of the tables too."""
    live = plan.state.pushes.get(task.id, {})
    if open_task(plan, task.id) is not None:
        return live
    return {push.id: push for push in plan.paged.pushes.get(task.id, ())} | live


def decide_delete(plan: Plan, command: PushDelete) -> dict[str, Any]:
    """Post no more to a target; the reply is ``{deleted}``."""
    known = _known(plan, _asked_for(plan, command.task))
    if command.id not in known:
        return {"deleted": False}
    plan.events.append(
        e.PushDeleted(at=plan.now, task=command.task, push=command.id, principal=plan.caller.principal)
    )
    return {"deleted": True}


def decide_report(plan: Plan, command: PushReport) -> dict[str, Any]:
    """Keep how far a target has come; ``{live}`` says whether anything more is to be posted to it."""
    push = plan.state.pushes.get(command.task, {}).get(command.id)
    if push is None or push.made != command.made or not push.live:
        return {"live": False}
    number = push.number if command.number is None else max(push.number, command.number)
    if command.disable:
        trouble = command.trouble or "unknown"
        plan.events.append(
            e.PushDisabled(
                at=plan.now, task=push.task, push=push.id, principal=push.principal, trouble=trouble
            )
        )
        _tell_asker(plan, push, trouble)
        return {"live": False}
    known = push.failing_since is not None and command.trouble is not None
    if number > push.number or command.done or (command.trouble is not None and not known):
        plan.events.append(
            e.PushMoved(
                at=plan.now,
                task=push.task,
                push=push.id,
                number=number,
                trouble=command.trouble,
                done=command.done,
            )
        )
    return {"live": not command.done}


def _tell_asker(plan: Plan, push: Push, trouble: str) -> None:
    """A letter to the asker, past the quota, if it has a mailbox; nothing of the URL but its host."""
    task = open_task(plan, push.task) or plan.state.ended_tasks.get(push.task)
    task = task or plan.paged.tasks.get(push.task)
    mailbox = asker_mailbox(plan, task) if task is not None else None
    if task is None or mailbox is None:
        return
    host, since = read_url(push.target.url).host, wire_time(push.failing_since or plan.now)
    about: dict[str, Any] = {"code": "PUSH_DISABLED", "task": task.id, "push": push.id, "host": host}
    about |= {"trouble": trouble, "failing_since": since, "delivered": max(push.number, 0)}
    text = (
        f"PUSH_DISABLED: events of task {task.id} are not posted to {host} any more, "
        f"which failed since {since}, at last with: {trouble}"
    )
    parts: list[dict[str, Any]] = [{"text": text}, {"data": about}]
    name = plan.caller.name
    body = encode_body(Body(name, plan.caller.verified, wire_time(plan.now), TIERS[task.tier], parts, []))
    id, offset, size = plan.new_message(), plan.add_body(body), len(body)
    mail = Mail(id, mailbox.number, task.tier, plan.now, size, name, offset)
    plan.count(mailbox, 1, size)
    plan.events.append(Sent(at=plan.now, mails=[mail]))


# --- what events mean


def begun(event: e.PushSet, made: int) -> Push:
    """The target that an event of record ``made`` sets."""
    return Push(event.task, event.push, event.principal, event.target, event.at, made, event.number)


def advance(push: Push, event: e.PushMoved | e.PushDisabled) -> Push:
    """The target after the event: the same for the state in memory and the tables."""
    if isinstance(event, e.PushDisabled):
        since = push.failing_since if push.failing_since is not None else event.at
        return structs.replace(push, disabled_at=event.at, failing_since=since, trouble=event.trouble)
    failing = None if event.trouble is None else event.at
    return structs.replace(
        push, number=event.number, failing_since=failing, trouble=event.trouble, done=event.done
    )


def view_of(push: Push, secrets: bool = False) -> dict[str, Any]:
    """A target as the wire shows it; ``secrets``: with the token that its asker gave."""
    view: dict[str, Any] = {
        "id": push.id,
        "task": push.task,
        "url": push.target.url,
        "state": push.state,
        "delivered": max(push.number, 0),
        "created_at": wire_time(push.created_at),
    }
    if push.target.scheme is not None:
        view["authentication"] = {"scheme": push.target.scheme}
    if secrets and push.target.token is not None:
        view["token"] = push.target.token
    if push.failing_since is not None:
        view["failing_since"] = wire_time(push.failing_since)
    if push.disabled_at is not None:
        view["disabled_at"] = wire_time(push.disabled_at)
    if push.trouble is not None:
        view["trouble"] = push.trouble
    return view


def add_push(state: State, push: Push) -> None:
    """Know a target that memory holds."""
    state.pushes.setdefault(push.task, {})[push.id] = push


def _drop(state: State, task: str, id: str) -> None:
    known = state.pushes.get(task)
    if known is not None and known.pop(id, None) is not None and not known:
        del state.pushes[task]


def _set(state: State, event: e.PushSet) -> None:
    add_push(state, begun(event, state.seq))


def _deleted(state: State, event: e.PushDeleted) -> None:
    _drop(state, event.task, event.push)


def _moved(state: State, event: e.PushMoved | e.PushDisabled) -> None:
    push = advance(state.pushes[event.task][event.push], event)
    if push.live or (not push.done and event.task in state.tasks):
        add_push(state, push)
    else:
        _drop(state, event.task, event.push)


PUSH: dict[type[Event], Callable[[State, Any], None]] = {
    e.PushSet: _set,
    e.PushDeleted: _deleted,
    e.PushMoved: _moved,
    e.PushDisabled: _moved,
}
