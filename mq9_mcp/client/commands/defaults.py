"""What the broker takes for arguments that are left out: not sent."""

# Made by `make client`; edits here are lost.

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "mailbox_send": {"priority": "normal", "tags": (), "wait_s": 0},
    "mailbox_fetch": {
        "group": "default",
        "max": 10,
        "wait_s": 0,
        "lease_s": 300,
        "tags_any": (),
        "tags_all": (),
        "tags_none": (),
        "priority_min": "normal",
        "deliver": "earliest",
    },
    "mailbox_query": {"tags_any": (), "tags_all": (), "tags_none": (), "order": "asc", "limit": 20},
    "task_get": {"history": 0, "wait_s": 0},
    "task_list": {"limit": 20},
    "mailbox_list": {"limit": 20},
    "mailbox_redrive": {"limit": 100},
    "session_get": {"limit": 50},
    "session_list": {"limit": 20},
    "agent_unregister": {"delete_mail": False},
    "agent_discover": {"tags_any": (), "limit": 20},
    "push_list": {"limit": 20},
}
