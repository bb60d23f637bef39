"""The registered agents in memory: who they are, what their card says, how they are.

Heartbeats stand here alone; what the journal knows of an agent is its card and every change of status.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from msgspec import Struct

from mq9_mcp.domain.limits import limit

PRESENCE_MS = limit("presence_s") * 1000
NEVER = 2**62

Status = Literal["available", "busy", "away", "offline"]
STATUSES: tuple[Status, ...] = ("available", "busy", "away", "offline")  # the readiest first


class Skill(NamedTuple):
    """What discovery needs of a skill without reading the card again."""

    id: str
    name: str
    tags: tuple[str, ...]


class Agent(Struct):
    """One registration; it ends with its mailbox at the latest."""

    name: str
    owner: str
    mailbox: int
    version: int
    card: str  # JSON, an A2A 1.0 AgentCard
    skills: tuple[Skill, ...]
    status: Status = "available"
    load: float | None = None
    note: str | None = None
    opened: bool = False  # the registration opened a private mailbox to all senders
    seen_at: int = 0  # the last sign of life, in memory

    def away_at(self) -> int:
        """When silence makes it away; only who said to be available can be missed."""
        return self.seen_at + PRESENCE_MS if self.status == "available" else NEVER


def skill_named(agent: Agent, wish: str) -> Skill | None:
    """The skill of that id or name; capitals do not count."""
    wish = wish.casefold()
    for skill in agent.skills:
        if wish in (skill.id.casefold(), skill.name.casefold()):
            return skill
    return None


class Standing(NamedTuple):
    """How an agent did of late."""

    completed: int
    failed: int
    took_ms: int  # the median of what was completed

    @property
    def success(self) -> float:
        """The share of tasks that were completed, in tenths; who has none stands in the middle."""
        return round((self.completed + 1) / (self.completed + self.failed + 2), 1)

    @property
    def pace(self) -> int:
        """The time that a task takes, in steps of twice as long."""
        return self.took_ms.bit_length()


UNKNOWN = Standing(0, 0, 60_000)


class Match(NamedTuple):
    """How well an agent fits a text: 0 to 1, why, and the id of the skill that fits best.

    ``why`` is made text only where it is told: many agents are looked at, few are named.
    ``fits`` is whether that is enough to send it work unasked; ``meaning`` is the cosine of that skill,
    ``needed`` the least that counts with so many ``examples``, ``keywords`` the share of words in common.
    """

    score: float
    why: object
    skill: str | None
    fits: bool = True
    meaning: float | None = None  # None where keywords alone rank
    keywords: float = 0.0
    needed: float = 0.0
    examples: int = 0
    standing: Standing = UNKNOWN

    @property
    def reason(self) -> str:
        """Why, in words."""
        return str(self.why)


class Heartbeat(NamedTuple):
    """A sign of life that changes no status: memory keeps it, the journal does not."""

    agent: Agent
    load: float | None
    note: str | None


def short_view(agent: Agent) -> dict[str, Any]:
    """An agent as the wire shows it, without its card; the mailbox has the agent's name."""
    view: dict[str, Any] = {
        "name": agent.name,
        "mailbox": agent.name,
        "version": agent.version,
        "status": agent.status,
    }
    if agent.load is not None:
        view["load"] = agent.load
    if agent.note is not None:
        view["note"] = agent.note
    return view
