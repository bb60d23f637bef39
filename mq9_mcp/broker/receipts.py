"""Honest receipts: a send that waits says which rung its message reached, never more than is true."""

from __future__ import annotations

import asyncio
from typing import Any

from mq9_mcp.broker.bell import Bell, Move
from mq9_mcp.domain.commands import MailboxSend
from mq9_mcp.domain.plan import Ask
from mq9_mcp.domain.state import Caller
from mq9_mcp.engine.base import Engine

RUNGS = ("stored", "leased", "acked", "replied")


class Climb:
    """One message on its way: the highest rung so far, and whether it can get any further."""

    def __init__(self, goal: str) -> None:
        self.goal = RUNGS.index(goal)
        self.reached = "stored"
        self.reply = 0

    def step(self, rung: str, reply: int) -> None:
        """Take a report in; a report of a lower rung changes nothing."""
        self.reply = self.reply or reply
        if rung not in RUNGS:
            if self.reached in ("stored", "leased"):
                self.reached = rung
        elif self.reached in RUNGS and RUNGS.index(rung) > RUNGS.index(self.reached):
            self.reached = rung

    @property
    def over(self) -> bool:
        """True when the goal is reached, or cannot be any more."""
        return self.reached not in RUNGS or RUNGS.index(self.reached) >= self.goal


async def send_and_wait(
    engine: Engine, bell: Bell, caller: Caller, command: MailboxSend, ask: Ask, stop: asyncio.Event
) -> dict[str, Any]:
    """Store the messages, then wait until each reached the rung ``wait_for`` or time is over."""
    assert command.wait_for is not None
    deadline = asyncio.get_running_loop().time() + command.wait_s
    moves: asyncio.Queue[Move] = asyncio.Queue()
    watched: list[int] = []

    def stored(ids: list[int]) -> None:
        for id in dict.fromkeys(ids):
            bell.watch(id, moves)
            watched.append(id)

    ask.stored = stored
    try:
        reply = await engine.execute(caller, command, ask)
        climbs = {receipt["id"]: Climb(command.wait_for) for receipt in reply["receipts"]}
        for receipt in reply["receipts"]:
            if receipt["duplicate"]:
                climbs[receipt["id"]].step(*await engine.standing(receipt["id"]))
                if climbs[receipt["id"]].reply:
                    climbs[receipt["id"]].step("replied", 0)
        await _climb(climbs, moves, deadline, stop)
    finally:
        for id in watched:
            bell.unwatch(id, moves)
    for receipt in reply["receipts"]:
        climb = climbs[receipt["id"]]
        receipt["reached"] = climb.reached
        if climb.goal == RUNGS.index("replied") and climb.reached == "replied":
            for copy in await engine.copies([climb.reply]):  # none if it was removed meanwhile
                receipt["reply"] = copy
    return reply


async def _climb(
    climbs: dict[int, Climb], moves: asyncio.Queue[Move], deadline: float, stop: asyncio.Event
) -> None:
    stopped = asyncio.ensure_future(stop.wait())
    try:
        while not all(climb.over for climb in climbs.values()):
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 and moves.empty():
                return
            move = asyncio.ensure_future(moves.get())
            done, _ = await asyncio.wait(
                (move, stopped), timeout=max(0, left), return_when=asyncio.FIRST_COMPLETED
            )
            if move not in done:
                move.cancel()
                return
            seen = move.result()
            climbs[seen.message].step(seen.rung, seen.reply)
    finally:
        stopped.cancel()
