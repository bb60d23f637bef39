"""The nouns that replies are made of: messages, mailboxes, tasks, agents, sessions as the wire shows them.

An optional field is left out where it has nothing to say, never null (contract, section 12).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from mq9_mcp.domain.arguments import MessageId, Priority
from mq9_mcp.domain.delivery import DeliveryState
from mq9_mcp.domain.errors import CODES
from mq9_mcp.domain.task import TaskState

Code = Annotated[
    str, Meta(description="Stable; programs read this.", extra_json_schema={"enum": list(CODES)})
]
Remaining = Annotated[int, Meta(ge=0, le=1000, description="How many more, counted to 1,000.")]
Cursor = Annotated[str, Meta(description="cursor of the next page; left out on the last one.")]


SessionState = Literal["open", "halted", "closed"]


class Shape(Struct, kw_only=True, frozen=True):
    """What the wire shows."""


class Error(Shape, kw_only=True, frozen=True):
    """Why a call, or one item of it, was refused."""

    code: Code
    message: Annotated[str, Meta(description="Names the value seen and the values accepted.")]
    hint: Annotated[str, Meta(description="The next call.")] | UnsetType = UNSET
    details: Annotated[dict[str, Any], Meta(description="The same as data.")] | UnsetType = UNSET


class ErrorReply(Shape, kw_only=True, frozen=True):
    """The one shape of every refusal."""

    error: Error


class Part(Shape, kw_only=True, frozen=True):
    """An A2A Part: exactly one of text, data, raw and url."""

    text: str | UnsetType = UNSET
    data: Annotated[Any, Meta(description="Any JSON value; integers of any size survive exactly.")] = UNSET
    raw: (
        Annotated[str, Meta(description="Bytes in base64.", extra_json_schema={"contentEncoding": "base64"})]
        | UnsetType
    ) = UNSET
    url: str | UnsetType = UNSET
    filename: str | UnsetType = UNSET
    mediaType: str | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET


class RetentionView(Shape, kw_only=True, frozen=True):
    """How long settled mail stays."""

    age_s: int
    bytes: int


class SettingsView(Shape, kw_only=True, frozen=True):
    """A mailbox's settings, complete; what is none is left out."""

    max_attempts: int
    dead_letter: str
    dead_letter_expired: bool
    backoff_first_s: int
    backoff_max_s: int
    exactly_once: bool
    retention: RetentionView
    messages_max: int
    bytes_max: int
    dedup_window_s: int
    ttl_s: int | UnsetType = UNSET
    ordered_by: Literal["session"] | UnsetType = UNSET


class Counts(Shape, kw_only=True, frozen=True):
    """How much a mailbox holds."""

    unsettled: int
    unsettled_bytes: int
    delayed: int
    settled: int
    settled_bytes: int
    groups: int


class Mailbox(Shape, kw_only=True, frozen=True):
    """A mailbox as its owner sees it."""

    address: str
    owner: str
    created_at: datetime
    settings: SettingsView
    counts: Counts
    description: str | UnsetType = UNSET
    expires_at: datetime | UnsetType = UNSET


class DeadLetter(Shape, kw_only=True, frozen=True):
    """Where a dead letter came from, and why it is one."""

    id: MessageId
    source: str
    group: str
    reason: str
    attempts: int
    description: str | UnsetType = UNSET
    first_attempt_at: datetime | UnsetType = UNSET
    last_attempt_at: datetime | UnsetType = UNSET


class PushScheme(Shape, kw_only=True, frozen=True):
    """The scheme of the header Authorization; what follows it is never shown."""

    scheme: str


class Push(Shape, kw_only=True, frozen=True):
    """Where a task's events are posted, and how far that has come."""

    id: str
    task: str
    url: str
    state: Literal["active", "failing", "disabled", "done"]
    delivered: Annotated[int, Meta(description="The last event that the receiver has acknowledged.")]
    created_at: datetime
    authentication: PushScheme | UnsetType = UNSET
    failing_since: datetime | UnsetType = UNSET
    disabled_at: datetime | UnsetType = UNSET
    trouble: Annotated[str, Meta(description="What was wrong with a post.")] | UnsetType = UNSET


class Envelope(Shape, kw_only=True, frozen=True):
    """What an A2A client wrote around its parts, verbatim."""

    messageId: str
    role: str
    referenceTaskIds: list[str] | UnsetType = UNSET
    extensions: list[str] | UnsetType = UNSET


class Message(Shape, kw_only=True, frozen=True, rename={"from_": "from"}):
    """A message as it was stored."""

    id: MessageId
    mailbox: str
    from_: Annotated[str, Meta(description="The agent that sent it, else principal:<name>.")]
    verified: Annotated[bool, Meta(description="A credential proved who sent it.")]
    created_at: datetime
    priority: Priority
    parts: list[Part]
    tags: list[str]
    session: str
    deliver_at: datetime | UnsetType = UNSET
    expires_at: datetime | UnsetType = UNSET
    dedup_key: str | UnsetType = UNSET
    state_key: str | UnsetType = UNSET
    in_reply_to: MessageId | UnsetType = UNSET
    reply_to: str | UnsetType = UNSET
    task: Annotated[str, Meta(description="The task that it belongs to.")] | UnsetType = UNSET
    task_state: TaskState | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET
    tracestate: str | UnsetType = UNSET
    dead_letter: DeadLetter | UnsetType = UNSET
    a2a: Envelope | UnsetType = UNSET


class StatusMessage(Shape, kw_only=True, frozen=True, rename={"from_": "from"}):
    """A word about a task: what its worker said last, or asked."""

    from_: str
    created_at: datetime
    parts: list[Part]


class LeasedMessage(Message, kw_only=True, frozen=True, rename={"from_": "from"}):
    """A message in the caller's hands until ``leased_until``."""

    attempt: Annotated[int, Meta(ge=1, description="Failed attempts, and this one.")]
    fence: Annotated[int, Meta(ge=1, description="Rises with every lease; pass it on to outside effects.")]
    lease: Annotated[str, Meta(description="The token that settles it.")]
    leased_until: datetime
    checkpoint: Annotated[Any, Meta(description="Where the worker before stopped.")] = UNSET
    question: Annotated[StatusMessage, Meta(description="What this message answers.")] | UnsetType = UNSET
    follow_ups: list[Message] | UnsetType = UNSET


class Delivery(Shape, kw_only=True, frozen=True):
    """Where a message stands in one group."""

    group: str
    state: DeliveryState
    attempt: int
    worker: str | UnsetType = UNSET


class FoundMessage(Message, kw_only=True, frozen=True, rename={"from_": "from"}):
    """A message and where it stands in every group."""

    deliveries: list[Delivery]


class CandidateView(Shape, kw_only=True, frozen=True):
    """An agent that came into question for an intent, and why it did not get the message."""

    agent: str
    score: float
    status: Literal["available", "busy", "away", "offline"]
    reason: str
    skill: str | UnsetType = UNSET


class Routed(Shape, kw_only=True, frozen=True):
    """Who got a message that was sent by intent."""

    agent: str
    score: Annotated[float, Meta(ge=0, le=1)]
    reason: str
    candidates: Annotated[list[CandidateView], Meta(description="The runners-up.")]
    skill: Annotated[str, Meta(description="The skill that fits best.")] | UnsetType = UNSET


class Receipt(Shape, kw_only=True, frozen=True):
    """The message is on disk."""

    id: MessageId
    mailbox: str
    stored_at: datetime
    duplicate: Annotated[bool, Meta(description="The dedup_key was known: nothing was stored again.")]
    session: str
    task: str | UnsetType = UNSET
    routed: Annotated[Routed, Meta(description="Who got it, and why.")] | UnsetType = UNSET
    reached: (
        Annotated[
            Literal["stored", "leased", "acked", "replied", "dead", "expired", "withdrawn", "canceled"],
            Meta(description="How far it came while wait_for waited."),
        ]
        | UnsetType
    ) = UNSET
    reply: Annotated[Message, Meta(description="A copy of the reply.")] | UnsetType = UNSET


class Result(Shape, kw_only=True, frozen=True):
    """What became of one item of an ack."""

    outcome: Literal["ack", "nack", "release", "extend", "reject"]
    ok: bool
    id: MessageId | UnsetType = UNSET
    error: Error | UnsetType = UNSET
    leased_until: datetime | UnsetType = UNSET
    cancel_requested: Annotated[bool, Meta(description="The worker should stop.")] | UnsetType = UNSET
    follow_ups: list[Message] | UnsetType = UNSET


class ProgressView(Shape, kw_only=True, frozen=True):
    """How far a task is."""

    done: int | float | UnsetType = UNSET
    total: int | float | UnsetType = UNSET
    note: str | UnsetType = UNSET


class ArtifactView(Shape, kw_only=True, frozen=True):
    """A result of a task; task_list leaves out its parts."""

    artifact_id: str
    name: str | UnsetType = UNSET
    parts: list[Part] | UnsetType = UNSET
    last_chunk: bool | UnsetType = UNSET


class ArtifactPiece(ArtifactView, kw_only=True, frozen=True):
    """A piece of an artifact as it came."""

    append: bool | UnsetType = UNSET


class HistoryEntry(Shape, kw_only=True, frozen=True, rename={"from_": "from"}):
    """One numbered entry of a task's history, and the state after it."""

    number: int
    at: datetime
    kind: str
    state: TaskState
    from_: str
    message: MessageId | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    parts: list[Part] | UnsetType = UNSET
    progress: ProgressView | UnsetType = UNSET
    artifact: ArtifactPiece | UnsetType = UNSET
    checkpoint: Any = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET
    a2a: Envelope | UnsetType = UNSET


class Task(Shape, kw_only=True, frozen=True):
    """A task as it stands."""

    id: str
    state: TaskState
    session: str
    mailbox: str
    asker: str
    artifacts: list[ArtifactView]
    created_at: datetime
    updated_at: datetime
    version: Annotated[int, Meta(ge=1, description="The number of the last entry of its history.")]
    cancel_requested: bool
    worker: str | UnsetType = UNSET
    progress: ProgressView | UnsetType = UNSET
    status_message: StatusMessage | UnsetType = UNSET
    history: list[HistoryEntry] | UnsetType = UNSET


class Group(Shape, kw_only=True, frozen=True):
    """An independent reader of a mailbox."""

    name: str
    mailbox: str
    fetched_at: datetime
    waiting: int
    leased: int
    backoff: int


class Redriven(Shape, kw_only=True, frozen=True):
    """A dead letter that went back."""

    letter: MessageId
    id: MessageId
    mailbox: str


class Skipped(Shape, kw_only=True, frozen=True):
    """A dead letter that stays."""

    id: MessageId
    error: Error


class Agent(Shape, kw_only=True, frozen=True):
    """An agent: its mailbox has its name."""

    name: str
    mailbox: str
    version: int
    status: Literal["available", "busy", "away", "offline"]
    load: float | UnsetType = UNSET
    note: str | UnsetType = UNSET


class CardedAgent(Agent, kw_only=True, frozen=True):
    """An agent with its A2A AgentCard."""

    card: dict[str, Any]


class FoundAgent(CardedAgent, kw_only=True, frozen=True):
    """An agent that was found; score, reason and skill where something was asked for."""

    score: float | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    skill: str | UnsetType = UNSET


class Waiting(Shape, kw_only=True, frozen=True):
    """How much waits in each tier."""

    critical: int
    urgent: int
    normal: int


class SessionHead(Shape, kw_only=True, frozen=True):
    """A conversation: ``turns`` counts every message ever sent into it."""

    id: str
    state: SessionState
    mailboxes: Annotated[list[str], Meta(description="Those in it that the caller may know.")]
    turns: Annotated[int, Meta(ge=0)]


class Session(SessionHead, kw_only=True, frozen=True):
    """A session as operators see it."""

    turns_max: Annotated[int, Meta(ge=1, description="Messages that it takes before it is halted.")]
    changed_at: datetime


class SessionMessage(
    Message, kw_only=True, frozen=True, tag_field="kind", tag="message", rename={"from_": "from"}
):
    """A message in its conversation."""


class SessionTask(Shape, kw_only=True, frozen=True, tag_field="kind", tag="task", rename={"from_": "from"}):
    """A task of the conversation came to another state: ``number`` is that of its history."""

    task: str
    number: int
    at: datetime
    state: TaskState
    from_: str
    reason: str | UnsetType = UNSET
