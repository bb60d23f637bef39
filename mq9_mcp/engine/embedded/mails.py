"""A message's row in the tables as the state knows it."""

from __future__ import annotations

from typing import Any

from mq9_mcp.domain.events import Extra, Mail

COLUMNS = 9  # id, mailbox, tier, visible_at, size, sender, position, expires_at, session


def mail_of(row: tuple[Any, ...], tags: list[str] | None = None, extra: Extra | None = None) -> Mail:
    """The message whose first columns ``row`` begins with."""
    id, mailbox, tier, visible_at, size, sender, position, expires_at, session = row[:COLUMNS]
    known = tuple(tags) if tags is not None else None
    return Mail(id, mailbox, tier, visible_at, size, sender, position, expires_at, session, known, extra)
