"""The life of one message in one group, as a table; nothing else decides what may happen next.

``waiting`` covers mail that nobody took yet and mail that came back. A lease that ran out leaves
its token behind: until somebody else takes the message, that token may still settle it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.events import Leased


class DeliveryState(StrEnum):
    """Where a message stands in a group (contract, section 12)."""

    DELAYED = "delayed"
    WAITING = "waiting"
    LEASED = "leased"
    BACKOFF = "backoff"
    ACKED = "acked"
    DEAD = "dead"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class Step(StrEnum):
    """What can happen to a message in a group."""

    BECOME_DUE = "become_due"
    LEASE = "lease"
    ACK = "ack"
    NACK = "nack"
    RELEASE = "release"
    EXTEND = "extend"
    REJECT = "reject"
    LAPSE = "lapse"
    BACKOFF_OVER = "backoff_over"
    EXHAUST = "exhaust"
    EXPIRE = "expire"
    WITHDRAW = "withdraw"


# As looking a member up in its class costs ten times as much.
LEASED, WAITING, BACKOFF = DeliveryState.LEASED, DeliveryState.WAITING, DeliveryState.BACKOFF
_D = DeliveryState

TABLE: dict[tuple[DeliveryState, Step], DeliveryState] = {
    (_D.DELAYED, Step.BECOME_DUE): _D.WAITING,
    (_D.WAITING, Step.LEASE): _D.LEASED,
    (_D.WAITING, Step.EXPIRE): _D.EXPIRED,
    (_D.WAITING, Step.WITHDRAW): _D.WITHDRAWN,
    # a lease that ran out and that nobody replaced
    (_D.WAITING, Step.ACK): _D.ACKED,
    (_D.WAITING, Step.NACK): _D.BACKOFF,
    (_D.WAITING, Step.RELEASE): _D.WAITING,
    (_D.WAITING, Step.EXTEND): _D.LEASED,
    (_D.WAITING, Step.REJECT): _D.DEAD,
    (_D.LEASED, Step.ACK): _D.ACKED,
    (_D.LEASED, Step.NACK): _D.BACKOFF,
    (_D.LEASED, Step.RELEASE): _D.WAITING,
    (_D.LEASED, Step.EXTEND): _D.LEASED,
    (_D.LEASED, Step.REJECT): _D.DEAD,
    (_D.LEASED, Step.LAPSE): _D.WAITING,
    (_D.LEASED, Step.EXHAUST): _D.DEAD,
    (_D.LEASED, Step.EXPIRE): _D.EXPIRED,
    (_D.LEASED, Step.WITHDRAW): _D.WITHDRAWN,
    (_D.BACKOFF, Step.BACKOFF_OVER): _D.WAITING,
    (_D.BACKOFF, Step.EXPIRE): _D.EXPIRED,
    (_D.BACKOFF, Step.WITHDRAW): _D.WITHDRAWN,
    # a lease that ran out for the last time and found no room among the dead letters
    (_D.BACKOFF, Step.ACK): _D.ACKED,
    (_D.BACKOFF, Step.NACK): _D.BACKOFF,
    (_D.BACKOFF, Step.RELEASE): _D.WAITING,
    (_D.BACKOFF, Step.EXTEND): _D.LEASED,
    (_D.BACKOFF, Step.REJECT): _D.DEAD,
}

FINAL = frozenset({_D.ACKED, _D.DEAD, _D.EXPIRED, _D.WITHDRAWN})


def allowed(state: DeliveryState) -> list[Step]:
    """The steps that ``state`` allows, in the order of the table."""
    return [step for (at, step) in TABLE if at is state]


def next_state(state: DeliveryState, step: Step) -> DeliveryState:
    """The state after ``step``, or ``ILLEGAL_TRANSITION`` with the steps that are allowed."""
    found = TABLE.get((state, step))
    if found is None:
        steps = [str(one) for one in allowed(state)]
        raise Refused(
            "ILLEGAL_TRANSITION",
            f"a message that is {state} cannot {step}; "
            f"allowed: {', '.join(steps) or 'nothing, it is settled'}",
            "mailbox_query shows where the message stands",
            state=str(state),
            allowed=steps,
        )
    return found


class Outcome(NamedTuple):
    """How an earlier lease of an unsettled message ended, and the receipts of a send in that call."""

    name: str
    receipts: str | None = None


class Delivery(Struct, gc=False):
    """A message that a group has touched and not settled: its lease, attempts and earlier leases."""

    state: DeliveryState = WAITING
    secret: str = ""
    fence: int = 0
    until: int = 0  # end of the lease or of the backoff
    worker: str = ""
    principal: str = ""
    first_at: int = 0
    last_at: int = 0
    attempts: int = 0  # failed ones
    lapsed: bool = False  # the lease ran out and its token may still settle
    reason: str | None = None
    past: dict[str, Outcome] | None = None  # by the secrets of ended leases

    def lease_again(self, event: Leased, fence: int) -> None:
        """The message goes out under another lease."""
        self.state = LEASED
        self.secret = event.secret
        self.fence = fence
        self.until = event.until
        self.worker = event.worker
        self.principal = event.principal
        self.lapsed = False
        self.first_at = self.first_at or event.at
        self.last_at = event.at
