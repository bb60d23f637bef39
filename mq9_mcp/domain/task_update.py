"""What workers and askers say about tasks: updates under the lease, cancel, and looks."""

from __future__ import annotations

from hmac import compare_digest
from typing import Any

import msgspec

from mq9_mcp.domain.clock import seconds, wire_time
from mq9_mcp.domain.commands import MailboxAck
from mq9_mcp.domain.delivery import Delivery, DeliveryState
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.events import Acked, Extended, Mail, Released, Step
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.names import DEFAULT_GROUP, read_lease_token
from mq9_mcp.domain.parts import MESSAGE_BYTES_MAX, check_json, check_parts
from mq9_mcp.domain.plan import Plan
from mq9_mcp.domain.settle import LEASE_DEFAULT, close, decide_ack
from mq9_mcp.domain.state import Group
from mq9_mcp.domain.task import UPDATES, Move, Task, next_task_state, read_place
from mq9_mcp.domain.task_commands import Artifact, TaskCancel, TaskGet, TaskUpdate
from mq9_mcp.domain.task_lease import later
from mq9_mcp.domain.task_moves import cancel, end_work, find_task, leased, move, tell_asker

CHECKPOINT_BYTES_MAX = limit("checkpoint_bytes_max")
ARTIFACTS_MAX = limit("task_artifacts_max")
ARTIFACTS_BYTES_MAX = limit("task_artifacts_bytes_max")
_encode = msgspec.json.Encoder().encode


class _Held(msgspec.Struct):
    """A task's work as the caller holds it."""

    group: Group
    delivery: Delivery
    mail: Mail


def decide_task_update(plan: Plan, command: TaskUpdate) -> dict[str, Any]:
    """Move a task under its lease; the reply is ``{task, leased_until?, follow_ups?}``."""
    task = find_task(plan, command.task)
    wanted = command.state or "working"
    held = _fence(plan, task, command)
    if held is None:
        if wanted == task.settled_as:
            return {"task": task.id}
        next_task_state(task.state, UPDATES[wanted])
        raise _lost(
            command, f"the task was settled with it: {task.settled_as} stands", stands=task.settled_as
        )
    if command.expected_version is not None and command.expected_version != task.version:
        raise Refused(
            "VERSION_CONFLICT",
            f"expected_version: {command.expected_version}; the task has version {task.version}",
            "task_get(history=...) shows what is new",
            version=task.version,
        )
    what, alone = UPDATES[wanted], not plan.events
    next_task_state(task.state, what)
    _agree(plan, command, held, what)
    steps = _steps(plan, task, command)
    parts = _message(command.message) if command.message is not None else None
    reply: dict[str, Any] = {"task": task.id}
    fresh = (task.follow_ups or [])[task.told :]
    if fresh:
        reply["follow_ups"] = fresh
        later(plan, task.id, reply)
    if what is Move.PROGRESS:
        _renew(plan, command, task, held, steps, parts, reply)
    elif what is Move.GIVE_BACK:
        _give_back(plan, task, held, steps, parts)
    else:
        _settle(plan, task, held, what, steps, parts)
        if task.cancel_requested and task.waits:  # nobody is going to answer
            cancel(plan, task, "cancel was asked for, and the worker asked a question")
    plan.followed = alone and what is not Move.GIVE_BACK
    return reply


def _fence(plan: Plan, task: Task, command: TaskUpdate) -> _Held | None:
    """The work under the caller's lease; None if the task was settled with that very lease."""
    token = read_lease_token(command.lease)
    if token is None:
        raise _lost(command, "it is not a lease")
    number, message, secret = token
    group = plan.state.groups.get(number)
    delivery = group.open.get(message) if group is not None else None
    if group is not None and group.name != DEFAULT_GROUP and delivery is not None:
        raise _lost(
            command, f"it is one of the group {group.name!r}, and a task is worked in {DEFAULT_GROUP!r} only"
        )
    fits = delivery is not None and task.work == message and compare_digest(delivery.secret, secret)
    if group is None or delivery is None or not fits or delivery.principal != plan.caller.principal:
        if task.settled_by and compare_digest(task.settled_by, secret):
            return None
        if delivery is not None and task.work == message:
            raise _lost(command, "the message was leased again", attempt=delivery.attempts + 1)
        raise _lost(command, f"it is no lease on the work of this task, which is {task.state}")
    if delivery.state is not DeliveryState.LEASED:
        attempt = delivery.attempts + 1
        if not delivery.lapsed:
            raise _lost(command, "the message was given back under it", attempt=attempt)
        if group.mailbox.settings.exactly_once:
            why = "it ran out, and in an exactly-once mailbox an expired lease never settles"
            raise _lost(command, why, attempt=attempt)
    return _Held(group, delivery, plan.state.mails[message])


def _agree(plan: Plan, command: TaskUpdate, held: _Held, what: Move) -> None:
    """One call says one thing about a lease: an update that settles goes with an ack, others with extend."""
    said = plan.outcomes.get((held.group.number, held.mail.id), "extend")
    if said != "extend" and (said != "ack" or what in (Move.PROGRESS, Move.GIVE_BACK)):
        raise _lost(command, f"this call settles it with {said!r} already")


def _lost(command: TaskUpdate, why: str, **details: Any) -> Refused:
    return Refused(
        "LEASE_LOST",
        f"lease {command.lease[:64]!a} cannot update task {command.task[:64]!a}: {why}",
        "fetch again; what you did under this lease may be done by somebody else",
        **details,
    )


def _renew(
    plan: Plan,
    command: TaskUpdate,
    task: Task,
    held: _Held,
    steps: list[Step],
    parts: list[dict[str, Any]] | None,
    reply: dict[str, Any],
) -> None:
    until = plan.now + seconds(command.lease_s or LEASE_DEFAULT)
    plan.events.append(Extended(at=plan.now, group=held.group.number, ids=[held.mail.id], until=until))
    reply["leased_until"] = wire_time(until)
    _word(plan, task, steps, parts)
    known = len(task.follow_ups or ())
    if command.checkpoint is not None:
        known -= task.told
    if task.state == "submitted":
        steps.insert(0, Step("leased", message=task.work))
    if steps or known != task.told:
        move(plan, task, Move.PROGRESS, steps, worker=held.delivery.worker, told=known)


def _word(plan: Plan, task: Task, steps: list[Step], parts: list[dict[str, Any]] | None) -> None:
    if parts is not None:
        steps.append(Step("status", tell_asker(plan, task, "working", parts, silent=True)))


def _give_back(
    plan: Plan, task: Task, held: _Held, steps: list[Step], parts: list[dict[str, Any]] | None
) -> None:
    _word(plan, task, steps, parts)
    if steps:
        move(plan, task, Move.PROGRESS, steps)
    plan.outcomes[held.group.number, held.mail.id] = "release"
    ending = held.group.mailbox.ending.get(held.mail.id)
    if ending is not None:
        close(plan, held.group, held.mail, ending, "release")
    else:
        plan.events.append(Released(at=plan.now, group=held.group.number, ids=[held.mail.id]))


def _settle(
    plan: Plan, task: Task, held: _Held, what: Move, steps: list[Step], parts: list[dict[str, Any]] | None
) -> None:
    """The last word, or a question: the message is settled and the asker hears, in one commit."""
    state = next_task_state(task.state, what)
    if plan.outcomes.get((held.group.number, held.mail.id)) != "ack":  # else the same call acks it
        event = Acked(at=plan.now, group=held.group.number, ids=[held.mail.id], kept=[])
        if plan.owed_elsewhere(held.mail, held.group):
            event.kept.append(held.mail.id)
        plan.settled.add((held.group.number, held.mail.id))
        plan.events.append(event)
    detail = tell_asker(plan, task, state, parts or [{"text": str(state)}])
    steps.append(Step("status", detail if parts else None))
    move(plan, task, what, steps, worker=held.delivery.worker, secret=held.delivery.secret)


# --- what an update says


def _message(message: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    try:
        parts = check_parts(message, None) if isinstance(message, str) else check_parts(None, message)
        _encode(parts)
    except Refused as refusal:
        raise Refused("INVALID_ARGUMENT", f"message: {refusal.message}", refusal.hint) from None
    except UnicodeEncodeError as error:
        raise Refused("INVALID_ARGUMENT", f"message: not valid Unicode: {error}") from None
    return parts


def _body(plan: Plan, value: Any, argument: str, most: int, name: str) -> tuple[int, int]:
    try:
        encoded = _encode(value)
    except UnicodeEncodeError as error:
        raise Refused("INVALID_ARGUMENT", f"{argument}: not valid Unicode: {error}") from None
    if len(encoded) > most:
        raise Refused(
            "MESSAGE_TOO_LARGE",
            f"{argument}: {len(encoded)} bytes encoded; {name} is {most}",
            "put the content elsewhere and give its url",
            **{"bytes": len(encoded), name: most},
        )
    return plan.add_body(encoded), len(encoded)


def _steps(plan: Plan, task: Task, command: TaskUpdate) -> list[Step]:
    """What the update adds to the task's history, but for its message."""
    steps: list[Step] = []
    if command.progress is not None:
        detail = _body(plan, command.progress, "progress", MESSAGE_BYTES_MAX, "message_bytes_max")
        steps.append(Step("progress", detail))
    if command.artifacts:
        steps += _artifacts(plan, task, command.artifacts)
    if command.checkpoint is not None:
        check_json(command.checkpoint, "checkpoint")
        detail = _body(plan, command.checkpoint, "checkpoint", CHECKPOINT_BYTES_MAX, "checkpoint_bytes_max")
        steps.append(Step("checkpoint", detail))
    return steps


def _artifacts(plan: Plan, task: Task, given: list[Artifact]) -> list[Step]:
    known = task.artifacts or []
    if len(known) + len(given) > ARTIFACTS_MAX:
        raise Refused(
            "BATCH_TOO_LARGE",
            f"artifacts: the task would have {len(known) + len(given)} pieces; "
            f"task_artifacts_max is {ARTIFACTS_MAX}",
            "put more into each piece, or give a url",
            task_artifacts_max=ARTIFACTS_MAX,
        )
    held = sum(read_place(at)[1] for at in known)
    steps = []
    for index, artifact in enumerate(given):
        detail = _artifact(plan, artifact, f"artifacts[{index}]", f"artifact-{len(known) + index + 1}")
        held += detail[1]
        steps.append(Step("artifact", detail))
    if held > ARTIFACTS_BYTES_MAX:
        raise Refused(
            "MESSAGE_TOO_LARGE",
            f"artifacts: the task would have {held} bytes of them; "
            f"task_artifacts_bytes_max is {ARTIFACTS_BYTES_MAX}",
            "put the content elsewhere and give its url",
            task_artifacts_bytes_max=ARTIFACTS_BYTES_MAX,
        )
    return steps


def _artifact(plan: Plan, artifact: Artifact, where: str, name: str) -> tuple[int, int]:
    if artifact.append and artifact.artifact_id is None:
        raise Refused(
            "INVALID_ARGUMENT", f"{where}.artifact_id: missing; append needs the artifact that it adds to"
        )
    text, parts = artifact.text, artifact.parts
    if artifact.data is not None:
        if text is not None or parts is not None:
            raise Refused(
                "INVALID_ARGUMENT", f"{where}.data: beside text or parts; accepted: one of the three"
            )
        parts = [{"data": artifact.data}]
    try:
        checked = check_parts(text, parts)
    except Refused as refusal:
        raise Refused("INVALID_ARGUMENT", f"{where}: {refusal.message}", refusal.hint) from None
    piece: dict[str, Any] = {"artifact_id": artifact.artifact_id or name}
    if artifact.name is not None:
        piece["name"] = artifact.name
    piece["parts"] = checked
    if artifact.append:
        piece["append"] = True
    if artifact.last_chunk:
        piece["last_chunk"] = True
    return _body(plan, piece, where, MESSAGE_BYTES_MAX, "message_bytes_max")


# --- cancel, looks, and updates that commit with an ack


def decide_ack_and_update(plan: Plan, command: MailboxAck) -> dict[str, Any]:
    """Settle and update, all or none; a repeated call updates nothing again."""
    reply = decide_ack(plan, command)
    if command.tasks is None:
        return reply
    reply["tasks"] = []
    for index, update in enumerate(command.tasks):
        if plan.repeats:
            reply["tasks"].append({"task": find_task(plan, update.task).id})
            continue
        try:
            reply["tasks"].append(decide_task_update(plan, update))
        except Refused as refusal:
            refusal.details["index"] = index
            raise
    return reply


def decide_task_cancel(plan: Plan, command: TaskCancel) -> dict[str, Any]:
    """Cancel a task at once, or ask who works on it to stop; the reply is ``{task}``."""
    task = find_task(plan, command.task)
    next_task_state(task.state, Move.CANCEL)
    why = f"canceled by {plan.caller.name}" + (f": {command.reason}" if command.reason else "")
    mailbox = plan.state.mailboxes[task.mailbox]
    if task.work and leased(mailbox.groups.get(DEFAULT_GROUP), task.work):
        if not task.cancel_requested:
            # As mail that is replaced while somebody holds it: whoever has the lease may still settle it.
            superseded = [task.work] if task.work not in mailbox.ending else []
            steps = [Step("ask_cancel", reason=command.reason)]
            move(plan, task, Move.ASK_CANCEL, steps, superseded=superseded)
    else:
        cancel(plan, task, why, **end_work(plan, task))
    return {"task": task.id}


def decide_task_get(plan: Plan, command: TaskGet) -> dict[str, Any]:
    """A task as it stands; the reply is ``{task}``."""
    return {"task": find_task(plan, command.task).id}
