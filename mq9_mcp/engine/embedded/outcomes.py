"""How tasks of registered agents ended, as the tables keep them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Protocol

import duckdb

from mq9_mcp.domain.names import LOCAL
from mq9_mcp.domain.outcome import CHARACTERS_MAX, ENDINGS, OF_ASKER_MAX, OUTCOMES_MAX, Outcome, Outcomes
from mq9_mcp.domain.task import TaskState
from mq9_mcp.engine.embedded.tables import SQL


class Source(Protocol):
    """What this room needs of the engine."""

    async def read_tables(self, read: Callable[[Any], Any]) -> Any:
        """What the tables say once they have everything that was acknowledged before."""


async def read_outcomes(engine: Source, after: int, agents: Collection[str]) -> Outcomes:
    """The latest outcomes of each agent that is named or has one from ``after`` on, few of one asker."""
    found: Outcomes = await engine.read_tables(partial(_read, after=after, agents=sorted(agents)))
    return found


def _read(con: duckdb.DuckDBPyConnection, after: int, agents: list[str]) -> Outcomes:
    arguments = {
        "after": after,
        "agents": agents,
        "states": [str(state) for state in ENDINGS],
        "local": LOCAL,
        "of_asker": OF_ASKER_MAX,
        "of_agent": OUTCOMES_MAX,
        "characters": CHARACTERS_MAX,
    }
    rows = con.execute(SQL["outcomes"], arguments).fetchall()
    return Outcomes([_outcome(*row) for row in rows], max((row[6] for row in rows), default=after))


def _outcome(
    agent: str, owner: str, asker: str, principal: str, state: str, begun: int, ended: int, *said: Any
) -> Outcome:
    verified, text = said
    completed = state == TaskState.COMPLETED
    return Outcome(agent, asker, principal, owner, verified, completed, ended - begun, text or "")
