"""What waits for an agent, and who came: what a broker compares in the background."""

from __future__ import annotations

from mq9_mcp.domain.park import wish_in
from mq9_mcp.domain.state import State
from mq9_mcp.engine.base import Arrivals, Parked


def arrivals(state: State, after: int) -> Arrivals:
    """All parked messages, and the agents that came after record ``after``."""
    wishes = ((id, wish_in(mail)) for id, mail in state.parked.items())
    waiting = [Parked(id, wish.text, wish.skill) for id, wish in wishes]
    return Arrivals(state.seq, waiting, [name for name, seq in state.came.items() if seq > after])
