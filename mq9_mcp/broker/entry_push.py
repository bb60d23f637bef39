"""The catalogue's part about push targets of tasks."""

from __future__ import annotations

from mq9_mcp.broker.entry import ALWAYS, Entry, Example
from mq9_mcp.domain import push_commands as p

_PUSH = (
    "{id, task, url, authentication?, state, delivered, created_at, failing_since?, disabled_at?, trouble?}"
)
PUSH_ENTRIES = (
    Entry(
        "push_set",
        p.PushSet,
        "Post a task's events to a URL, first the task as it stands: at least once each, in order.",
        {"push": _PUSH},
        ("TASK_NOT_FOUND", "FORBIDDEN", "BATCH_TOO_LARGE", *ALWAYS),
        "push",
        "task",
        (),
        operators=True,
    ),
    Entry(
        "push_list",
        p.PushList,
        "Where the events of the caller's tasks are posted, and how far that has come; never the secrets.",
        {
            "pushes": f"[{_PUSH}] state is active, failing, disabled or done; delivered is the last event "
            "that the receiver has acknowledged",
            "next_cursor": "if there are more",
            "remaining": "how many more, counted to 1,000",
        },
        ALWAYS,
        "read",
        "task",
        (Example("of all tasks", {}),),
        operators=True,
    ),
    Entry(
        "push_delete",
        p.PushDelete,
        "Post no more events of a task to a target.",
        {"deleted": "false if there was none"},
        ("TASK_NOT_FOUND", "FORBIDDEN", *ALWAYS),
        "push",
        "task",
        (),
        operators=True,
    ),
)
