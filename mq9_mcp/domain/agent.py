"""Agents: registered with a card, heard of, missed, unregistered (contract, section 6).

An agent and its mailbox are one: it is made with the agent, and the agent ends with it. A status changes
by an event; a sign of life that changes none is kept in memory alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mq9_mcp.domain import events as e
from mq9_mcp.domain.access import owns
from mq9_mcp.domain.agent_commands import McpServer
from mq9_mcp.domain.apply_mail import notice_due
from mq9_mcp.domain.card import address_of, read_back, read_card, server_of, shown_card, skills_of
from mq9_mcp.domain.commands import TIERS, AgentRegister, AgentReport, AgentUnregister
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.names import DEFAULT_GROUP, check_new_address
from mq9_mcp.domain.plan import Plan
from mq9_mcp.domain.registry import Agent, Heartbeat, Status, short_view
from mq9_mcp.domain.state import Caller, Mailbox, State
from mq9_mcp.domain.task_lease import canceled_work

AGENTS_MAX = limit("agents_max")
_SOURCES = ("card", "card_url", "mcp_server")


def check_source(command: AgentRegister) -> None:
    """Refuse a registration that does not say in one way what the agent is."""
    given = [name for name in _SOURCES if getattr(command, name) is not None]
    if len(given) != 1:
        raise Refused(
            "INVALID_ARGUMENT",
            f"{' and '.join(given) or 'nothing'} given; accepted: exactly one of {', '.join(_SOURCES)}",
            "pass card={name, description, skills}",
        )
    if command.mcp_server is not None:
        _check_server(command.mcp_server)
    if command.name is not None:
        check_new_address(command.name, "name")


def _check_server(server: McpServer) -> None:
    if (server.command is None) == (server.url is None):
        given = "both" if server.command is not None else "neither"
        raise Refused(
            "INVALID_ARGUMENT",
            f"mcp_server: {given} of command and url given; accepted: one of them",
            "pass mcp_server={command, args} or mcp_server={url}",
        )
    if server.url is not None and server.args:
        raise Refused("INVALID_ARGUMENT", "mcp_server.args: given beside url; accepted: with command only")


def _check_same_server(known: Agent | None, card: dict[str, Any]) -> None:
    """A worker renews what it works for, and nothing that was ended or replaced meanwhile."""
    if known is None or server_of(read_back(known.card)) != server_of(card):
        raise Refused("AGENT_NOT_FOUND", "the agent is not registered with this MCP server any more")


def decide_register(plan: Plan, command: AgentRegister) -> dict[str, Any]:
    """A new agent, or a new version of one; the reply is ``{agent, created}``."""
    check_source(command)
    source = next(one for one in _SOURCES if getattr(command, one) is not None)
    given = command.card if command.card is not None else plan.ask.card
    assert given is not None, "the broker fetches what card_url and mcp_server lead to"
    card, shown = read_card(given, source)
    name = command.name or address_of(shown, source)
    known = plan.state.agents.get(name)
    if plan.ask.renewed:
        _check_same_server(known, given)
    mailbox = plan.find(name)
    if mailbox is not None and not owns(plan.caller, mailbox):
        raise Refused(
            "MAILBOX_EXISTS",
            f"name: the mailbox {name!r} exists with another owner",
            "pass another name",
            mailbox=name,
        )
    if known is None and len(plan.state.agents) >= AGENTS_MAX:
        raise Refused(
            "INVALID_ARGUMENT",
            f"{len(plan.state.agents)} agents are registered; agents_max is {AGENTS_MAX}",
            "agent_unregister ends one",
        )
    if mailbox is None:
        mailbox = plan.create(name, plan.caller.principal, e.Settings(), agent=True)
    event = e.AgentRegistered(
        at=plan.now,
        agent=name,
        owner=mailbox.owner,
        mailbox=mailbox.number,
        version=known.version + 1 if known is not None else 1,
        card=card,
        opened=known.opened if known is not None else not mailbox.agent,
    )
    plan.events.append(event)
    return {"agent": agent_view(_agent(event)), "created": known is None}


def decide_unregister(plan: Plan, command: AgentUnregister) -> dict[str, Any]:
    """End a registration, with the mailbox if asked; the reply is ``{unregistered}``, the name."""
    agent = _own(plan, command.name)
    plan.events.append(e.AgentUnregistered(at=plan.now, agent=agent.name, mailbox=agent.mailbox))
    if command.delete_mail:
        plan.events.append(e.MailboxDropped(at=plan.now, mailbox=agent.mailbox, reason="unregistered"))
    return {"unregistered": agent.name}


def decide_report(plan: Plan, command: AgentReport) -> dict[str, Any]:
    """The heartbeat; the reply is ``{agent, cancel_requested, waiting}``."""
    name = command.name or plan.caller.agent
    if name is None:
        raise Refused(
            "INVALID_ARGUMENT",
            "name: left out, and the caller acts as no agent",
            "name the agent, or call as one",
        )
    agent = _own(plan, name)
    if command.status != agent.status:
        plan.events.append(_status(plan, agent, command.status, command.load, command.note))
    plan.heartbeat = Heartbeat(agent, command.load, command.note)
    view = {"name": name, "mailbox": name, "version": agent.version, "status": command.status}
    for field in ("load", "note"):
        if getattr(command, field) is not None:
            view[field] = getattr(command, field)
    waiting = _waiting(plan.state.mailboxes[agent.mailbox])
    cancels = canceled_work(plan, agent.name) if plan.state.task_news else []
    return {"agent": view, "cancel_requested": cancels, "waiting": dict(zip(TIERS, waiting, strict=True))}


def _waiting(mailbox: Mailbox) -> list[int]:
    """What waits in the group ``default``, by tier; before its first fetch all visible mail does."""
    group = mailbox.groups.get(DEFAULT_GROUP)
    if group is not None:
        return group.line.waiting_by_tier()
    counts = [len(log.mails) - log.holes for log in mailbox.logs.tiers]
    mails = mailbox.state.mails
    for id in mailbox.outside:
        counts[mails[id].tier] += _for_default(mails[id])
    for id in mailbox.ending:
        counts[mails[id].tier] -= id not in mailbox.outside or _for_default(mails[id])
    return counts


def _for_default(mail: e.Mail) -> bool:
    """True unless the message was redriven to another group."""
    only = mail.extra.only_group if mail.extra is not None else None
    return only in (None, DEFAULT_GROUP)


def _own(plan: Plan, name: str) -> Agent:
    """The agent, if the caller's principal owns it; everybody may know that it is there."""
    agent = plan.state.agents.get(name)
    if agent is None:
        raise Refused(
            "AGENT_NOT_FOUND",
            f"name: no agent {name!r} is registered",
            "agent_register registers one; agent_discover lists them",
            agent=name,
        )
    if agent.owner != plan.caller.principal:
        raise Refused(
            "FORBIDDEN",
            f"{plan.caller.name} may send to {name!r}, but not change it or report for it",
            "ask its owner",
        )
    return agent


def agent_view(agent: Agent) -> dict[str, Any]:
    """An agent as the wire shows it, with its card."""
    return {**short_view(agent), "card": shown_card(agent.card)}


# -- signs of life


def decide_away(plan: Plan, mailbox: Mailbox) -> None:
    """An available agent that was not heard of for ``presence_s`` is away."""
    agent = mailbox.registered
    if agent is not None and agent.away_at() <= plan.now:
        plan.events.append(_status(plan, agent, "away", agent.load, agent.note))


def decide_back(plan: Plan, agent: Agent) -> None:
    """An agent that was away is heard of again."""
    plan.events.append(_status(plan, agent, "available", agent.load, agent.note))


def heard_as(state: State, caller: Caller) -> Agent | None:
    """The registered agent that the caller truly acts as, if there is one."""
    agent = state.agents.get(caller.agent or "")
    return agent if agent is not None and agent.owner == caller.principal else None


def hear(heartbeat: Heartbeat, now: int) -> None:
    """Keep a sign of life; no event says so, and a restart forgets it."""
    agent = heartbeat.agent
    agent.load, agent.note = heartbeat.load, heartbeat.note
    agent.seen_at = max(agent.seen_at, now)


def hear_all(state: State, now: int) -> None:
    """After a restart nobody knows when agents were heard of last: each gets its time anew."""
    for agent in state.agents.values():
        agent.seen_at = max(agent.seen_at, now)
        notice_due(state, state.mailboxes[agent.mailbox])


def _status(plan: Plan, agent: Agent, status: Status, load: float | None, note: str | None) -> e.AgentStatus:
    return e.AgentStatus(
        at=plan.now, agent=agent.name, mailbox=agent.mailbox, status=status, load=load, note=note
    )


# -- the fold


def _agent(event: e.AgentRegistered) -> Agent:
    return Agent(
        event.agent,
        event.owner,
        event.mailbox,
        event.version,
        event.card,
        skills_of(event.card),
        opened=event.opened,
        seen_at=event.at,
    )


def _registered(state: State, event: e.AgentRegistered) -> None:
    enter(state, _agent(event))


def enter(state: State, agent: Agent) -> None:
    """A registration is known from now on; its mailbox takes mail from everybody."""
    mailbox = state.mailboxes[agent.mailbox]
    mailbox.agent = True
    state.agents[agent.name] = agent
    mailbox.registered = agent
    state.registry = object()
    state.note_coming(agent.name)
    notice_due(state, mailbox)


def _status_changed(state: State, event: e.AgentStatus) -> None:
    agent = state.agents[event.agent]
    agent.status, agent.load, agent.note = event.status, event.load, event.note
    if event.status != "away":  # silence is no sign of life
        agent.seen_at = max(agent.seen_at, event.at)
        state.note_coming(agent.name)
    notice_due(state, state.mailboxes[agent.mailbox])


def _unregistered(state: State, event: e.AgentUnregistered) -> None:
    agent = state.agents[event.agent]
    mailbox = state.mailboxes[agent.mailbox]
    mailbox.agent = not agent.opened
    mailbox.registered = None
    end_agent(state, agent)


def end_agent(state: State, agent: Agent) -> None:
    """The registration is over: unregistered, or its mailbox is gone."""
    del state.agents[agent.name]
    state.came.pop(agent.name, None)
    state.registry = object()


AGENTS: dict[type[e.Event], Callable[[State, Any], None]] = {
    e.AgentRegistered: _registered,
    e.AgentStatus: _status_changed,
    e.AgentUnregistered: _unregistered,
}
