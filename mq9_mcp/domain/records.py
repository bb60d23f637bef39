"""What events carry that stands by itself: a mailbox's settings, where a letter came from, a wish.

Part of the journal's format, as the events are. Fields at their defaults are left out of the record.
"""

from __future__ import annotations

from msgspec import Struct

from mq9_mcp.domain.limits import limit


class Settings(Struct, frozen=True, omit_defaults=True):
    """A mailbox's settings, complete. ``ttl_s`` and ``max_attempts`` 0 mean none."""

    ttl_s: int = 0
    max_attempts: int = limit("max_attempts")
    dead_letter: str | None = None
    dead_letter_expired: bool = False
    backoff_first_s: int = limit("backoff_first_s")
    backoff_max_s: int = limit("backoff_max_s")
    ordered_by: str | None = None
    exactly_once: bool = False
    retention_age_s: int = limit("retention_age_s")
    retention_bytes: int = limit("retention_bytes")
    messages_max: int = limit("messages_max")
    bytes_max: int = limit("bytes_max")
    dedup_window_s: int = limit("dedup_window_s")


class Letter(Struct, frozen=True, omit_defaults=True):
    """Where a dead letter came from and why (contract, section 3)."""

    id: int
    source: str
    group: str
    reason: str
    attempts: int
    first_attempt_at: int | None = None
    last_attempt_at: int | None = None
    description: str | None = None


class Wish(Struct, frozen=True, omit_defaults=True, gc=False):
    """What a parked message waits for: an agent that fits the text, and that its sender may send to.

    What counts only in the mailbox that gets it stands here too: ``state_key``, and the ``dedup_key`` of
    a send at ``sent_at`` with the ``digest`` of its parts.
    """

    text: str
    principal: str
    sent_at: int
    agent: str | None = None  # that the sender acted as
    tags: tuple[str, ...] = ()
    skill: str | None = None
    state_key: str | None = None
    dedup_key: str | None = None
    digest: int = 0
