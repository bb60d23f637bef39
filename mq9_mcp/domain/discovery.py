"""Discovery: which agents there are, filtered, ranked by how well they fit a text, a page at a time.

Everybody may send to any agent, so everybody may find it. How well a text fits is found out elsewhere and
comes with the command; without a text the order is by name.
"""

from __future__ import annotations

import re
from typing import Any

from mq9_mcp.domain.card import shown_card
from mq9_mcp.domain.commands import AgentDiscover
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.limits import REMAINING_MAX, limit
from mq9_mcp.domain.plan import Plan
from mq9_mcp.domain.registry import STATUSES, Agent, Match, short_view, skill_named

BYTES_MAX = limit("discover_bytes_max")
Place = tuple[float, int, str]  # worse score, less ready, later name: further back

_CURSOR = re.compile(r"([01]\.[0-9]{4})/([0-3])/([a-z0-9._-]{1,96})(?!\n)$")


def decide_discover(plan: Plan, command: AgentDiscover) -> dict[str, Any]:
    """A page of agents; the reply is ``{agents, next_cursor?, remaining}``."""
    ranking = None
    if command.text is not None:
        ranking = plan.ask.ranking
        assert ranking is not None, "the broker ranks before this is decided"
    after = _read_cursor(command.cursor) if command.cursor is not None else None
    found: list[tuple[Place, Agent, Match | None]] = []
    for agent in plan.state.agents.values():
        if not _fits(agent, command):
            continue
        match = ranking.get(agent.name) if ranking is not None else None
        if ranking is not None and (match is None or not (match.fits or match.keywords)):
            continue
        place = _place(agent, match)
        if after is None or place > after:
            found.append((place, agent, match))
    found.sort(key=lambda one: one[0])
    page: list[dict[str, Any]] = []
    size = 0
    for _, agent, match in found[: command.limit]:
        size += len(agent.card.encode())
        if size > BYTES_MAX and page:
            break
        page.append(_view(agent, match, command))
    left = len(found) - len(page)
    reply: dict[str, Any] = {"agents": page, "remaining": min(REMAINING_MAX, left)}
    if left:
        reply["next_cursor"] = _cursor(found[len(page) - 1][0])
    return reply


def _fits(agent: Agent, command: AgentDiscover) -> bool:
    if command.status is not None and agent.status != command.status:
        return False
    if command.skill is not None and skill_named(agent, command.skill) is None:
        return False
    return not command.tags_any or any(
        tag in command.tags_any for skill in agent.skills for tag in skill.tags
    )


def _place(agent: Agent, match: Match | None) -> Place:
    """The best score first, the readiest first among equals, then by name."""
    return (0.0, 0, agent.name) if match is None else (-match.score, STATUSES.index(agent.status), agent.name)


def _cursor(place: Place) -> str:
    return f"{abs(place[0]):.4f}/{place[1]}/{place[2]}"


def _read_cursor(cursor: str) -> Place:
    found = _CURSOR.match(cursor)
    if found is None:
        raise Refused(
            "INVALID_ARGUMENT",
            f"cursor: {cursor[:32]!a} is none; accepted: next_cursor of the page before",
            "leave cursor out to begin again",
        )
    return -float(found[1]), int(found[2]), found[3]


def _view(agent: Agent, match: Match | None, command: AgentDiscover) -> dict[str, Any]:
    view = short_view(agent)
    skill = skill_named(agent, command.skill) if command.skill is not None else None
    if skill is not None:
        view["skill"] = skill.id
    if match is not None:
        view.update(score=match.score, reason=match.reason)
        if match.skill is not None and skill is None:
            view["skill"] = match.skill
    view["card"] = shown_card(agent.card)
    return view
