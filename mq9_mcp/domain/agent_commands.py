"""The arguments of the commands about agents (contract, section 6)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

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
_WORD_MAX = limit("mcp_argument_characters_max")
CommandWord = Annotated[str, Meta(min_length=1, max_length=_WORD_MAX, pattern=TEXT_PATTERN)]
CommandArgument = Annotated[str, Meta(max_length=_WORD_MAX, pattern=TEXT_PATTERN)]
CardUrl = Annotated[str, Meta(min_length=1, max_length=limit("url_characters_max"), pattern=TEXT_PATTERN)]


class McpServer(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An MCP server whose tools are the skills: a command, or a url."""

    command: Annotated[CommandWord, _help("A program; the setting mcp_commands allows it.")] | None = None
    args: Annotated[list[CommandArgument], Meta(max_length=limit("mcp_arguments_max"))] = []
    url: Annotated[CardUrl, _help("Streamable HTTP, http or https.")] | None = None


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
    mcp_server: (
        Annotated[McpServer, _help("An MCP server whose tools become the skills: {command, args} or {url}.")]
        | None
    ) = None


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
