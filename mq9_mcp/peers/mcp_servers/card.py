"""The card of an agent made of an MCP server: its tools are the skills, with their schemas if these fit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from mq9_mcp.domain.agent_commands import McpServer
from mq9_mcp.domain.card import MCP_SERVER, MODES
from mq9_mcp.domain.limits import limit

if TYPE_CHECKING:
    import mcp_types as types

    from mq9_mcp.peers.mcp_servers.session import Session

CARD_BYTES_MAX = limit("card_bytes_max")
LABEL_MAX = limit("card_label_characters_max")
SHORT = 500  # characters of a description where many tools say much
_SPACE = re.compile(r"\s+")
_encode = msgspec.json.Encoder().encode


def card_of(server: McpServer, session: Session) -> dict[str, Any]:
    """The card as the registry keeps it; how the server is started stands in the extension."""
    schemas = {tool.name: tool.input_schema for tool in session.tools.values()}
    card = _card(server, session, schemas, None)
    if len(_encode(card)) > CARD_BYTES_MAX:
        card = _card(server, session, None, None)
    if len(_encode(card)) > CARD_BYTES_MAX:
        card = _card(server, session, None, SHORT)
    return card


def _card(
    server: McpServer, session: Session, schemas: dict[str, Any] | None, most: int | None
) -> dict[str, Any]:
    info = session.info
    name = _label(info.title or info.name if info is not None else "", "MCP server")
    params: dict[str, Any] = {"server": msgspec.to_builtins(server)}
    if schemas is not None:
        params["schemas"] = schemas
    extension = {
        "uri": MCP_SERVER,
        "description": "The skills are tools of an MCP server; messages are calls of them.",
        "params": params,
    }
    said = session.instructions.strip() or (info.description or "" if info is not None else "")
    return {
        "name": name,
        "description": said[:SHORT] or f"The tools of {name}.",
        "version": (info.version if info is not None else "") or "1.0.0",
        "supportedInterfaces": [],
        "capabilities": {"extensions": [extension]},
        "defaultInputModes": MODES,
        "defaultOutputModes": MODES,
        "skills": [_skill(tool, most) for tool in session.tools.values()],
    }


def title_of(tool: types.Tool) -> str:
    """What people call a tool."""
    hinted = tool.annotations.title if tool.annotations is not None else None
    return _label(tool.title or hinted or "", tool.name)


def _skill(tool: types.Tool, most: int | None) -> dict[str, Any]:
    name = title_of(tool)
    return {"id": tool.name, "name": name, "description": (tool.description or name)[:most], "tags": []}


def _label(text: str, otherwise: str) -> str:
    return _SPACE.sub(" ", text).strip()[:LABEL_MAX] or otherwise
