"""What is known of a request before anybody looks at what it asks."""

from __future__ import annotations

from typing import NamedTuple

from mq9_mcp.domain.state import Caller


class Ask(NamedTuple):
    """One request: who asks, of which mailbox (none: the broker itself), with which extensions, at which
    address of ours."""

    caller: Caller
    mailbox: str
    extensions: frozenset[str] = frozenset()
    base: str = ""
    after: int | None = None  # the last event that the client knows
    version: str = "1.0"  # of A2A that it speaks
