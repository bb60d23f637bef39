"""Who may do what: the owner everything, anybody may write to an agent (contract, section 11)."""

from __future__ import annotations

from mq9_mcp.domain.state import Caller, Mailbox


def owns(caller: Caller, mailbox: Mailbox) -> bool:
    """True if the caller's principal owns the mailbox."""
    return mailbox.owner == caller.principal


def may_send(caller: Caller, mailbox: Mailbox) -> bool:
    """True if the caller may put mail into the mailbox; a reply has its own grant."""
    return mailbox.agent or mailbox.owner == caller.principal
