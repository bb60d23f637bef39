"""What the broker answers, as types: plain dicts at run time. Absent values are left out, never None."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from mq9_mcp.client.agent_replies import Agent as Agent
from mq9_mcp.client.agent_replies import CardedAgent as CardedAgent
from mq9_mcp.client.agent_replies import DiscoverReply as DiscoverReply
from mq9_mcp.client.agent_replies import FoundAgent as FoundAgent
from mq9_mcp.client.agent_replies import RegisterReply as RegisterReply
from mq9_mcp.client.agent_replies import ReportReply as ReportReply
from mq9_mcp.client.agent_replies import UnregisterReply as UnregisterReply
from mq9_mcp.client.agent_replies import Waiting as Waiting
from mq9_mcp.client.push_replies import PushDeleteReply as PushDeleteReply
from mq9_mcp.client.push_replies import PushListReply as PushListReply
from mq9_mcp.client.push_replies import PushReply as PushReply

Outcome = Literal["ack", "nack", "release", "extend", "reject"]


class ErrorShape(TypedDict):
    """The one error shape; inside a reply it belongs to one item of a call that went on."""

    code: str
    message: str
    hint: NotRequired[str]
    details: NotRequired[dict[str, Any]]


class Part(TypedDict, total=False):
    """An A2A Part: exactly one of text, data, raw (base64) and url, and what describes it."""

    text: str
    data: Any
    raw: str
    url: str
    filename: str
    mediaType: str
    metadata: dict[str, Any]


class Counts(TypedDict):
    """How much a mailbox holds."""

    unsettled: int
    unsettled_bytes: int
    delayed: int
    settled: int
    settled_bytes: int
    groups: int


class Mailbox(TypedDict):
    """A mailbox with its settings and counts."""

    address: str
    owner: str
    description: NotRequired[str]
    created_at: str
    expires_at: NotRequired[str]
    settings: dict[str, Any]
    counts: Counts


class DeadLetter(TypedDict):
    """Where a dead letter came from, and why it is one."""

    id: int
    source: str
    group: str
    reason: str
    description: NotRequired[str]
    attempts: int
    first_attempt_at: NotRequired[str]
    last_attempt_at: NotRequired[str]


class Delivery(TypedDict):
    """How far a message has come in one group."""

    group: str
    state: str
    attempt: int
    worker: NotRequired[str]


class Envelope(TypedDict):
    """What an A2A client wrote around its parts, verbatim."""

    messageId: str
    role: str
    referenceTaskIds: NotRequired[list[str]]
    extensions: NotRequired[list[str]]


# ``from`` is a word of the language, so this one is written as a call.
_MessageHead = TypedDict(
    "_MessageHead",
    {
        "id": int,
        "mailbox": str,
        "from": str,
        "verified": bool,
        "created_at": str,
        "deliver_at": NotRequired[str],
        "expires_at": NotRequired[str],
        "priority": str,
        "parts": list[Part],
        "tags": list[str],
        "dedup_key": NotRequired[str],
        "state_key": NotRequired[str],
        "session": str,
        "in_reply_to": NotRequired[int],
        "reply_to": NotRequired[str],
        "task": NotRequired[str],
        "task_state": NotRequired[str],
        "metadata": NotRequired[dict[str, Any]],
        "traceparent": NotRequired[str],
        "tracestate": NotRequired[str],
        "dead_letter": NotRequired[DeadLetter],
        "a2a": NotRequired[Envelope],
    },
)


class Message(_MessageHead):
    """A message as it is stored, the same for every reader."""


StatusMessage = TypedDict("StatusMessage", {"from": str, "created_at": str, "parts": list[Part]})


class FetchedMessage(_MessageHead):
    """A message under a lease. A task's comes with what is needed to go on."""

    checkpoint: NotRequired[Any]
    question: NotRequired[StatusMessage]
    follow_ups: NotRequired[list[Message]]

    attempt: int
    fence: int
    lease: str
    leased_until: str


class QueriedMessage(_MessageHead):
    """A message with how far it has come in every group."""

    deliveries: list[Delivery]


class Candidate(TypedDict):
    """An agent that came into question for an intent, and why it did not get the message."""

    agent: str
    score: float
    status: str
    reason: str
    skill: NotRequired[str]


class Routed(TypedDict):
    """Who got a message that was sent by intent, why, and the runners-up."""

    agent: str
    score: float
    reason: str
    candidates: list[Candidate]
    skill: NotRequired[str]


class Receipt(TypedDict):
    """Proof that a message is on disk. ``duplicate``: it was there before, under its dedup_key."""

    id: int
    mailbox: str
    stored_at: str
    duplicate: bool
    session: str
    task: NotRequired[str]
    routed: NotRequired[Routed]
    reached: NotRequired[str]
    reply: NotRequired[Message]


class Result(TypedDict):
    """What became of one lease. ``ok`` false: ``error`` says why, and nothing else is affected."""

    id: NotRequired[int]
    outcome: Outcome
    ok: bool
    error: NotRequired[ErrorShape]
    leased_until: NotRequired[str]
    cancel_requested: NotRequired[bool]
    follow_ups: NotRequired[list[Message]]


class ProgressShape(TypedDict, total=False):
    """How far a task is."""

    done: float
    total: float
    note: str


class ArtifactShape(TypedDict):
    """A result of a task; ``task_list`` leaves out its parts."""

    artifact_id: str
    name: NotRequired[str]
    parts: NotRequired[list[Part]]
    last_chunk: NotRequired[bool]


HistoryEntry = TypedDict(
    "HistoryEntry",
    {
        "number": int,
        "at": str,
        "kind": str,
        "state": str,
        "from": str,
        "message": NotRequired[int],
        "reason": NotRequired[str],
        "parts": NotRequired[list[Part]],
        "progress": NotRequired[ProgressShape],
        "artifact": NotRequired[dict[str, Any]],
        "checkpoint": NotRequired[Any],
        "metadata": NotRequired[dict[str, Any]],
        "a2a": NotRequired[Envelope],
    },
)


class Task(TypedDict):
    """A task as it stands."""

    id: str
    state: str
    session: str
    mailbox: str
    asker: str
    worker: NotRequired[str]
    progress: NotRequired[ProgressShape]
    artifacts: list[ArtifactShape]
    status_message: NotRequired[StatusMessage]
    history: NotRequired[list[HistoryEntry]]
    created_at: str
    updated_at: str
    version: int
    cancel_requested: bool


class TaskReply(TypedDict):
    """The reply to ``task_get`` and ``task_cancel``."""

    task: Task


class TaskListReply(TypedDict):
    """The reply to ``task_list``."""

    tasks: list[Task]
    next_cursor: NotRequired[str]
    remaining: int


class TaskUpdateReply(TypedDict):
    """The reply to ``task_update``."""

    task: Task
    leased_until: NotRequired[str]
    follow_ups: NotRequired[list[Message]]


class Group(TypedDict):
    """An independent reader of a mailbox."""

    name: str
    mailbox: str
    fetched_at: str
    waiting: int
    leased: int
    backoff: int


class Redriven(TypedDict):
    """A dead letter that went back: the letter's id, the new message's, and where it is."""

    letter: int
    id: int
    mailbox: str


class Skipped(TypedDict):
    """A dead letter that stays, and why."""

    id: int
    error: ErrorShape


class CreateReply(TypedDict):
    """The reply to ``mailbox_create``."""

    mailbox: Mailbox
    created: bool


class MailboxReply(TypedDict):
    """The reply to ``mailbox_get`` and ``mailbox_update``."""

    mailbox: Mailbox


class SendReply(TypedDict):
    """The reply to ``mailbox_send``."""

    receipts: list[Receipt]


class FetchReply(TypedDict):
    """The reply to ``mailbox_fetch``."""

    messages: list[FetchedMessage]
    remaining: int
    cancel_requested: list[str]
    follow_ups: NotRequired[list[Message]]


class AckReply(TypedDict):
    """The reply to ``mailbox_ack``."""

    results: list[Result]
    receipts: NotRequired[list[Receipt]]
    tasks: NotRequired[list[TaskUpdateReply]]


class QueryReply(TypedDict):
    """The reply to ``mailbox_query``."""

    messages: list[QueriedMessage]
    next_cursor: NotRequired[str]
    remaining: int


class DeleteReply(TypedDict):
    """The reply to ``mailbox_delete``."""

    deleted: int


class ListReply(TypedDict):
    """The reply to ``mailbox_list``."""

    mailboxes: list[Mailbox]
    next_cursor: NotRequired[str]
    remaining: int


class DropReply(TypedDict):
    """The reply to ``mailbox_drop``."""

    dropped: str


class RedriveReply(TypedDict):
    """The reply to ``mailbox_redrive``."""

    redriven: list[Redriven]
    skipped: list[Skipped]
    remaining: int


class GroupListReply(TypedDict):
    """The reply to ``group_list``."""

    groups: list[Group]


class GroupReply(TypedDict):
    """The reply to ``group_reset``."""

    group: Group


class GroupDeleteReply(TypedDict):
    """The reply to ``group_delete``."""

    deleted: str


class SessionHead(TypedDict):
    """A conversation."""

    id: str
    state: str
    mailboxes: list[str]
    turns: int


class Session(SessionHead):
    """A conversation as operators see it."""

    turns_max: int
    changed_at: str


class SessionMessage(_MessageHead):
    """A message in its conversation."""

    kind: Literal["message"]


SessionTask = TypedDict(
    "SessionTask",
    {
        "kind": Literal["task"],
        "task": str,
        "number": int,
        "at": str,
        "state": str,
        "from": str,
        "reason": NotRequired[str],
    },
)


class SessionGetReply(TypedDict):
    """The reply to ``session_get``."""

    session: SessionHead
    entries: list[SessionMessage | SessionTask]
    next_after: NotRequired[str]


class SessionListReply(TypedDict):
    """The reply to ``session_list``."""

    sessions: list[Session]
    next_cursor: NotRequired[str]
    remaining: int


class SessionReply(TypedDict):
    """The reply to ``session_close`` and ``session_reopen``."""

    session: Session
