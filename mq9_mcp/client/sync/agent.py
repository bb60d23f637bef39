"""The commands about an agent, for code without an event loop."""

# Made by `make client`; edits here are lost.

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mq9_mcp.client.arguments import (
    McpServer,
)
from mq9_mcp.client.replies import (
    DiscoverReply,
    RegisterReply,
    ReportReply,
    UnregisterReply,
)
from mq9_mcp.client.sync.base import SyncBase


class SyncAgentCommands(SyncBase):
    """The commands about an agent, for code without an event loop."""

    def agent_register(
        self,
        card: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        card_url: str | None = None,
        mcp_server: McpServer | None = None,
    ) -> RegisterReply:
        """Register an agent with its card, or give it a new one; its mailbox is made if missing.

        Arguments:
            card: An A2A 1.0 AgentCard, or {name, description, skills: [{name, description, tags,
                examples}]}.
            name: Its address; made from the card's name if left out.
            card_url: Where the AgentCard is fetched from, http or https.
            mcp_server: An MCP server whose tools become the skills: {command, args} or {url}.

        Reply:
            agent: {name, mailbox, version, status, load?, note?, card}
            created: false if it was registered: then this is a new version

        Errors: MAILBOX_EXISTS, INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE, SHUTTING_DOWN.
        """
        reply: RegisterReply = self._command("agent_register", locals())
        return reply

    def agent_unregister(
        self,
        name: str,
        *,
        delete_mail: bool = False,
    ) -> UnregisterReply:
        """End an agent's registration; its mailbox and mail stay unless delete_mail is true.

        Arguments:
            name: The agent.
            delete_mail: Drop its mailbox too, with everything in it.

        Reply:
            unregistered: its name

        Errors: AGENT_NOT_FOUND, FORBIDDEN, INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE,
        SHUTTING_DOWN.
        """
        reply: UnregisterReply = self._command("agent_unregister", locals())
        return reply

    def agent_report(
        self,
        *,
        status: Literal["available", "busy", "offline"],
        name: str | None = None,
        load: float | None = None,
        note: str | None = None,
    ) -> ReportReply:
        """Heartbeat: say how an agent is, hear what waits for it.

        Arguments:
            status: How it is.
            name: The agent; the one that the caller acts as if left out.
            load: How much it has to do: 0 idle, 1 full.
            note: What it is at, in a word.

        Reply:
            agent: {name, mailbox, version, status, load?, note?}
            cancel_requested: [task] that the agent should stop
            waiting: {critical, urgent, normal} messages that wait in the group default

        Errors: AGENT_NOT_FOUND, FORBIDDEN, INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE,
        SHUTTING_DOWN.
        """
        reply: ReportReply = self._command("agent_report", locals())
        return reply

    def agent_discover(
        self,
        *,
        text: str | None = None,
        tags_any: list[str] | tuple[str, ...] = (),
        skill: str | None = None,
        status: Literal["available", "busy", "away", "offline"] | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> DiscoverReply:
        """Find agents by what they can do; without text, list them.

        Arguments:
            text: What is to be done, in words; the best fit comes first.
            tags_any: Agents with a skill that has at least one of these.
            skill: Agents with the skill of this id or name.
            status: Only agents that are so.
            limit: Agents on a page.
            cursor: next_cursor of the page before.

        Reply:
            agents: [{name, mailbox, version, status, load?, note?, score?, reason?, skill?, card}] best
                first, or by name
            next_cursor: if there are more
            remaining: how many more, counted to 1,000

        Errors: INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE, SHUTTING_DOWN.
        """
        reply: DiscoverReply = self._command("agent_discover", locals())
        return reply
