"""The agent that a client without a header acts as: its own name, as an address."""

from __future__ import annotations

import re

from mq9_mcp.domain.names import ADDRESS_MAX

_OTHERS = re.compile(r"[^a-z0-9]+")


def agent_of_client(name: object) -> str | None:
    """``Claude Code`` is ``claude-code``; None for a client that says no name that could be an address."""
    if not isinstance(name, str):
        return None
    return _OTHERS.sub("-", name.lower()).strip("-")[:ADDRESS_MAX].rstrip("-") or None
