"""Every command once: name, arguments, reply, errors, who may, an example. All doors and pages read this."""

from __future__ import annotations

from mq9_mcp.broker.entry import ALWAYS
from mq9_mcp.broker.entry import Entry as Entry
from mq9_mcp.broker.entry import Example as Example
from mq9_mcp.broker.entry_push import PUSH_ENTRIES
from mq9_mcp.domain import commands as c
from mq9_mcp.domain import push_commands as p
from mq9_mcp.domain import task_commands as t
from mq9_mcp.domain.task_request import TaskRequest

_MESSAGE = (
    "id, mailbox, from, verified, created_at, deliver_at?, expires_at?, priority, parts, tags, dedup_key?, "
    "state_key?, session, in_reply_to?, reply_to?, task?, task_state?, metadata?, dead_letter?"
)
_DELIVERY = "attempt, fence, lease, leased_until, checkpoint?, question?, follow_ups?"
_TASK = (
    "{id, state, session, mailbox, asker, worker?, progress?, artifacts, status_message?, history?, "
    "created_at, updated_at, version, cancel_requested}"
)
_MAILBOX = "{address, owner, description?, created_at, expires_at?, settings, counts}"
_RECEIPT = "{id, mailbox, stored_at, duplicate, session, task?, routed?, reached?, reply?}"
_SESSION = "{id, state, mailboxes, turns, turns_max, changed_at}"
_SEND_ERRORS = (
    "MAILBOX_NOT_FOUND",
    "NO_MATCHING_AGENT",
    "MESSAGE_NOT_FOUND",
    "SESSION_NOT_FOUND",
    "SESSION_CLOSED",
    "LOOP_GUARD",
    "DEDUP_CONFLICT",
    "MESSAGE_TOO_LARGE",
    "BATCH_TOO_LARGE",
    "MAILBOX_FULL",
    "TASK_NOT_FOUND",
    "ILLEGAL_TRANSITION",
)

_ENTRIES = (
    Entry(
        "mailbox_create",
        c.MailboxCreate,
        "Make a mailbox, or renew one with equal settings.",
        {"mailbox": _MAILBOX, "created": "false if it existed with equal settings and was renewed"},
        ("MAILBOX_EXISTS", *ALWAYS),
        "create",
        "mailbox",
        (
            Example("a team queue with three attempts", {"address": "jobs", "settings": {"max_attempts": 3}}),
            Example(
                "a mailbox with an unguessable address that ends in an hour", {"settings": {"ttl_s": 3600}}
            ),
        ),
        hidden=("description",),
    ),
    Entry(
        "mailbox_send",
        c.MailboxSend,
        "Store a message, or several, all or none; the receipt comes when they are on disk.",
        {"receipts": f"[{_RECEIPT}] in the order of the messages and of to"},
        (*_SEND_ERRORS, *ALWAYS),
        "send",
        "mailbox",
        (
            Example("a note to oneself", {"to": "alice", "text": "remember the milk"}),
            Example(
                "an urgent message that is stored once, however often it is sent",
                {"to": "alice", "text": "invoice 7 is due", "priority": "urgent", "dedup_key": "invoice-7"},
            ),
            Example(
                "a batch with a reminder in an hour",
                {
                    "messages": [
                        {"to": "alice", "parts": [{"data": {"amount": 12345678901234567890}}]},
                        {"to": "alice", "text": "look again", "delay_s": 3600},
                    ]
                },
            ),
        ),
        hidden=(
            "deliver_at",
            "expires_at",
            "traceparent",
            "tracestate",
            "metadata",
            "state_key",
        ),
    ),
    Entry(
        "mailbox_fetch",
        c.MailboxFetch,
        "Take the next messages under a lease; with wait_s, wait for one to arrive.",
        {
            "messages": f"[{{{_MESSAGE}, {_DELIVERY}}}] best first, never more than max",
            "remaining": "how many more wait, counted to 1,000",
            "cancel_requested": "[task] that the caller should stop",
            "follow_ups": "messages in tasks that the caller works on, if there are new ones",
        },
        ("MAILBOX_NOT_FOUND", "FORBIDDEN", *ALWAYS),
        "read",
        "mailbox",
        (
            Example("the next message of one's own mailbox", {"max": 1}),
            Example("as a second, independent reader", {"group": "audit", "deliver": "latest"}),
        ),
        hidden=("tags_all", "tags_none", "deliver"),
    ),
    Entry(
        "mailbox_ack",
        c.MailboxAck,
        "Settle leased messages: ack, nack, release, extend or reject; send replies in the same commit.",
        {
            "results": (
                "[{id, outcome, ok, error?, leased_until?, cancel_requested?, follow_ups?}] "
                "in the order of items"
            ),
            "receipts": f"[{_RECEIPT}] of send, if there was one",
            "tasks": "[{task, leased_until?, follow_ups?}] of tasks, if there were any",
        },
        ("LEASE_LOST", "VERSION_CONFLICT", *_SEND_ERRORS, *ALWAYS),
        "read",
        "mailbox",
        (Example("a lease that is none: its result says so", {"items": [{"lease": "1.1.none"}]}),),
        hidden=("tasks",),
    ),
    Entry(
        "mailbox_query",
        c.MailboxQuery,
        "Look at messages without taking them: settled, delayed and waiting ones.",
        {
            "messages": f"[{{{_MESSAGE}, deliveries: [{{group, state, attempt, worker?}}]}}]",
            "next_cursor": "if there are more",
            "remaining": "how many more, counted to 1,000",
        },
        ("MAILBOX_NOT_FOUND", "FORBIDDEN", *ALWAYS),
        "read",
        "mailbox",
        (Example("the newest messages of one's own mailbox", {"order": "desc", "limit": 5}),),
        hidden=("tags_all", "tags_none", "until", "group", "order"),
    ),
    Entry(
        "mailbox_delete",
        c.MailboxDelete,
        "Remove messages, all or none; cancels delayed ones.",
        {"deleted": "how many"},
        ("MAILBOX_NOT_FOUND", "MESSAGE_NOT_FOUND", "FORBIDDEN", *ALWAYS),
        "manage",
        "mailbox",
        (),
    ),
    Entry(
        "task_get",
        t.TaskGet,
        "A task as it stands; with wait_s, wait until it is newer than after_version.",
        {"task": _TASK},
        ("TASK_NOT_FOUND", *ALWAYS),
        "read",
        "task",
        (),
    ),
    Entry(
        "task_list",
        t.TaskList,
        "Tasks that the caller asked for or whose mailbox it owns, newest first; artifacts without parts.",
        {
            "tasks": f"[{_TASK}]",
            "next_cursor": "if there are more",
            "remaining": "how many more, counted to 1,000",
        },
        ALWAYS,
        "read",
        "task",
        (Example("the tasks that wait for an answer", {"state": "input-required"}),),
    ),
    Entry(
        "task_update",
        t.TaskUpdate,
        "Tell how work on a leased task goes, ask a question, or end it; renews the lease.",
        {
            "task": _TASK,
            "leased_until": "while the lease goes on",
            "follow_ups": "[message] that came since the worker was last told",
        },
        (
            "TASK_NOT_FOUND",
            "LEASE_LOST",
            "ILLEGAL_TRANSITION",
            "VERSION_CONFLICT",
            "MESSAGE_TOO_LARGE",
            "BATCH_TOO_LARGE",
            *ALWAYS,
        ),
        "update",
        "task",
        (),
        hidden=("expected_version",),
    ),
    Entry(
        "task_cancel",
        t.TaskCancel,
        "Cancel a task; whoever works on it is asked to stop.",
        {"task": _TASK},
        ("TASK_NOT_FOUND", "ILLEGAL_TRANSITION", *ALWAYS),
        "cancel",
        "task",
        (),
    ),
    Entry(
        "mailbox_list",
        c.MailboxList,
        "The caller's mailboxes by address.",
        {
            "mailboxes": f"[{_MAILBOX}]",
            "next_cursor": "if there are more",
            "remaining": "how many more, counted to 1,000",
        },
        ALWAYS,
        "read",
        "mailbox",
        (Example("mailboxes whose address begins with jobs", {"prefix": "jobs"}),),
        operators=True,
    ),
    Entry(
        "mailbox_get",
        c.MailboxGet,
        "One mailbox with its settings and counts.",
        {"mailbox": _MAILBOX},
        ("MAILBOX_NOT_FOUND", "FORBIDDEN", *ALWAYS),
        "read",
        "mailbox",
        (Example("one's own mailbox", {"address": "alice"}),),
        operators=True,
    ),
    Entry(
        "mailbox_update",
        c.MailboxUpdate,
        "Change settings or description of a mailbox.",
        {"mailbox": _MAILBOX},
        ("MAILBOX_NOT_FOUND", "FORBIDDEN", *ALWAYS),
        "manage",
        "mailbox",
        (Example("more patience", {"address": "alice", "settings": {"max_attempts": 10}}),),
        operators=True,
    ),
    Entry(
        "mailbox_drop",
        c.MailboxDrop,
        "Remove a mailbox with its messages and groups; its dead letters stay.",
        {"dropped": "its address"},
        ("MAILBOX_NOT_FOUND", "FORBIDDEN", *ALWAYS),
        "manage",
        "mailbox",
        (),
        operators=True,
    ),
    Entry(
        "mailbox_redrive",
        c.MailboxRedrive,
        "Give dead letters back to the mailbox and group they came from, at a rate.",
        {
            "redriven": "[{letter, id, mailbox}]",
            "skipped": "[{id, error}] letters that stay, and why",
            "remaining": "letters that are left, counted to 1,000",
        },
        ("MAILBOX_NOT_FOUND", "MESSAGE_NOT_FOUND", "LEASE_LOST", "FORBIDDEN", *ALWAYS),
        "manage",
        "mailbox",
        (),
        operators=True,
    ),
    Entry(
        "group_list",
        c.GroupList,
        "The groups of a mailbox: when they last fetched, what waits for them.",
        {"groups": "[{name, mailbox, fetched_at, waiting, leased, backoff}]"},
        ("MAILBOX_NOT_FOUND", "FORBIDDEN", *ALWAYS),
        "read",
        "mailbox",
        (Example("of one's own mailbox", {"mailbox": "alice"}),),
        operators=True,
    ),
    Entry(
        "group_reset",
        c.GroupReset,
        "Let a group begin again at another place; its leases are lost.",
        {"group": "as group_list shows it"},
        ("MAILBOX_NOT_FOUND", "FORBIDDEN", *ALWAYS),
        "manage",
        "mailbox",
        (),
        operators=True,
    ),
    Entry(
        "group_delete",
        c.GroupDelete,
        "End a group; its leases are lost.",
        {"deleted": "its name"},
        ("MAILBOX_NOT_FOUND", "FORBIDDEN", *ALWAYS),
        "manage",
        "mailbox",
        (),
        operators=True,
    ),
    Entry(
        "session_get",
        c.SessionGet,
        "Read a conversation: its messages and its tasks' states in order, as far as the caller may read.",
        {
            "session": "{id, state, mailboxes, turns}; state is open, halted or closed",
            "entries": f"[{{kind, {_MESSAGE}}}] in store order; kind is message; between them "
            "{kind, task, number, at, state, from, reason?} where a task came to a state; kind is task",
            "next_after": "if there are more",
        },
        ("SESSION_NOT_FOUND", *ALWAYS),
        "read",
        "session",
        (),
    ),
    Entry(
        "session_list",
        c.SessionList,
        "The sessions that the caller takes part in, by name; a message alone in its own session is none.",
        {
            "sessions": f"[{_SESSION}]",
            "next_cursor": "if there are more",
            "remaining": "how many more, counted to 1,000",
        },
        ALWAYS,
        "read",
        "session",
        (Example("those that a loop has halted", {"state": "halted"}),),
        operators=True,
    ),
    Entry(
        "session_close",
        c.SessionClose,
        "End a session: sends into it are refused, what is there is delivered and settled.",
        {"session": _SESSION},
        ("SESSION_NOT_FOUND", "FORBIDDEN", *ALWAYS),
        "manage",
        "session",
        (),
        operators=True,
    ),
    Entry(
        "session_reopen",
        c.SessionReopen,
        "Let a closed or halted session take messages again, up to a higher limit.",
        {"session": _SESSION},
        ("SESSION_NOT_FOUND", "FORBIDDEN", *ALWAYS),
        "manage",
        "session",
        (),
        operators=True,
    ),
)

_AGENT = "name, mailbox, version, status, load?, note?"
_CARD = {
    "name": "Billing",
    "description": "Pays invoices and chases those that are due.",
    "skills": [
        {
            "name": "Refunds",
            "description": "Gives money back for a returned order.",
            "tags": ["refund", "payment"],
            "examples": ["refund order 7"],
        }
    ],
}
_AGENT_ENTRIES = (
    Entry(
        "agent_register",
        c.AgentRegister,
        "Register an agent with its card, or give it a new one; its mailbox is made if missing.",
        {"agent": f"{{{_AGENT}, card}}", "created": "false if it was registered: then this is a new version"},
        ("MAILBOX_EXISTS", *ALWAYS),
        "create",
        "agent",
        (Example("an agent of two lines, as billing", {"card": _CARD}),),
    ),
    Entry(
        "agent_unregister",
        c.AgentUnregister,
        "End an agent's registration; its mailbox and mail stay unless delete_mail is true.",
        {"unregistered": "its name"},
        ("AGENT_NOT_FOUND", "FORBIDDEN", *ALWAYS),
        "manage",
        "agent",
        (),
    ),
    Entry(
        "agent_report",
        c.AgentReport,
        "Heartbeat: say how an agent is, hear what waits for it.",
        {
            "agent": f"{{{_AGENT}}}",
            "cancel_requested": "[task] that the agent should stop",
            "waiting": "{critical, urgent, normal} messages that wait in the group default",
        },
        ("AGENT_NOT_FOUND", "FORBIDDEN", *ALWAYS),
        "manage",
        "agent",
        (),
    ),
    Entry(
        "agent_discover",
        c.AgentDiscover,
        "Find agents by what they can do; without text, list them.",
        {
            "agents": f"[{{{_AGENT}, score?, reason?, skill?, card}}] best first, or by name",
            "next_cursor": "if there are more",
            "remaining": "how many more, counted to 1,000",
        },
        ALWAYS,
        "read",
        "agent",
        (
            Example("who can give money back", {"text": "refund an order"}),
            Example("who is free", {"status": "available"}),
        ),
    ),
)

CATALOGUE: dict[str, Entry] = {entry.name: entry for entry in (*_ENTRIES, *_AGENT_ENTRIES, *PUSH_ENTRIES)}

# What doors alone call, and the command as which it counts.
HIDDEN: dict[type[c.Command], str] = {
    TaskRequest: "mailbox_send",
    t.TaskPage: "task_list",
    p.PushRequest: "push_set",
    p.PushLook: "push_list",
}

# Named by the contract, not part of this version: refused by name, with what they belong to.
LATER: dict[str, str] = {"audit_query": "audit queries"}
