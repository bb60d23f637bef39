"""The agents learn from what they did: tasks that ended well teach the index what they serve."""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby

from mq9_mcp.domain.commands import Command, MailboxAck
from mq9_mcp.domain.outcome import counts, learnt_requests, standing
from mq9_mcp.domain.registry import Standing
from mq9_mcp.domain.task_commands import TaskUpdate
from mq9_mcp.engine.base import Engine
from mq9_mcp.routing.index import AgentIndex


def teaches(command: Command) -> bool:
    """True if a task may have ended by the command."""
    if type(command) is TaskUpdate:
        return command.state is not None
    return type(command) is MailboxAck and (command.send is not None or command.tasks is not None)


class Learning:
    """What is known of each agent's tasks: a view of the tables, brought up to date when one ended."""

    def __init__(self, engine: Engine, index: AgentIndex) -> None:
        self._engine = engine
        self._index = index
        self._after = 0
        self.standing: dict[str, Standing] = {}

    async def look(self, agents: Collection[str]) -> None:
        """Learn of agents that had tasks ended since the last look, and of these ``agents`` anew."""
        found = await self._engine.outcomes(self._after, agents)
        self._after = found.through
        known = sorted((one for one in found.of if counts(one)), key=lambda one: one.agent)  # keeps the order
        taught = {agent: list(group) for agent, group in groupby(known, key=lambda one: one.agent)}
        for agent in {*taught, *agents}:
            outcomes = taught.get(agent, [])
            self._index.learn(agent, learnt_requests(outcomes))
            self.standing.pop(agent, None)
            if outcomes:
                self.standing[agent] = standing(outcomes)
