"""What the broker answers to the commands about agents."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class Agent(TypedDict):
    """An agent: its mailbox has its name."""

    name: str
    mailbox: str
    version: int
    status: Literal["available", "busy", "away", "offline"]
    load: NotRequired[float]
    note: NotRequired[str]


class CardedAgent(Agent):
    """An agent with its A2A AgentCard."""

    card: dict[str, Any]


class FoundAgent(CardedAgent):
    """An agent that was found; score, reason and skill where something was asked for."""

    score: NotRequired[float]
    reason: NotRequired[str]
    skill: NotRequired[str]


class Waiting(TypedDict):
    """How much waits in each tier."""

    critical: int
    urgent: int
    normal: int


class RegisterReply(TypedDict):
    """The reply to ``agent_register``."""

    agent: CardedAgent
    created: bool


class UnregisterReply(TypedDict):
    """The reply to ``agent_unregister``."""

    unregistered: str


class ReportReply(TypedDict):
    """The reply to ``agent_report``."""

    agent: Agent
    cancel_requested: list[str]
    waiting: Waiting


class DiscoverReply(TypedDict):
    """The reply to ``agent_discover``."""

    agents: list[FoundAgent]
    next_cursor: NotRequired[str]
    remaining: int
