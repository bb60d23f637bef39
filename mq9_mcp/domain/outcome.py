"""What ended tasks teach of the agents that worked on them: which requests they serve, how well, how fast.

It counts who asked: no asker takes the room that others want, and nobody teaches of the agent he is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.names import LOCAL
from mq9_mcp.domain.registry import UNKNOWN, Standing
from mq9_mcp.domain.task import TaskState

REQUESTS_MAX = limit("learnt_requests_max")
OF_ASKER_MAX = limit("learnt_asker_requests_max")
CHARACTERS_MAX = limit("learnt_request_characters_max")
OUTCOMES_MAX = limit("outcomes_max")
ENDINGS = (TaskState.COMPLETED, TaskState.FAILED, TaskState.REJECTED)  # canceled says nothing


class Outcome(NamedTuple):
    """How a task ended, and what was asked."""

    agent: str
    asker: str
    principal: str  # the asker's
    owner: str  # of the agent's mailbox
    verified: bool  # a credential proved who asked
    completed: bool
    took_ms: int
    text: str


class Outcomes(NamedTuple):
    """Outcomes of some agents, the newest first, and when the last of them was."""

    of: list[Outcome]
    through: int


def counts(outcome: Outcome) -> bool:
    """True if it is known who asked, and it was not the agent or its owner."""
    if outcome.principal == LOCAL:
        return outcome.asker != outcome.agent
    return outcome.verified and outcome.principal != outcome.owner


def learnt_requests(outcomes: Iterable[Outcome]) -> list[str]:
    """The requests that an agent is known by: those completed of late, each once, few of one asker.

    ``outcomes`` are one agent's, the newest first. More of one asker fill what others leave free.
    """
    served: dict[str, Outcome] = {}
    for one in outcomes:
        text = " ".join(one.text.split())[:CHARACTERS_MAX]
        if one.completed and text:
            served.setdefault(text.casefold(), one._replace(text=text))
    few: list[str] = []
    more: list[str] = []
    for number, one in _numbered(served.values()):
        (few if number <= OF_ASKER_MAX else more).append(one.text)
    return [*few, *more][:REQUESTS_MAX]


def _numbered(outcomes: Iterable[Outcome]) -> Iterator[tuple[int, Outcome]]:
    """Each with its number among those of its asker; a principal with many agents is one asker."""
    asked: Counter[str] = Counter()
    for one in outcomes:
        who = one.asker if one.principal == LOCAL else one.principal
        asked[who] += 1
        yield asked[who], one


def standing(outcomes: Iterable[Outcome]) -> Standing:
    """How the agent of these outcomes did; few of one asker count."""
    known = [one for number, one in _numbered(outcomes) if number <= OF_ASKER_MAX]
    times = sorted(one.took_ms for one in known if one.completed)
    middle = times[len(times) // 2] if times else UNKNOWN.took_ms
    return Standing(len(times), len(known) - len(times), middle)
