"""What every handler needs to know of a call: who makes it, and through which POST it came."""

from __future__ import annotations

from typing import Any

from mcp.server.context import ServerRequestContext

from mq9_mcp.domain.names import LOCAL
from mq9_mcp.domain.state import Caller
from mq9_mcp.doors.mcp_tools.exchange import EXCHANGE, Exchange
from mq9_mcp.doors.mcp_tools.names import agent_of_client

Context = ServerRequestContext[Any, Any]
Result = dict[str, Any]
COMPLETE = {"resultType": "complete"}  # of 2026-07-28; the SDK takes it out of older results that hold more


def exchange(ctx: Context) -> Exchange | None:
    """The POST that a handler answers."""
    return None if ctx.request is None else ctx.request.scope.get(EXCHANGE)


def caller(ctx: Context) -> Caller:
    """Who calls: as the agent that the header names, else as the one that the client's name makes."""
    post = exchange(ctx)
    known = Caller(LOCAL, None) if post is None else post.caller
    if known.agent is not None:
        return known
    client = ctx.session.client_params
    agent = None if client is None else agent_of_client(client.client_info.name)
    if agent is None and ctx.method == "initialize":
        info = (ctx.params or {}).get("clientInfo")
        agent = agent_of_client(info.get("name") if isinstance(info, dict) else None)
    return Caller(known.principal, agent)
