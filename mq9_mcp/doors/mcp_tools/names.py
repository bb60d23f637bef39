"""The agent that a client without a header acts as: its own name, as an address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mq9_mcp.domain.names import ADDRESS_MAX

_OTHERS = re.compile(r"[^a-z0-9]+")


def agent_of_client(info: Any) -> str | None:
    """``Claude Code`` is ``claude-code``; None for a client that says no name that could be an address."""
    name = info.get("name") if isinstance(info, Mapping) else None
    if not isinstance(name, str):
        return None
    return _OTHERS.sub("-", name.lower()).strip("-")[:ADDRESS_MAX].rstrip("-") or None
