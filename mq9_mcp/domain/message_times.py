"""When a message becomes visible and when it expires, from what its sender asked for."""

from __future__ import annotations

from typing import Any

from mq9_mcp.domain.clock import milliseconds, seconds, wire_time
from mq9_mcp.domain.commands import MessageArguments
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.plan import Plan


def times_of(plan: Plan, message: MessageArguments) -> tuple[int, int | None]:
    """``(visible_at, expires_at)`` in milliseconds."""
    if (
        message.delay_s is None
        and message.deliver_at is None
        and message.ttl_s is None
        and message.expires_at is None
    ):
        return plan.now, None
    if message.delay_s is not None and message.deliver_at is not None:
        raise Refused("INVALID_ARGUMENT", "delay_s and deliver_at exclude each other", "give one of them")
    if message.ttl_s is not None and message.expires_at is not None:
        raise Refused("INVALID_ARGUMENT", "ttl_s and expires_at exclude each other", "give one of them")
    visible_at = plan.now
    if message.delay_s is not None:
        visible_at += seconds(message.delay_s)
    elif message.deliver_at is not None:
        visible_at = _bounded(plan, message.deliver_at, "deliver_at")
    expires_at = None
    if message.ttl_s is not None:
        expires_at = visible_at + max(1, seconds(message.ttl_s))
    elif message.expires_at is not None:
        expires_at = _bounded(plan, message.expires_at, "expires_at", furthest=2)
        if expires_at <= visible_at:
            raise Refused(
                "INVALID_ARGUMENT",
                f"expires_at: {message.expires_at}; accepted: a time after {wire_time(visible_at)}, "
                "when the message becomes visible",
            )
    return visible_at, expires_at


def _bounded(plan: Plan, time: Any, argument: str, furthest: int = 1) -> int:
    at = milliseconds(time)
    last = plan.now + furthest * limit("delay_s_max") * 1000
    if at > last:
        raise Refused("INVALID_ARGUMENT", f"{argument}: {time}; accepted: times up to {wire_time(last)}")
    return max(at, plan.now) if argument == "deliver_at" else at
