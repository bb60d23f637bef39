"""A message's row in the tables as the state knows it."""

from __future__ import annotations

from typing import Any

import msgspec

from mq9_mcp.domain.events import Extra, Letter, Mail, Wish

COLUMNS = 9  # id, mailbox, tier, visible_at, size, sender, position, expires_at, session


def mail_of(row: tuple[Any, ...], tags: list[str] | None = None, extra: Extra | None = None) -> Mail:
    """The message whose first columns ``row`` begins with."""
    id, mailbox, tier, visible_at, size, sender, position, expires_at, session = row[:COLUMNS]
    known = tuple(tags) if tags is not None else None
    return Mail(id, mailbox, tier, visible_at, size, sender, position, expires_at, session, known, extra)


def extra_of(
    state_key: str | None = None,
    only_group: str | None = None,
    letter: str | None = None,
    task: str | None = None,
    wish: str | None = None,
) -> Extra | None:
    """What few messages have, from its columns; ``letter`` and ``wish`` are JSON."""
    if state_key is None and only_group is None and letter is None and task is None and wish is None:
        return None
    known = msgspec.json.decode(letter, type=Letter) if letter is not None else None
    waits = msgspec.json.decode(wish, type=Wish) if wish is not None else None
    return Extra(state_key=state_key, only_group=only_group, letter=known, task=task, wish=waits)
