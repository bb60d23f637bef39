"""What the tests of the MCP door share: hosts of both eras, as the official client, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, Implementation, TextContent

from tests.rest.site import Site

MODERN = "2026-07-28"
ERAS = ("legacy", "auto")
BOTH = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}


@asynccontextmanager
async def host(
    site: Site, era: str, agent: str | None = "alice", name: str = "mcp", **options: Any
) -> AsyncIterator[Client]:
    """A host that speaks ``era``; without ``agent`` it is who its own ``name`` says."""
    headers = {} if agent is None else {"mq9-agent": agent}
    info = Implementation(name=name, version="1")
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(f"{address(site)}", http_client=http)
        async with Client(transport, mode=era, client_info=info, **options) as client:
            yield client


def address(site: Site) -> str:
    """Where the door is."""
    return f"http://127.0.0.1:{site.port}/mcp"


def text_of(result: CallToolResult) -> str:
    """The text that a model reads."""
    [content] = result.content
    assert isinstance(content, TextContent)
    return content.text


async def reply_of(client: Client, name: str, **arguments: Any) -> Any:
    """The reply of a tool that must not fail, as data."""
    result = await client.call_tool(name, arguments)
    assert not result.is_error, text_of(result)
    return result.structured_content


async def refusal_of(client: Client, name: str, **arguments: Any) -> str:
    """What a model reads of a call that must be refused."""
    result = await client.call_tool(name, arguments)
    assert result.is_error, text_of(result)
    assert result.structured_content is None
    return text_of(result)


def request(method: str, modern: bool = True, **params: Any) -> tuple[dict[str, str], bytes]:
    """Headers and body of one request as 2026-07-28 has it, or as the older versions do."""
    headers = dict(BOTH)
    if modern:
        headers |= {"mcp-protocol-version": MODERN, "mcp-method": method}
        if "name" in params:
            headers["mcp-name"] = params["name"]
        params = {"_meta": ENVELOPE, **params}
    return headers, json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


async def post(site: Site, method: str, extra: dict[str, str] | None = None, **params: Any) -> httpx.Response:
    """One request of 2026-07-28."""
    headers, body = request(method, **params)
    return await site.client.post("/mcp", headers=headers | (extra or {}), content=body)
