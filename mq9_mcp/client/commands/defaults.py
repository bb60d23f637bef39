"""What the broker takes for arguments that are left out: not sent."""

# Made by `make client`; edits here are lost.

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "mailbox_send": {"priority": "normal"},
    "mailbox_fetch": {
        "group": "default",
        "max": 10,
        "lease_s": 300,
        "priority_min": "normal",
        "deliver": "earliest",
    },
    "mailbox_query": {"order": "asc", "limit": 20},
    "mailbox_list": {"limit": 20},
    "mailbox_redrive": {"limit": 100},
}
