"""The shape of every reply, once, for schemas and types; what a broker answers is checked against it.

An optional field is left out where it has nothing to say, never null (contract, section 12).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from mq9_mcp.broker.shapes import (
    Agent,
    CardedAgent,
    Cursor,
    FoundAgent,
    FoundMessage,
    Group,
    LeasedMessage,
    Mailbox,
    Message,
    Push,
    Receipt,
    Redriven,
    Remaining,
    Result,
    Session,
    SessionHead,
    SessionMessage,
    SessionTask,
    Shape,
    Skipped,
    Task,
    Waiting,
)


class TaskReply(Shape, kw_only=True, frozen=True):
    """One task."""

    task: Task


class TaskListReply(Shape, kw_only=True, frozen=True):
    """A page of tasks."""

    tasks: list[Task]
    remaining: Remaining
    next_cursor: Cursor | UnsetType = UNSET


class TaskUpdateReply(Shape, kw_only=True, frozen=True):
    """The task after an update, and what its worker did not know."""

    task: Task
    leased_until: datetime | UnsetType = UNSET
    follow_ups: list[Message] | UnsetType = UNSET


class MailboxCreateReply(Shape, kw_only=True, frozen=True):
    """The mailbox, new or renewed."""

    mailbox: Mailbox
    created: bool


class MailboxReply(Shape, kw_only=True, frozen=True):
    """One mailbox."""

    mailbox: Mailbox


class MailboxListReply(Shape, kw_only=True, frozen=True):
    """A page of mailboxes."""

    mailboxes: list[Mailbox]
    remaining: Remaining
    next_cursor: Cursor | UnsetType = UNSET


class MailboxDropReply(Shape, kw_only=True, frozen=True):
    """The address that is free again."""

    dropped: str


class MailboxSendReply(Shape, kw_only=True, frozen=True):
    """A receipt for each message and address, in order."""

    receipts: list[Receipt]


class MailboxFetchReply(Shape, kw_only=True, frozen=True):
    """The next messages, best first."""

    messages: list[LeasedMessage]
    remaining: Remaining
    cancel_requested: list[str]
    follow_ups: list[Message] | UnsetType = UNSET


class MailboxAckReply(Shape, kw_only=True, frozen=True):
    """A result for each item, in order, and the receipts of what was sent along."""

    results: list[Result]
    receipts: list[Receipt] | UnsetType = UNSET
    tasks: list[TaskUpdateReply] | UnsetType = UNSET


class MailboxQueryReply(Shape, kw_only=True, frozen=True):
    """A page of messages."""

    messages: list[FoundMessage]
    remaining: Remaining
    next_cursor: Cursor | UnsetType = UNSET


class MailboxDeleteReply(Shape, kw_only=True, frozen=True):
    """How many messages were removed."""

    deleted: int


class MailboxRedriveReply(Shape, kw_only=True, frozen=True):
    """Which letters went back, and which stay."""

    redriven: list[Redriven]
    skipped: list[Skipped]
    remaining: Remaining


class GroupListReply(Shape, kw_only=True, frozen=True):
    """The groups of a mailbox."""

    groups: list[Group]


class GroupReply(Shape, kw_only=True, frozen=True):
    """One group."""

    group: Group


class GroupDeleteReply(Shape, kw_only=True, frozen=True):
    """The name of the group that ended."""

    deleted: str


class AgentRegisterReply(Shape, kw_only=True, frozen=True):
    """The agent, and whether it was not there before."""

    agent: CardedAgent
    created: bool


class AgentUnregisterReply(Shape, kw_only=True, frozen=True):
    """The name that is no agent's any more."""

    unregistered: str


class AgentReportReply(Shape, kw_only=True, frozen=True):
    """The agent as it is now, and what waits for it."""

    agent: Agent
    cancel_requested: list[str]
    waiting: Waiting


class AgentDiscoverReply(Shape, kw_only=True, frozen=True):
    """A page of agents, best first, or by name."""

    agents: list[FoundAgent]
    remaining: Remaining
    next_cursor: Cursor | UnsetType = UNSET


class SessionGetReply(Shape, kw_only=True, frozen=True):
    """A page of a conversation, in store order."""

    session: SessionHead
    entries: list[SessionMessage | SessionTask]
    next_after: Annotated[str, Meta(description="after of the next page.")] | UnsetType = UNSET


class SessionListReply(Shape, kw_only=True, frozen=True):
    """A page of sessions."""

    sessions: list[Session]
    remaining: Remaining
    next_cursor: Cursor | UnsetType = UNSET


class SessionReply(Shape, kw_only=True, frozen=True):
    """One session."""

    session: Session


class PushSetReply(Shape, kw_only=True, frozen=True):
    """One push target."""

    push: Push


class PushListReply(Shape, kw_only=True, frozen=True):
    """A page of push targets."""

    pushes: list[Push]
    remaining: Remaining
    next_cursor: Cursor | UnsetType = UNSET


class PushDeleteReply(Shape, kw_only=True, frozen=True):
    """Whether there was a target."""

    deleted: bool


REPLIES: dict[str, type[Shape]] = {
    "mailbox_create": MailboxCreateReply,
    "mailbox_send": MailboxSendReply,
    "mailbox_fetch": MailboxFetchReply,
    "mailbox_ack": MailboxAckReply,
    "mailbox_query": MailboxQueryReply,
    "mailbox_delete": MailboxDeleteReply,
    "task_get": TaskReply,
    "task_list": TaskListReply,
    "task_update": TaskUpdateReply,
    "task_cancel": TaskReply,
    "mailbox_list": MailboxListReply,
    "mailbox_get": MailboxReply,
    "mailbox_update": MailboxReply,
    "mailbox_drop": MailboxDropReply,
    "mailbox_redrive": MailboxRedriveReply,
    "group_list": GroupListReply,
    "group_reset": GroupReply,
    "group_delete": GroupDeleteReply,
    "agent_register": AgentRegisterReply,
    "agent_unregister": AgentUnregisterReply,
    "agent_report": AgentReportReply,
    "agent_discover": AgentDiscoverReply,
    "session_get": SessionGetReply,
    "session_list": SessionListReply,
    "session_close": SessionReply,
    "session_reopen": SessionReply,
    "push_set": PushSetReply,
    "push_list": PushListReply,
    "push_delete": PushDeleteReply,
}
