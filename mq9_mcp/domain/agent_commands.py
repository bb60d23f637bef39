"""The arguments of the commands about agents (contract, section 6)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from mq9_mcp.domain.arguments import (
    Address,
    Command,
    PageLimit,
    Reason,
    Tags,
)
from mq9_mcp.domain.arguments import help_text as _help
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.names import NAME_PATTERN, TEXT_PATTERN

AgentCursor = Annotated[str, Meta(max_length=128, pattern=TEXT_PATTERN)]
CardUrl = Annotated[str, Meta(min_length=1, max_length=limit("url_characters_max"), pattern=TEXT_PATTERN)]


class AgentRegister(Command, kw_only=True, frozen=True):
    """Arguments of ``agent_register``: exactly one of ``card``, ``card_url`` and ``mcp_server``."""

    name: Annotated[Address, _help("Its address; made from the card's name if left out.")] | None = None
    card: (
        Annotated[
            dict[str, Any],
            _help(
                "An A2A 1.0 AgentCard, or {name, description, skills: [{name, description, tags, examples}]}."
            ),
        ]
        | None
    ) = None
    card_url: Annotated[CardUrl, _help("Where the AgentCard is fetched from, http or https.")] | None = None
    mcp_server: Annotated[Any, _help("Agents made of MCP servers are not part of this version.")] = None


class AgentUnregister(Command, kw_only=True, frozen=True):
    """Arguments of ``agent_unregister``."""

    name: Annotated[Address, _help("The agent.")]
    delete_mail: Annotated[bool, _help("Drop its mailbox too, with everything in it.")] = False


class AgentReport(Command, kw_only=True, frozen=True):
    """Arguments of ``agent_report``, the heartbeat; what is left out is not known any more."""

    name: Annotated[Address, _help("The agent; the one that the caller acts as if left out.")] | None = None
    status: Annotated[Literal["available", "busy", "offline"], _help("How it is.")]
    load: Annotated[float, Meta(ge=0, le=1, description="How much it has to do: 0 idle, 1 full.")] | None = (
        None
    )
    note: Annotated[Reason, _help("What it is at, in a word.")] | None = None


class AgentDiscover(Command, kw_only=True, frozen=True):
    """Arguments of ``agent_discover``; without ``text`` it lists by name."""

    text: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=limit("discover_text_characters_max"),
                pattern=TEXT_PATTERN,
                description="What is to be done, in words; the best fit comes first.",
            ),
        ]
        | None
    ) = None
    tags_any: Annotated[Tags, _help("Agents with a skill that has at least one of these.")] = []
    skill: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=limit("card_label_characters_max"),
                pattern=NAME_PATTERN,
                description="Agents with the skill of this id or name.",
            ),
        ]
        | None
    ) = None
    status: (
        Annotated[Literal["available", "busy", "away", "offline"], _help("Only agents that are so.")] | None
    ) = None
    limit: Annotated[PageLimit, _help("Agents on a page.")] = limit("query_limit_default")
    cursor: Annotated[AgentCursor, _help("next_cursor of the page before.")] | None = None
