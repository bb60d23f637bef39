"""The arguments of every command, typed and bounded once; every door reads them from here.

A field's ``Meta`` carries its bounds and its one-line help. ``null`` means the same as leaving an
argument out; an unknown argument is refused (contract, sections 8 and 12).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from mq9_mcp.domain.agent_commands import AgentDiscover as AgentDiscover
from mq9_mcp.domain.agent_commands import AgentRegister as AgentRegister
from mq9_mcp.domain.agent_commands import AgentReport as AgentReport
from mq9_mcp.domain.agent_commands import AgentUnregister as AgentUnregister
from mq9_mcp.domain.arguments import TIERS as TIERS
from mq9_mcp.domain.arguments import (
    Address,
    Cursor,
    Description,
    Key,
    LeaseSeconds,
    MessageId,
    Name,
    PageLimit,
    Reason,
    SessionName,
    Tags,
    Time,
    Trace,
    Wait,
)
from mq9_mcp.domain.arguments import Command as Command
from mq9_mcp.domain.arguments import Priority as Priority
from mq9_mcp.domain.arguments import help_text as _help
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.names import DEFAULT_GROUP, NAME_PATTERN, TEXT_PATTERN
from mq9_mcp.domain.session_commands import SessionClose as SessionClose
from mq9_mcp.domain.session_commands import SessionGet as SessionGet
from mq9_mcp.domain.session_commands import SessionList as SessionList
from mq9_mcp.domain.session_commands import SessionReopen as SessionReopen
from mq9_mcp.domain.task_commands import TaskUpdate


class Retention(Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """How long settled mail stays for query, sessions and new groups."""

    age_s: Annotated[
        int, Meta(ge=0, le=limit("delay_s_max"), description="How long settled mail stays at most.")
    ] = limit("retention_age_s")
    bytes: Annotated[int, Meta(ge=0, le=2**50, description="How much settled mail stays at most.")] = limit(
        "retention_bytes"
    )


class SettingsArguments(Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """What a mailbox may be told; what is left out keeps its default (or, in an update, its value)."""

    ttl_s: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=limit("delay_s_max"),
                description="Lifetime from the last create or renew; 0 means never ends.",
            ),
        ]
        | None
    ) = None
    max_attempts: (
        Annotated[
            int, Meta(ge=0, le=1_000, description="Failed attempts before the dead letters; 0 means no end.")
        ]
        | None
    ) = None
    dead_letter: Annotated[Address, _help("Where dead letters go; <address>.dead if left out.")] | None = None
    dead_letter_expired: Annotated[bool, _help("Expired mail goes to the dead letters too.")] | None = None
    backoff_first_s: (
        Annotated[int, Meta(ge=0, le=43_200, description="Wait after the first failed attempt.")] | None
    ) = None
    backoff_max_s: (
        Annotated[int, Meta(ge=0, le=43_200, description="Longest wait between attempts.")] | None
    ) = None
    ordered_by: (
        Annotated[Literal["session"], _help("Deliver the messages of a session one after the other.")] | None
    ) = None
    exactly_once: (
        Annotated[bool, _help("Sends need a dedup_key that counts for ever; an expired lease never settles.")]
        | None
    ) = None
    retention: Annotated[Retention, _help("How much settled mail stays, and for how long.")] | None = None
    messages_max: (
        Annotated[int, Meta(ge=1, le=100_000_000, description="Unsettled messages the mailbox takes.")] | None
    ) = None
    bytes_max: (
        Annotated[int, Meta(ge=1, le=2**50, description="Unsettled bytes the mailbox takes.")] | None
    ) = None
    dedup_window_s: (
        Annotated[int, Meta(ge=0, le=limit("delay_s_max"), description="How long a dedup_key counts.")] | None
    ) = None


class MailboxCreate(Command, kw_only=True, frozen=True):
    """Arguments of ``mailbox_create``."""

    address: Annotated[Address, _help("Its address; an unguessable one if left out.")] | None = None
    description: Annotated[Description, _help("What it is for, for people.")] | None = None
    settings: Annotated[SettingsArguments, _help("Settings; defaults for what is left out.")] | None = None


class MailboxUpdate(Command, kw_only=True, frozen=True):
    """Arguments of ``mailbox_update``."""

    address: Annotated[Address, _help("The mailbox to change.")]
    description: Annotated[Description, _help("The new description.")] | None = None
    settings: Annotated[SettingsArguments, _help("Only what changes.")] | None = None


class MailboxGet(Command, kw_only=True, frozen=True):
    """Arguments of ``mailbox_get``."""

    address: Annotated[Address, _help("The mailbox; the caller's own if left out.")] | None = None


class MailboxList(Command, kw_only=True, frozen=True):
    """Arguments of ``mailbox_list``."""

    prefix: (
        Annotated[str, Meta(max_length=96, pattern=TEXT_PATTERN, description="Only addresses that begin so.")]
        | None
    ) = None
    limit: Annotated[PageLimit, _help("Mailboxes on a page.")] = limit("query_limit_default")
    cursor: Annotated[Cursor, _help("next_cursor of the page before.")] | None = None


class MailboxDrop(Command, kw_only=True, frozen=True):
    """Arguments of ``mailbox_drop``."""

    address: Annotated[Address, _help("The mailbox to remove with its messages and groups.")]


class TaskOptions(Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """What a new task may be told."""

    timeout_s: (
        Annotated[
            float,
            Meta(gt=0, le=limit("delay_s_max"), description="Fails so long after it was submitted."),
        ]
        | None
    ) = None


class IntentArguments(Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """What is to be done, instead of to: the agent that fits best gets it."""

    text: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=limit("intent_text_characters_max"),
            pattern=TEXT_PATTERN,
            description="What is to be done, in words.",
        ),
    ]
    tags: Annotated[Tags, _help("Only agents with a skill that has at least one of these.")] = []
    skill: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=limit("card_label_characters_max"),
                pattern=NAME_PATTERN,
                description="Only agents with the skill of this id or name; then any text fits.",
            ),
        ]
        | None
    ) = None


class MessageArguments(Command, kw_only=True, frozen=True):
    """What one message is made of (contract, section 2)."""

    to: (
        Annotated[
            Annotated[str, Meta(max_length=200)]
            | Annotated[list[Annotated[str, Meta(max_length=200)]], Meta(min_length=1)],
            _help("One address, or a list: a copy for each, all or none."),
        ]
        | None
    ) = None
    text: Annotated[str, _help("Shorthand for one text part.")] | None = None
    parts: Annotated[list[dict[str, Any]], _help("1 to 64 A2A Parts: text, data, raw or url.")] | None = None
    priority: Annotated[Priority, _help("Strict between the three, in every group.")] = "normal"
    dedup_key: Annotated[Key, _help("A second send with this key stores nothing.")] | None = None
    state_key: Annotated[Key, _help("Latest wins: older unleased copies are withdrawn.")] | None = None
    tags: Annotated[Tags, _help("Words to filter by.")] = []
    delay_s: (
        Annotated[float, Meta(ge=0, le=limit("delay_s_max"), description="Invisible for so long.")] | None
    ) = None
    deliver_at: Annotated[Time, _help("Invisible until then.")] | None = None
    ttl_s: (
        Annotated[
            float, Meta(gt=0, le=limit("delay_s_max"), description="Lifetime, counted from visibility.")
        ]
        | None
    ) = None
    expires_at: Annotated[Time, _help("Never delivered from then on.")] | None = None
    session: Annotated[SessionName, _help("The conversation it belongs to.")] | None = None
    in_reply_to: (
        Annotated[MessageId, _help("The message it answers; to and session follow from it.")] | None
    ) = None
    reply_to: Annotated[Address, _help("Where answers go, else to the sender.")] | None = None
    task: (
        Annotated[
            bool | TaskOptions | Annotated[str, Meta(min_length=1, max_length=128)],
            _help("true, or {timeout_s}: opens a task. A task id: continues that task."),
        ]
        | None
    ) = None
    intent: (
        Annotated[
            IntentArguments,
            _help(
                "{text, tags?, skill?}: what is to be done, instead of to; the agent that fits best gets it."
            ),
        ]
        | None
    ) = None
    park: Annotated[bool, _help("With intent: if no agent fits, keep it until one comes.")] | None = None
    metadata: Annotated[dict[str, Any], _help("A JSON object, carried through.")] | None = None
    traceparent: Annotated[Trace, _help("W3C trace context, carried through.")] | None = None
    tracestate: Annotated[Trace, _help("W3C trace context, carried through.")] | None = None


class MailboxSend(MessageArguments, kw_only=True, frozen=True):
    """Arguments of ``mailbox_send``: one message, or ``messages``: several, all or none."""

    messages: (
        Annotated[
            list[MessageArguments],
            Meta(min_length=1, description="Several messages instead of one, stored all or none."),
        ]
        | None
    ) = None
    wait_for: (
        Annotated[Literal["leased", "acked", "replied"], _help("Stay until group default got so far.")] | None
    ) = None
    wait_s: Annotated[Wait, _help("How long wait_for stays.")] = 0


class MailboxFetch(Command, kw_only=True, frozen=True):
    """Arguments of ``mailbox_fetch`` (contract, section 3)."""

    # The single address has no pattern here: msgspec 0.22 frees a union of a patterned string and a list
    # wrongly, which corrupts memory when Python exits. ``fetched_addresses`` checks the address.
    mailbox: (
        Annotated[
            Annotated[str, Meta(max_length=200)]
            | Annotated[list[Address], Meta(min_length=1, max_length=limit("fetch_mailboxes_max"))],
            _help("One mailbox or up to 16 in one wait; the caller's own if left out."),
        ]
        | None
    ) = None
    group: Annotated[Name, _help("An independent reader of the mailbox.")] = DEFAULT_GROUP
    max: Annotated[
        int, Meta(ge=1, le=limit("fetch_messages_max"), description="Never more messages than this.")
    ] = 10
    wait_s: Annotated[Wait, _help("Wait so long for a first message.")] = 0
    lease_s: Annotated[LeaseSeconds, _help("How long the messages are yours; extend to keep them.")] = limit(
        "lease_s_default"
    )
    tags_any: Annotated[Tags, _help("Messages with at least one of these.")] = []
    tags_all: Annotated[Tags, _help("Messages with all of these.")] = []
    tags_none: Annotated[Tags, _help("Messages with none of these.")] = []
    priority_min: Annotated[Priority, _help("Only this priority and above.")] = "normal"
    session: Annotated[SessionName, _help("Only messages of this session.")] | None = None
    deliver: Annotated[
        str | MessageId,
        _help("Where a new group begins: earliest, latest (after now), a message id or a time."),
    ] = "earliest"


class AckItem(Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """One lease and what becomes of it."""

    lease: Annotated[
        str,
        Meta(
            min_length=1, max_length=128, pattern=TEXT_PATTERN, description="The token that the fetch gave."
        ),
    ]
    outcome: Annotated[
        Literal["ack", "nack", "release", "extend", "reject"], _help("What becomes of the message.")
    ] = "ack"
    delay_s: (
        Annotated[
            float,
            Meta(
                ge=0, le=limit("nack_delay_s_max"), description="nack: wait so long instead of the backoff."
            ),
        ]
        | None
    ) = None
    lease_s: Annotated[LeaseSeconds, _help("extend: the new lease, counted from now.")] | None = None
    reason: Annotated[Reason, _help("nack, reject: why, in a word.")] | None = None
    description: Annotated[Description, _help("reject: why, in a sentence.")] | None = None


class MailboxAck(Command, kw_only=True, frozen=True):
    """Arguments of ``mailbox_ack``; with ``send`` the whole call is one commit, all or none."""

    items: Annotated[
        list[AckItem],
        Meta(min_length=1, max_length=limit("ack_items_max"), description="Leases and their outcomes."),
    ]
    send: (
        Annotated[
            MessageArguments | list[MessageArguments],
            _help("A message, or several, stored in the same commit."),
        ]
        | None
    ) = None
    tasks: (
        Annotated[
            list[TaskUpdate],
            Meta(
                min_length=1,
                max_length=limit("ack_items_max"),
                description="Task updates in the same commit.",
            ),
        ]
        | None
    ) = None


class MailboxQuery(Command, kw_only=True, frozen=True, rename={"from_": "from"}):
    """Arguments of ``mailbox_query``; it never leases and never consumes.

    ``from_`` is ``from`` on the wire: the language keeps that word for itself.
    """

    mailbox: Annotated[Address, _help("The mailbox; the caller's own if left out.")] | None = None
    ids: (
        Annotated[
            list[MessageId],
            Meta(min_length=1, max_length=limit("query_limit_max"), description="Only these."),
        ]
        | None
    ) = None
    session: Annotated[SessionName, _help("Only messages of this session.")] | None = None
    tags_any: Annotated[Tags, _help("Messages with at least one of these.")] = []
    tags_all: Annotated[Tags, _help("Messages with all of these.")] = []
    tags_none: Annotated[Tags, _help("Messages with none of these.")] = []
    priority: Annotated[Priority, _help("Only this priority.")] | None = None
    from_: (
        Annotated[str, Meta(max_length=200, pattern=TEXT_PATTERN, description="Only from this sender.")]
        | None
    ) = None
    since: Annotated[Time, _help("Created at or after.")] | None = None
    until: Annotated[Time, _help("Created before.")] | None = None
    state: (
        Annotated[
            Literal["delayed", "waiting", "leased", "backoff", "acked", "dead", "expired", "withdrawn"],
            _help("Only messages in this delivery state in group."),
        ]
        | None
    ) = None
    group: Annotated[Name, _help("The group that state speaks of; default if left out.")] | None = None
    order: Annotated[Literal["asc", "desc"], _help("Oldest or newest first.")] = "asc"
    limit: Annotated[PageLimit, _help("Messages on a page.")] = limit("query_limit_default")
    cursor: Annotated[Cursor, _help("next_cursor of the page before.")] | None = None


class MailboxDelete(Command, kw_only=True, frozen=True):
    """Arguments of ``mailbox_delete``: all or none."""

    mailbox: Annotated[Address, _help("The mailbox; the caller's own if left out.")] | None = None
    ids: Annotated[
        list[MessageId],
        Meta(min_length=1, max_length=limit("batch_messages_max"), description="The messages to remove."),
    ]


class MailboxRedrive(Command, kw_only=True, frozen=True):
    """Arguments of ``mailbox_redrive``: dead letters go back to their mailbox and group."""

    mailbox: Annotated[Address, _help("The dead letter mailbox.")]
    ids: (
        Annotated[
            list[MessageId],
            Meta(min_length=1, max_length=limit("redrive_max"), description="Only these letters."),
        ]
        | None
    ) = None
    limit: Annotated[
        int, Meta(ge=1, le=limit("redrive_max"), description="At most so many, oldest first.")
    ] = 100
    rate: (
        Annotated[
            int,
            Meta(ge=1, le=limit("redrive_rate_max"), description="Letters a second; at once if left out."),
        ]
        | None
    ) = None


class GroupList(Command, kw_only=True, frozen=True):
    """Arguments of ``group_list``."""

    mailbox: Annotated[Address, _help("The mailbox; the caller's own if left out.")] | None = None


class GroupReset(Command, kw_only=True, frozen=True):
    """Arguments of ``group_reset``: the group begins again at another place; its leases are lost."""

    mailbox: Annotated[Address, _help("The mailbox; the caller's own if left out.")] | None = None
    group: Annotated[Name, _help("The group.")]
    to: Annotated[str | MessageId, _help("earliest, latest (after now), a message id or a time.")]


class GroupDelete(Command, kw_only=True, frozen=True):
    """Arguments of ``group_delete``: the group ends; its leases are lost."""

    mailbox: Annotated[Address, _help("The mailbox; the caller's own if left out.")] | None = None
    group: Annotated[Name, _help("The group.")]
