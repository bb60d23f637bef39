"""A small MCP server on the SDK, as a process that can be killed at any point: ``python -m ... PORT FOLDER``.

A file ``die-TOOL`` in the folder ends it, once, after that tool did its work and before it answers. What was
called is written to ``calls`` there.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, EmptyResult, SubscribeRequestParams, TextContent
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

folder = Path(sys.argv[2]) if __name__ == "__main__" else Path()
server = MCPServer("small", instructions="Small, and for tests.", log_level="ERROR")
subscribers: set[Any] = set()


class Word(BaseModel):
    """What is asked for."""

    word: str


def called(tool: str, **arguments: Any) -> None:
    """Write it down; die if told to."""
    with (folder / "calls").open("a") as calls:
        calls.write(json.dumps({"tool": tool, "pid": os.getpid(), **arguments}) + "\n")
    death = folder / f"die-{tool}"
    if death.exists():
        death.unlink()
        os._exit(9)


@server.tool()
async def mailbox_send(ctx: Context[Any], to: str, text: str, dedup_key: str = "") -> str:
    """Send."""
    agent = (ctx.headers or {}).get("mq9-agent")
    called("mailbox_send", to=to, text=text, dedup_key=dedup_key, agent=agent)
    return text


@server.tool()
async def task_update(task: str) -> str:
    """What must not be done twice."""
    called("task_update", task=task)
    return task


@server.tool()
async def mailbox_fetch(ctx: Context[Any], wait_s: float = 0, hold: bool = False) -> CallToolResult:
    """Wait: with progress until cancelled, or not at all. What is held back ignores that nobody waits."""
    called("mailbox_fetch", wait_s=wait_s)
    try:
        step = 0
        while wait_s and not hold:
            step += 1
            await ctx.report_progress(step, message=f"waiting since {step}")
            with anyio.move_on_after(0.05):
                await anyio.Event().wait()
    finally:
        called("fetch_ended")
    message = {"id": 1, "lease": "1.1.secret"}
    return CallToolResult(
        content=[TextContent(type="text", text="one")], structured_content={"messages": [message]}
    )


@server.tool()
async def ask_back(ctx: Context[Any]) -> str:
    """Ask whoever calls for a word."""
    called("ask_back")
    found = await ctx.elicit("Which word?", Word)
    called("answered")
    return found.data.word if found.action == "accept" else found.action


@server.resource("small://{name}")
def resource(name: str) -> str:
    """A resource."""
    return name


@server.tool()
async def touch(ctx: Context[Any], name: str) -> str:
    """Change a resource."""
    await ctx.notify_resource_updated(f"small://{name}")
    for session in subscribers:
        await session.send_resource_updated(f"small://{name}")
    return name


async def subscribe(ctx: Any, params: SubscribeRequestParams) -> EmptyResult:
    """Remember who wants to hear."""
    called("subscribe", uri=str(params.uri))
    subscribers.add(ctx.session)
    return EmptyResult()


async def mailbox_ack(request: Request) -> Response:
    """Leases that are given back."""
    called("mailbox_ack", **await request.json())
    return JSONResponse({})


class Ready(uvicorn.Server):
    """Says its port once it takes calls."""

    async def startup(self, sockets: Any = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)


if __name__ == "__main__":
    server._lowlevel_server.add_request_handler("resources/subscribe", SubscribeRequestParams, subscribe)
    app = server.streamable_http_app()
    app.router.routes.append(Route("/v1/mailbox_ack", mailbox_ack, methods=["POST"]))
    Ready(uvicorn.Config(app, port=int(sys.argv[1]), log_level="error")).run()
