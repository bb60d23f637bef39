"""The life of a task, as a table; nothing else decides what a task may become (contract, section 4).

A task is one durable object: the lease on its work message in the group ``default`` is the right to
work on it. Whatever happens to that message, and every word about the task, is one of these moves.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum

from msgspec import Struct

from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.events import TaskMoved, TaskOpened

_SIZE_BITS = 24  # of a place: request_bytes_max fits


class TaskState(StrEnum):
    """The states of A2A 1.0, and their names."""

    SUBMITTED = "submitted"
    WORKING = "working"
    INPUT_REQUIRED = "input-required"
    AUTH_REQUIRED = "auth-required"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    REJECTED = "rejected"


class Move(StrEnum):
    """What can happen to a task."""

    LEASE = "lease"  # a worker took the work message, or renewed a lease that had run out
    PROGRESS = "progress"  # the worker tells how it goes
    GIVE_BACK = "give_back"  # the lease ended without a word about the outcome
    ASK_INPUT = "ask_input"
    ASK_AUTH = "ask_auth"
    ANSWER = "answer"  # a message in the task while it waits for one
    FOLLOW_UP = "follow_up"  # a message in the task while it does not
    MESSAGE = "message"  # a word of the worker to the asker
    ASK_CANCEL = "ask_cancel"  # somebody holds the lease: the worker is told
    COMPLETE = "complete"
    FAIL = "fail"
    CANCEL = "cancel"
    REJECT = "reject"


_S = TaskState
_M = Move
# Behind "a task cannot".
_SAID = {
    _M.LEASE: "be leased",
    _M.PROGRESS: "become working",
    _M.GIVE_BACK: "be given back",
    _M.ASK_INPUT: "become input-required",
    _M.ASK_AUTH: "become auth-required",
    _M.ANSWER: "take an answer",
    _M.FOLLOW_UP: "take a follow-up",
    _M.MESSAGE: "take a message",
    _M.ASK_CANCEL: "be asked to stop",
    _M.COMPLETE: "become completed",
    _M.FAIL: "become failed",
    _M.CANCEL: "become canceled",
    _M.REJECT: "become rejected",
}
_ENDS = {
    _M.COMPLETE: _S.COMPLETED,
    _M.FAIL: _S.FAILED,
    _M.CANCEL: _S.CANCELED,
    _M.REJECT: _S.REJECTED,
}
_WORK = {
    _M.LEASE: _S.WORKING,
    _M.PROGRESS: _S.WORKING,
    _M.ASK_INPUT: _S.INPUT_REQUIRED,
    _M.ASK_AUTH: _S.AUTH_REQUIRED,
    **_ENDS,
}
_WAIT = {_M.ANSWER: _S.SUBMITTED, _M.FAIL: _S.FAILED, _M.CANCEL: _S.CANCELED, _M.REJECT: _S.REJECTED}

TABLE: dict[tuple[TaskState, Move], TaskState] = {
    **{(_S.SUBMITTED, move): after for move, after in _WORK.items()},
    (_S.SUBMITTED, _M.FOLLOW_UP): _S.SUBMITTED,
    **{(_S.WORKING, move): after for move, after in _WORK.items()},
    (_S.WORKING, _M.GIVE_BACK): _S.SUBMITTED,
    (_S.WORKING, _M.FOLLOW_UP): _S.WORKING,
    (_S.WORKING, _M.ASK_CANCEL): _S.WORKING,
    **{
        (state, _M.MESSAGE): state
        for state in (_S.SUBMITTED, _S.WORKING, _S.INPUT_REQUIRED, _S.AUTH_REQUIRED)
    },
    **{(_S.INPUT_REQUIRED, move): after for move, after in _WAIT.items()},
    **{(_S.AUTH_REQUIRED, move): after for move, after in _WAIT.items()},
}

TERMINAL = frozenset(_ENDS.values())
INTERRUPTED = frozenset({_S.INPUT_REQUIRED, _S.AUTH_REQUIRED})
_STATES: dict[str, TaskState] = {str(state): state for state in TaskState}
# What a worker's update may ask for, and the move that it is.
UPDATES: dict[str, Move] = {
    _S.SUBMITTED: _M.GIVE_BACK,
    _S.WORKING: _M.PROGRESS,
    _S.INPUT_REQUIRED: _M.ASK_INPUT,
    _S.AUTH_REQUIRED: _M.ASK_AUTH,
    **{state: move for move, state in _ENDS.items()},
}


def allowed(state: TaskState) -> list[TaskState]:
    """The states that may follow ``state``, in the order of the states; words that leave it aside."""
    words = (_M.MESSAGE, _M.FOLLOW_UP)
    after = {target for (at, move), target in TABLE.items() if at is state and move not in words}
    return [one for one in TaskState if one in after]


def next_task_state(state: TaskState, move: Move) -> TaskState:
    """The state after ``move``, or ``ILLEGAL_TRANSITION`` with the states that may follow."""
    found = TABLE.get((state, move))
    if found is None:
        states = [str(one) for one in allowed(state)]
        raise Refused(
            "ILLEGAL_TRANSITION",
            f"a task that is {state} cannot {_SAID[move]}; it may become: "
            f"{', '.join(states) or 'nothing, it is over'}",
            "open a new task with task=true" if state in TERMINAL else "task_get shows where the task stands",
            state=str(state),
            allowed=states,
        )
    return found


def read_place(at: int) -> tuple[int, int]:
    """``(position, size)`` of a place, which is one number: a tuple would take four times the memory."""
    return at >> _SIZE_BITS, at & ((1 << _SIZE_BITS) - 1)


def new_task_id(secret: str, message: int) -> str:
    """An unguessable name, another one for each message of a call; who knows one does not know the others."""
    return "task-" + hashlib.blake2b(f"{secret}/{message}".encode(), digest_size=12).hexdigest()


class Task(Struct, gc=False, omit_defaults=True):
    """A task as memory knows it: its state and where its words lie; the words are in journal and tables."""

    id: str
    state: TaskState
    mailbox: int
    address: str
    owner: str  # principal of the mailbox, who may see the task as the asker may
    first: int  # the message that opened it
    tier: int
    asker: str
    principal: str
    created_at: int
    updated_at: int
    work: int  # the message whose lease is the right to work; 0 while it waits for an answer or is over
    session: str | None = None  # None: the first message's own
    reply_to: str | None = None
    version: int = 1  # number of the last step of its history
    worker: str | None = None
    timeout_at: int | None = None
    ended_at: int | None = None
    cancel_requested: bool = False
    follow_ups: list[int] | None = None  # not yet part of a checkpoint
    told: int = 0  # so many of them were given to whoever holds the lease
    progress: int = 0
    status: int = 0
    question: int = 0
    checkpoint: int = 0
    artifacts: list[int] | None = None
    settled_by: str = ""  # secret of the lease under which it was last settled, and the state that it got
    settled_as: str = ""
    requests: list[str] | None = None  # by which clients know what they sent

    @property
    def waits(self) -> bool:
        """True while an answer is missing."""
        return self.state in INTERRUPTED

    @property
    def over(self) -> bool:
        """True in a terminal state."""
        return self.state in TERMINAL

    @property
    def news(self) -> bool:
        """True while the holder of the lease has something to be told."""
        if self.state is not TaskState.WORKING:
            return False
        return self.cancel_requested or (self.follow_ups is not None and self.told < len(self.follow_ups))


def opened(event: TaskOpened) -> Task:
    """The task that ``event`` begins."""
    return Task(
        id=event.task,
        state=TaskState.SUBMITTED,
        mailbox=event.mailbox,
        address=event.address,
        owner=event.owner,
        first=event.message,
        tier=event.tier,
        asker=event.asker,
        principal=event.principal,
        created_at=event.at,
        updated_at=event.at,
        work=event.message,
        session=event.session,
        reply_to=event.reply_to,
        timeout_at=event.timeout_at,
        requests=[event.request] if event.request is not None else None,
    )


def rehouse(task: Task, mailbox: int, address: str, owner: str) -> None:
    """The work message moved into another mailbox, and the task with it."""
    task.mailbox, task.address, task.owner = mailbox, address, owner


def advance(task: Task, event: TaskMoved) -> None:
    """Fold a move into ``task``: the same for the state in memory, the tables and a plan's own view."""
    if event.steps:
        _step(task, event)
    if event.told is not None:
        task.told = event.told
    if event.request is not None:
        task.requests = [*(task.requests or ()), event.request]


def _step(task: Task, event: TaskMoved) -> None:
    task.updated_at = event.at
    task.version += len(event.steps)
    state = task.state = _STATES[event.state]
    if event.worker:
        task.worker = event.worker
    for step in event.steps:
        detail = step.detail
        at = detail[0] << _SIZE_BITS | detail[1] if detail is not None else 0
        if step.kind == "progress":
            task.progress = at
        elif step.kind != "leased":
            _take(task, step.kind, at, step.message)
    if event.secret is not None:
        task.settled_by, task.settled_as = event.secret, event.state
    if state in TERMINAL:
        task.work, task.ended_at = 0, event.at
    elif state in INTERRUPTED:
        task.work = 0
    if event.work:
        task.work = event.work
    if event.tier is not None:
        task.tier = event.tier


def _take(task: Task, kind: str, at: int, message: int) -> None:
    if kind == "checkpoint":
        task.checkpoint = at
        if task.told and task.follow_ups:  # what the worker knew of is in it
            task.follow_ups = task.follow_ups[task.told :] or None
            task.told = 0
    elif kind == "artifact":
        task.artifacts = [*(task.artifacts or ()), at]
    elif kind == "status":
        task.status = at
        task.question = at if task.waits else task.question
    elif kind == "answer":
        task.status = 0
    elif kind == "follow_up":
        task.follow_ups = [*(task.follow_ups or ()), message]
    elif kind == "ask_cancel":
        task.cancel_requested = True
    elif kind == "returned":
        task.told = 0
