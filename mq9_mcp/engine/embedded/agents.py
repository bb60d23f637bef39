"""Agents in the tables: what events change there, and how memory comes back from them."""

from __future__ import annotations

from mq9_mcp.domain import events as e
from mq9_mcp.domain.agent import enter
from mq9_mcp.domain.card import skills_of
from mq9_mcp.domain.registry import Agent
from mq9_mcp.domain.state import State
from mq9_mcp.engine.embedded.replay import Entry
from mq9_mcp.engine.embedded.rows import Rows
from mq9_mcp.engine.embedded.tables import Tables


def fold_registered(fold: Rows, _: Entry, event: e.AgentRegistered) -> None:
    """A new card takes the place of the one before."""
    fold.tables.run("drop_agent", [event.agent])
    fold.tables.run(
        "insert_agent",
        [event.agent, event.owner, event.mailbox, event.version, event.card, event.opened, event.at],
    )
    fold.tables.run("open_mailbox", [event.mailbox])


def fold_status(fold: Rows, _: Entry, event: e.AgentStatus) -> None:
    """A change of status, with the heartbeat that came with it."""
    fold.tables.run("set_agent_status", [event.status, event.load, event.note, event.at, event.agent])


def fold_unregistered(fold: Rows, _: Entry, event: e.AgentUnregistered) -> None:
    """The agent is gone; a mailbox that was private is so again."""
    fold.tables.run("close_mailbox", [event.agent])
    fold.tables.run("drop_agent", [event.agent])


def load_agents(state: State, tables: Tables) -> None:
    """Bring the registered agents into a state that has its mailboxes."""
    for name, owner, mailbox, version, card, status, load, note, opened, heard_at in tables.rows(
        "load_agents"
    ):
        agent = Agent(
            name, owner, mailbox, version, card, skills_of(card), status, load, note, opened, heard_at
        )
        enter(state, agent)


def keep_heartbeats(before: State, state: State) -> None:
    """A state that was rebuilt in a running broker knows of every sign of life that the one before knew."""
    for name, agent in state.agents.items():
        known = before.agents.get(name)
        if known is not None:
            agent.seen_at = max(agent.seen_at, known.seen_at)
