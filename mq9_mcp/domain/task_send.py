"""Messages that open a task or belong to one: an answer becomes work again, a follow-up joins."""

from __future__ import annotations

from msgspec import Struct, structs

from mq9_mcp.domain.access import owns
from mq9_mcp.domain.clock import seconds
from mq9_mcp.domain.commands import TIERS, MessageArguments, TaskOptions
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.events import Extra, Mail, Sent, Step, TaskOpened
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.names import own_session
from mq9_mcp.domain.parts import Body
from mq9_mcp.domain.plan import PagedMessage, Plan
from mq9_mcp.domain.state import Mailbox, no_mailbox
from mq9_mcp.domain.task import Move, Task, new_task_id, next_task_state, opened
from mq9_mcp.domain.task_moves import find_task, move
from mq9_mcp.domain.task_request import TaskRequest, request_key

FOLLOW_UPS_MAX = limit("follow_ups_max")
_NO_USE = ("delay_s", "deliver_at", "ttl_s", "expires_at", "state_key")


class Thread(Struct, frozen=True):
    """What one message of a call has to do with tasks: it opens one for each copy, or belongs to ``task``."""

    task: Task | None = None
    timeout_s: float | None = None
    completes: bool = False  # it is the reply with which this call acks the work message

    @property
    def session(self) -> str | None:
        """The session that the message joins if it names none."""
        return None if self.task is None else self.task.session or own_session(self.task.first)

    @property
    def reply_state(self) -> str | None:
        """``task_state`` of a message that is a task's last word."""
        return "completed" if self.completes else None

    def tier(self, tier: int, mailbox: Mailbox) -> int:
        """The tier of the message: an answer has at least the priority of the work that waits for it."""
        task = self.task
        answers = task is not None and task.waits and task.mailbox == mailbox.number
        return min(tier, task.tier) if answers and task is not None else tier

    def extra(self, plan: Plan, id: int, extra: Extra | None) -> Extra:
        """What the stored copy ``id`` carries: its own task, or the one that it belongs to."""
        name = self.task.id if self.task is not None else new_task_id(plan.ask.secret, id)
        return Extra(task=name) if extra is None else structs.replace(extra, task=name)


def thread_of(plan: Plan, message: MessageArguments, original: PagedMessage | None) -> Thread | None:
    """How ``message`` is tied to a task; None if it is a plain one."""
    named = message.task
    if named is True:
        return Thread()
    if isinstance(named, TaskOptions):
        return Thread(timeout_s=named.timeout_s)
    if isinstance(named, str):
        if not named.isascii():
            raise Refused("INVALID_ARGUMENT", f"task: {named!a} is no task id", "task_list shows yours")
        task = find_task(plan, named)
    elif original is not None and original.task is not None:
        mailbox = plan.state.mailboxes.get(original.mailbox)
        held = mailbox is not None and owns(plan.caller, mailbox)  # holding a message is the grant to reply
        task = find_task(plan, original.task, "in_reply_to", granted=held)
    else:
        return None
    if isinstance(message.to, list):
        raise Refused("INVALID_ARGUMENT", "to: a list; accepted in a task: one address, or none")
    completing = plan.completing is not None and message.in_reply_to in plan.completing
    return Thread(task, completes=completing and task.work == message.in_reply_to)


def default_target(plan: Plan, thread: Thread) -> Mailbox:
    """Where a message goes that names a task and no address: to the mailbox where it is worked."""
    assert thread.task is not None
    mailbox = plan.state.mailboxes.get(thread.task.mailbox)
    if mailbox is None:
        next_task_state(thread.task.state, Move.MESSAGE)  # its mailbox took the task along
        raise no_mailbox(thread.task.address)
    return mailbox


def shape(thread: Thread, body: Body, tier: int, mailbox: Mailbox) -> int:
    """What its task makes of a message that is about to be stored; returns its tier.

    A message to a task that is over is refused here, and not before: it may be a repeated one.
    """
    if thread.task is not None:
        next_task_state(thread.task.state, Move.MESSAGE)
    tier = thread.tier(tier, mailbox)
    body.priority, body.task_state = TIERS[tier], thread.reply_state
    return tier


def stored(
    plan: Plan, sent: Sent, thread: Thread, mailbox: Mailbox, mail: Mail, message: MessageArguments
) -> None:
    """Plan what a message that was just added to ``sent`` does to its task."""
    task, body = thread.task, (mail.position, mail.size)
    if task is None:
        _open(plan, thread, mailbox, mail, message)
    elif thread.completes:
        return  # the ack moves the task, with this message as its last word
    elif mail.mailbox != task.mailbox:
        move(plan, task, Move.MESSAGE, [Step("message", body, mail.id)])
    elif task.waits:
        steps = [Step("answer", body, mail.id)]
        move(plan, task, Move.ANSWER, steps, work=mail.id, tier=mail.tier, request=_request(plan, message))
    else:
        _check_follow_up(task, message)
        sent.joined.append(mail.id)
        plan.count(mailbox, -1, -mail.size)
        steps = [Step("follow_up", body, mail.id)]
        move(plan, task, Move.FOLLOW_UP, steps, request=_request(plan, message))


def _request(plan: Plan, message: MessageArguments) -> str | None:
    if not isinstance(message, TaskRequest):
        return None
    return plan.request or request_key(plan.caller, message, message.parts or [])


def _check_follow_up(task: Task, message: MessageArguments) -> None:
    for name in _NO_USE:
        if getattr(message, name) is not None:
            raise Refused(
                "INVALID_ARGUMENT",
                f"{name}: no use in a follow-up, which the worker of task {task.id!r} gets with its next "
                f"reply; accepted: a message without {', '.join(_NO_USE)}",
                f"leave {name} out",
            )
    if len(task.follow_ups or ()) >= FOLLOW_UPS_MAX:
        raise Refused(
            "MAILBOX_FULL",
            f"task {task.id!r} has {FOLLOW_UPS_MAX} follow-ups that are in no checkpoint; "
            f"follow_ups_max is {FOLLOW_UPS_MAX}",
            "wait until a worker has taken them in",
            limit="follow_ups_max",
        )


def _open(plan: Plan, thread: Thread, mailbox: Mailbox, mail: Mail, message: MessageArguments) -> None:
    assert mail.extra is not None
    assert mail.extra.task is not None
    timeout = plan.now + max(1, seconds(thread.timeout_s)) if thread.timeout_s is not None else None
    event = TaskOpened(
        at=plan.now,
        task=mail.extra.task,
        message=mail.id,
        mailbox=mailbox.number,
        address=mailbox.address,
        owner=mailbox.owner,
        tier=mail.tier,
        asker=plan.caller.name,
        principal=plan.caller.principal,
        body=(mail.position, mail.size),
        session=mail.session,
        reply_to=message.reply_to,
        timeout_at=timeout,
        request=_request(plan, message),
    )
    plan.events.append(event)
    if plan.tasks is None:
        plan.tasks = {}
    if plan.fresh_work is None:
        plan.fresh_work = {}
    plan.tasks[event.task] = opened(event)
    plan.fresh_work[mail.id] = event.task
