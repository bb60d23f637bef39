"""A worker renews the card of the agent that it works for, and of no other; nobody sees the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mq9_mcp.domain.agent_commands import McpServer
from tests.support import Desk, run

EXTENSION = "urn:mq9:mcp:server:v1"
ONE, OTHER = {"command": "one"}, {"url": "https://other.example/mcp"}


def card(server: Any, *tools: str) -> dict[str, Any]:
    """What is made of a server that was asked."""
    skills = [{"id": tool, "name": tool, "description": tool, "tags": []} for tool in tools]
    return {
        "name": "Desk",
        "description": "A desk.",
        "version": "1",
        "supportedInterfaces": [],
        "capabilities": {"extensions": [{"uri": EXTENSION, "params": {"server": server}}]},
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain"],
        "skills": skills,
    }


def test_what_was_ended_or_replaced_meanwhile_is_not_renewed(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        asked: list[McpServer] = []
        told: list[tuple[dict[str, Any], bool]] = []

        async def describe(server: McpServer) -> tuple[dict[str, Any], bool]:
            asked.append(server)
            return told.pop()

        desk.broker.agents._describe = describe
        told.append((card(ONE, "a"), True))
        await desk.refused("AGENT_NOT_FOUND", "agent_register", mcp_server=ONE)
        told.append((card(ONE, "a"), False))
        made = await desk.call("agent_register", mcp_server=ONE)
        assert (made["agent"]["name"], made["created"]) == ("desk", True)
        assert made["agent"]["card"]["capabilities"]["extensions"] == [{"uri": EXTENSION, "params": {}}]
        told.append((card(ONE, "a", "b"), True))
        made = await desk.call("agent_register", mcp_server=ONE)
        assert [one["id"] for one in made["agent"]["card"]["skills"]] == ["a", "b"]
        told.append((card(OTHER, "c"), False))
        await desk.call("agent_register", mcp_server=OTHER)
        told.append((card(ONE, "a"), True))
        await desk.refused("AGENT_NOT_FOUND", "agent_register", mcp_server=ONE)
        await desk.restart()
        [found] = (await desk.call("agent_discover"))["agents"]
        assert [one["id"] for one in found["card"]["skills"]] == ["c"]
        assert "other.example" not in str(found)
        [kept] = desk.engine.state.agents.values()
        assert "other.example" in kept.card
        assert [one.command for one in asked] == ["one", "one", "one", None, "one"]

    run(body, tmp_path)
