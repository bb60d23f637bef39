"""Tasks follow their messages: whatever a plan does to a work message moves its task in the same commit.

The one place that joins the two. It reads the events of a finished plan, so no command that ends a
message, now or later, can forget the task; and the asker's notice is stored with the move.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import structs

from mq9_mcp.domain import events as e
from mq9_mcp.domain.clock import wire_time
from mq9_mcp.domain.commands import TIERS
from mq9_mcp.domain.delivery import DeliveryState
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.group import wanted
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.names import DEFAULT_GROUP, own_session
from mq9_mcp.domain.parts import Body, encode_body
from mq9_mcp.domain.plan import Plan
from mq9_mcp.domain.session import let_in
from mq9_mcp.domain.state import Group, Mailbox
from mq9_mcp.domain.task import INTERRUPTED, TERMINAL, Move, Task, advance, next_task_state

Place = tuple[int, int]
RETENTION_MS = limit("task_retention_s") * 1000
CODES = {
    "EXPIRED": "the message expired before the task was done",
    "DEAD_LETTERED": "the message went to the dead letters",
    "TIMEOUT": "timeout_s passed",
}
REPLACED = "the message was replaced by a newer one of its state_key"


def open_task(plan: Plan, id: str) -> Task | None:
    """The open task ``id`` as this plan leaves it: a copy that the plan may move."""
    if plan.tasks is not None and id in plan.tasks:
        task = plan.tasks[id]
        return None if task.over else task
    known = plan.state.tasks.get(id)
    if known is None:
        return None
    if plan.tasks is None:
        plan.tasks = {}
    task = plan.tasks[id] = structs.replace(known)
    return task


def find_task(plan: Plan, id: str, argument: str = "task", granted: bool = False) -> Task:
    """The task ``id``, open or over, if the caller may know of it; else ``TASK_NOT_FOUND``.

    ``granted``: the caller holds a message in the task, and answers it.
    """
    task = open_task(plan, id)
    if task is None and plan.tasks is not None:
        task = plan.tasks.get(id)
    if task is None:
        task = plan.state.ended_tasks.get(id) or plan.paged.tasks.get(id)
        if task is not None and (task.ended_at or plan.now) + RETENTION_MS <= plan.now:
            task = None
    if task is None or not (granted or plan.caller.principal in (task.principal, task.owner)):
        raise Refused(
            "TASK_NOT_FOUND",
            f"{argument}: there is no task {id[:64]!a} that the caller asked for or owns",
            "task_list shows yours",
            task=id[:64],
        )
    return task


def work_of(plan: Plan, id: int) -> Task | None:
    """The open task whose work message ``id`` is."""
    mail = plan.state.mails.get(id)
    name = mail.extra.task if mail is not None and mail.extra is not None else None
    if mail is None and plan.fresh_work is not None:
        name = plan.fresh_work.get(id)
    task = open_task(plan, name) if name is not None else None
    return task if task is not None and task.work == id else None


def move(plan: Plan, task: Task, what: Move, steps: list[e.Step], **fields: Any) -> None:
    """Plan one move of ``task``; ``ILLEGAL_TRANSITION`` if the table does not have it."""
    after = next_task_state(task.state, what)
    event = e.TaskMoved(
        at=plan.now,
        task=task.id,
        mailbox=task.mailbox,
        state=after,
        by=plan.caller.name,
        steps=steps,
        **fields,
    )
    plan.events.append(event)
    advance(task, event)


def tell_asker(
    plan: Plan, task: Task, state: str, parts: list[dict[str, Any]], silent: bool = False
) -> Place:
    """Keep the status message of a task's new state, and store it for the asker where that is due.

    Called before the move, while the task still names its work message.
    """
    about = task.work or task.first
    session = task.session or own_session(task.first)
    body = encode_body(
        Body(
            plan.caller.name,
            plan.caller.verified,
            wire_time(plan.now),
            TIERS[task.tier],
            parts,
            [],
            session=session,
            in_reply_to=about,
            reply_to=task.address,
            task_state=state,
        )
    )
    offset, size = plan.add_body(body), len(body)
    target = None
    if not silent and (state in TERMINAL or state in INTERRUPTED):
        target = asker_mailbox(plan, task)
    if target is not None:
        _store_notice(plan, task, target, about, (offset, size))
    return offset, size


def _store_notice(plan: Plan, task: Task, target: Mailbox, about: int, body: Place) -> None:
    """Past the quota: the asker is owed one notice for each task that it opened and answer that it gave."""
    id, session = plan.new_message(), task.session or own_session(task.first)
    offset, size = body
    extra, sender = e.Extra(task=task.id), plan.caller.name
    mail = e.Mail(id, target.number, task.tier, plan.now, size, sender, offset, None, session, None, extra)
    plan.count(target, 1, size)
    sent = e.Sent(at=plan.now, mails=[mail], answers=[(about, id)])
    let_in(plan, sent, task)
    plan.events.append(sent)


def asker_mailbox(plan: Plan, task: Task) -> Mailbox | None:
    """Where the asker hears of its task; None if it has no mailbox, or names one that it may not write to."""
    mailbox = plan.find(task.reply_to or task.asker)
    if mailbox is None or not (mailbox.agent or mailbox.owner == task.principal):
        return None
    gone = any(isinstance(one, e.MailboxDropped) and one.mailbox == mailbox.number for one in plan.events)
    return None if gone else mailbox


def finish(plan: Plan, task: Task, what: Move, code: str, why: str, **fields: Any) -> None:
    """The broker ends a task: ``failed`` with the code, or ``canceled``; the asker hears why."""
    state = next_task_state(task.state, what)
    parts: list[dict[str, Any]] = [{"text": f"{code}: {why}"}, {"data": {"code": code, "reason": why}}]
    detail = tell_asker(plan, task, state, parts)
    move(plan, task, what, [e.Step("status", detail, reason=code)], **fields)


def cancel(plan: Plan, task: Task, why: str, **fields: Any) -> None:
    """A task ends because its message did, or somebody wanted it to."""
    finish(plan, task, Move.CANCEL, "CANCELED", why, **fields)


def end_work(plan: Plan, task: Task) -> dict[str, list[int]]:
    """End the work message where the task is worked; the fields that the task's own move needs for it."""
    mail = plan.state.mails.get(task.work)
    if mail is None:
        return {}
    mailbox = plan.state.mailboxes[mail.mailbox]
    group = mailbox.groups.get(DEFAULT_GROUP)
    if group is not None and mail.visible_at <= plan.now:
        kept = plan.owed_elsewhere(mail, group)
        state = mailbox.ending.get(mail.id, "withdrawn")
        plan.settled.add((group.number, mail.id))
        plan.events.append(e.Closed(at=plan.now, group=group.number, id=mail.id, state=state, kept=kept))
        return {}
    held = any(leased(one, mail.id) for one in mailbox.groups.values())
    return {"superseded" if held else "withdrawn": [mail.id]}


def leased(group: Group | None, id: int) -> bool:
    """True while somebody holds a lease on the message in the group."""
    delivery = group.open.get(id) if group is not None else None
    return delivery is not None and delivery.state is DeliveryState.LEASED


# --- what events mean to tasks


def follow_mail(plan: Plan) -> None:
    """Let every task follow what the events of this plan do to its work message."""
    for event in plan.events[:]:
        follow = _FOLLOW.get(type(event))
        if follow is not None:
            follow(plan, event)


def _works(plan: Plan, event: Any) -> Iterable[Task]:
    """The tasks whose work messages the event of the group ``default`` speaks of."""
    group = plan.state.groups.get(event.group)
    if group is None or group.name != DEFAULT_GROUP:
        return
    mails = plan.state.mails
    for id in getattr(event, "ids", None) or (getattr(event, "id", 0),):
        mail = mails.get(id)
        if mail is not None and mail.extra is not None and mail.extra.task is not None:
            task = open_task(plan, mail.extra.task)
            if task is not None and task.work == id:
                yield task


def _leased(plan: Plan, event: e.Leased) -> None:
    for task in _works(plan, event):
        steps, told = [e.Step("leased", message=task.work)], len(task.follow_ups or ())
        move(plan, task, Move.LEASE, steps, worker=event.worker, told=told or None)


def _extended(plan: Plan, event: e.Extended) -> None:
    for task in _works(plan, event):
        told = len(task.follow_ups or ())
        if task.state == "submitted":  # a lease that had run out was renewed
            group = plan.state.groups[event.group]
            worker = group.open[task.work].worker
            steps = [e.Step("leased", message=task.work)]
            move(plan, task, Move.LEASE, steps, worker=worker, told=told or None)
        elif task.told < told:
            move(plan, task, Move.PROGRESS, [], told=told)


def _given_back(plan: Plan, event: e.Nacked | e.Released | e.Lapsed) -> None:
    reason = getattr(event, "reason", None) or _RETURNS[type(event)]
    for task in _works(plan, event):
        if task.state == "working":
            steps = [e.Step("returned", message=task.work, reason=reason)]
            move(plan, task, Move.GIVE_BACK, steps)


_RETURNS = {e.Nacked: "nack", e.Released: "release", e.Lapsed: "lease_expired"}


def _acked(plan: Plan, event: e.Acked) -> None:
    """Only with its reply is a task's message acked: the reply is the last word."""
    for task in _works(plan, event):
        found = _reply(plan, task.work)
        secret = plan.state.groups[event.group].open[task.work].secret
        if found is None:  # a reply that was stored before, under its dedup_key
            detail = tell_asker(plan, task, "completed", [{"text": "completed"}])
        else:
            detail = (found.position, found.size)
            asker = asker_mailbox(plan, task)
            if asker is not None and asker.number != found.mailbox:
                detail = tell_asker(plan, task, "completed", [{"text": f"replied in message {found.id}"}])
        steps = [e.Step("status", detail, found.id if found is not None else 0)]
        move(plan, task, Move.COMPLETE, steps, secret=secret)


def _reply(plan: Plan, message: int) -> e.Mail | None:
    for event in plan.events:
        if isinstance(event, e.Sent):
            replies = {reply for original, reply in event.answers if original == message}
            for mail in event.mails:
                if mail.id in replies:
                    return mail
    return None


def _died(plan: Plan, event: e.Died) -> None:
    group = plan.state.groups.get(event.group) if event.group is not None else None
    task = work_of(plan, event.id)
    if task is None or (event.group is not None and (group is None or group.name != DEFAULT_GROUP)):
        return
    letter = event.copy.extra.letter if event.copy.extra is not None else None
    assert letter is not None
    ending = plan.state.mailboxes[event.mailbox].ending.get(event.id)
    if event.outcome == "reject":
        why = letter.description or letter.reason
        detail = tell_asker(plan, task, "rejected", [{"text": why}])
        delivery = group.open.get(event.id) if group is not None else None
        secret = delivery.secret if delivery is not None else None
        move(plan, task, Move.REJECT, [e.Step("status", detail, reason=letter.reason)], secret=secret)
    elif task.cancel_requested:
        cancel(plan, task, "the lease ended after cancel was asked for")
    elif letter.reason == "expired" and (event.outcome is None or ending == "expired"):
        finish(plan, task, Move.FAIL, "EXPIRED", CODES["EXPIRED"])
    else:
        why = f"{CODES['DEAD_LETTERED']}: {letter.reason}, {letter.attempts} failed attempts"
        finish(plan, task, Move.FAIL, "DEAD_LETTERED", why)


def _closed(plan: Plan, event: e.Closed) -> None:
    for task in _works(plan, event):
        if task.cancel_requested:
            cancel(plan, task, "the lease ended after cancel was asked for")
        elif event.state == "expired":
            finish(plan, task, Move.FAIL, "EXPIRED", CODES["EXPIRED"])
        else:
            cancel(plan, task, REPLACED)


def _expired(plan: Plan, event: e.Expired) -> None:
    group = plan.state.mailboxes[event.mailbox].groups.get(DEFAULT_GROUP)
    for id in (*event.ids, *event.held):
        task = work_of(plan, id)
        if task is not None and not leased(group, id):
            finish(plan, task, Move.FAIL, "EXPIRED", CODES["EXPIRED"])


def _withdrawn(plan: Plan, event: e.Sent | e.Due) -> None:
    for id in (*event.withdrawn, *event.superseded):
        task = work_of(plan, id)
        mail = plan.state.mails.get(id)
        group = plan.state.mailboxes[mail.mailbox].groups.get(DEFAULT_GROUP) if mail is not None else None
        if task is not None and (id in event.withdrawn or not leased(group, id)):
            cancel(plan, task, REPLACED)


def _deleted(plan: Plan, event: e.Deleted) -> None:
    for id in event.ids:
        task = work_of(plan, id)
        if task is not None:
            cancel(plan, task, "the message was deleted")


def _dropped(plan: Plan, event: e.MailboxDropped) -> None:
    for known in [task for task in plan.state.tasks.values() if task.mailbox == event.mailbox]:
        task = open_task(plan, known.id)
        if task is not None:
            why = "expired" if event.reason == "expired" else "was dropped"
            cancel(plan, task, f"the mailbox {task.address!r} {why}")


def _group_ended(plan: Plan, event: e.GroupEnded) -> None:
    group = plan.state.groups[event.group]
    if group.name != DEFAULT_GROUP:
        return
    for id in sorted(group.open):
        task = work_of(plan, id)
        if task is not None and task.state == "working":
            ending = group.mailbox.ending.get(id)
            if task.cancel_requested:
                cancel(plan, task, "the lease ended after cancel was asked for")
            elif ending == "expired":
                finish(plan, task, Move.FAIL, "EXPIRED", CODES["EXPIRED"])
            elif ending is not None:
                cancel(plan, task, REPLACED)
            else:
                steps = [e.Step("returned", message=id, reason=f"group_{event.reason}")]
                move(plan, task, Move.GIVE_BACK, steps)
    for id in event.settled:
        task = work_of(plan, id)
        if task is not None:
            cancel(plan, task, "the group 'default' ended")


def _group_made(plan: Plan, event: e.GroupMade) -> None:
    """A group ``default`` that begins after a task's message: nobody is going to work on it."""
    if event.name != DEFAULT_GROUP or not event.start_id:
        return  # most begin at the first message, and there may be very many tasks
    for known in [task for task in plan.state.tasks.values() if task.mailbox == event.mailbox and task.work]:
        mail = plan.state.mails.get(known.work)
        task = open_task(plan, known.id)
        if task is not None and mail is not None and not wanted(event, mail):
            cancel(plan, task, "the group 'default' begins after it")


_FOLLOW: dict[type[e.Event], Callable[[Plan, Any], None]] = {
    e.Leased: _leased,
    e.Extended: _extended,
    e.Nacked: _given_back,
    e.Released: _given_back,
    e.Lapsed: _given_back,
    e.Acked: _acked,
    e.Died: _died,
    e.Closed: _closed,
    e.Expired: _expired,
    e.Sent: _withdrawn,
    e.Due: _withdrawn,
    e.Deleted: _deleted,
    e.MailboxDropped: _dropped,
    e.GroupEnded: _group_ended,
    e.GroupMade: _group_made,
}
