"""What arguments are made of, as types: plain dicts at run time."""

# Made by `make client`; edits here are lost.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Required, TypedDict


class Retention(TypedDict, total=False):
    """How long settled mail stays for query, sessions and new groups.

    age_s: How long settled mail stays at most.
    bytes: How much settled mail stays at most.
    """

    age_s: int
    bytes: int


class SettingsArguments(TypedDict, total=False):
    """What a mailbox may be told; what is left out keeps its default (or, in an update, its value).

    ttl_s: Lifetime from the last create or renew; 0 means never ends.
    max_attempts: Failed attempts before the dead letters; 0 means no end.
    dead_letter: Where dead letters go; <address>.dead if left out.
    dead_letter_expired: Expired mail goes to the dead letters too.
    backoff_first_s: Wait after the first failed attempt.
    backoff_max_s: Longest wait between attempts.
    ordered_by: Deliver the messages of a session one after the other.
    exactly_once: Sends need a dedup_key that counts for ever; an expired lease never settles.
    retention: How much settled mail stays, and for how long.
    messages_max: Unsettled messages the mailbox takes.
    bytes_max: Unsettled bytes the mailbox takes.
    dedup_window_s: How long a dedup_key counts.
    """

    ttl_s: int
    max_attempts: int
    dead_letter: str
    dead_letter_expired: bool
    backoff_first_s: int
    backoff_max_s: int
    ordered_by: Literal["session"]
    exactly_once: bool
    retention: Retention
    messages_max: int
    bytes_max: int
    dedup_window_s: int


class MessageArguments(TypedDict, total=False):
    """What one message is made of (contract, section 2).

    to: One address, or a list: a copy for each, all or none.
    text: Shorthand for one text part.
    parts: 1 to 64 A2A Parts: text, data, raw or url.
    priority: Strict between the three, in every group.
    dedup_key: A second send with this key stores nothing.
    state_key: Latest wins: older unleased copies are withdrawn.
    tags: Words to filter by.
    delay_s: Invisible for so long.
    deliver_at: Invisible until then.
    ttl_s: Lifetime, counted from visibility.
    expires_at: Never delivered from then on.
    session: The conversation it belongs to.
    in_reply_to: The message it answers; to and session follow from it.
    reply_to: Where answers go, else to the sender.
    task: true, or {timeout_s}: opens a task. A task id: continues that task.
    intent: {text, tags?, skill?}: what is to be done, instead of to; the agent that fits best gets
        it.
    park: With intent: if no agent fits, keep it until one comes.
    metadata: A JSON object, carried through.
    traceparent: W3C trace context, carried through.
    tracestate: W3C trace context, carried through.
    """

    to: str | list[str] | tuple[str, ...]
    text: str
    parts: Sequence[Mapping[str, Any]]
    priority: Literal["critical", "urgent", "normal"]
    dedup_key: str
    state_key: str
    tags: list[str] | tuple[str, ...]
    delay_s: float
    deliver_at: datetime | str
    ttl_s: float
    expires_at: datetime | str
    session: str
    in_reply_to: int
    reply_to: str
    task: bool | TaskOptions | str
    intent: IntentArguments
    park: bool
    metadata: Mapping[str, Any]
    traceparent: str
    tracestate: str


class AckItem(TypedDict, total=False):
    """One lease and what becomes of it.

    lease: The token that the fetch gave.
    outcome: What becomes of the message.
    delay_s: nack: wait so long instead of the backoff.
    lease_s: extend: the new lease, counted from now.
    reason: nack, reject: why, in a word.
    description: reject: why, in a sentence.
    """

    lease: Required[str]
    outcome: Literal["ack", "nack", "release", "extend", "reject"]
    delay_s: float
    lease_s: float
    reason: str
    description: str


class IntentArguments(TypedDict, total=False):
    """What is to be done, instead of to: the agent that fits best gets it.

    text: What is to be done, in words.
    tags: Only agents with a skill that has at least one of these.
    skill: Only agents with the skill of this id or name; then any text fits.
    """

    text: Required[str]
    tags: list[str] | tuple[str, ...]
    skill: str


class McpServer(TypedDict, total=False):
    """An MCP server whose tools are the skills: a command, or a url.

    command: A program; the setting mcp_commands allows it.
    args
    url: Streamable HTTP, http or https.
    """

    command: str
    args: list[str] | tuple[str, ...]
    url: str


class TaskOptions(TypedDict, total=False):
    """What a new task may be told.

    timeout_s: Fails so long after it was submitted.
    """

    timeout_s: float


class PushAuthentication(TypedDict, total=False):
    """The header ``Authorization`` of each post: ``<scheme> <credentials>``; without credentials, none.

    scheme: Such as Bearer or Basic.
    credentials: What follows it; sent, and never shown.
    """

    scheme: Required[str]
    credentials: str


class Progress(TypedDict, total=False):
    """How far a task is.

    done: How much is done.
    total: How much there is to do.
    note: What is being done, for people.
    """

    done: int | float
    total: int | float
    note: str


class Artifact(TypedDict, total=False):
    """A result of a task, or a piece of one.

    artifact_id: Names the artifact; a new one if left out.
    name: What it is, for people.
    text: Shorthand for one text part.
    data: Shorthand for one data part.
    parts: 1 to 64 A2A Parts: text, data, raw or url.
    append: Its parts go behind those of the artifact; else it replaces it.
    last_chunk: Nothing more is appended to it.
    """

    artifact_id: str
    name: str
    text: str
    data: Mapping[str, Any] | Sequence[Any] | str | float | int | bool
    parts: Sequence[Mapping[str, Any]]
    append: bool
    last_chunk: bool


class TaskUpdate(TypedDict, total=False):
    """Arguments of ``task_update``: a worker's word about a task that it holds the lease of.

    task: The task.
    lease: The lease on its work message.
    state: What the task becomes; submitted gives it back. All but working end the lease.
    message: A word to the asker: text, or A2A Parts.
    progress: How far it is.
    checkpoint: Where to go on from, for whoever gets the next lease; up to 256 KiB.
    artifacts: Results, or pieces of them.
    lease_s: The new lease, counted from now.
    expected_version: Refuse if the task has another version.
    """

    task: Required[str]
    lease: Required[str]
    state: Literal[
        "submitted",
        "working",
        "input-required",
        "auth-required",
        "completed",
        "failed",
        "canceled",
        "rejected",
    ]
    message: str | Sequence[Mapping[str, Any]]
    progress: Progress
    checkpoint: Mapping[str, Any] | Sequence[Any] | str | float | int | bool
    artifacts: Sequence[Artifact]
    lease_s: float
    expected_version: int
