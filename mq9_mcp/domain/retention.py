"""Retention: settled mail goes after a while or above a size, oldest settled first; unsettled never."""

from __future__ import annotations

from mq9_mcp.domain.events import Pruned
from mq9_mcp.domain.plan import Plan
from mq9_mcp.domain.state import Mailbox


def due_for_retention(mailbox: Mailbox, now: int) -> bool:
    """True if some settled mail may have to go; never while a group still reads old mail again."""
    if not mailbox.settled or any(group.history for group in mailbox.groups.values()):
        return False
    too_old = mailbox.settled_since + mailbox.settings.retention_age_s * 1000 <= now
    return too_old or mailbox.settled_bytes > mailbox.settings.retention_bytes


def decide_prune(plan: Plan, mailbox: Mailbox, through: int, count: int, size: int, oldest: int) -> None:
    """Remove what was settled at or before journal sequence ``through``."""
    plan.events.append(
        Pruned(at=plan.now, mailbox=mailbox.number, through=through, count=count, bytes=size, oldest=oldest)
    )
