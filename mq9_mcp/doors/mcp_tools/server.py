"""The server object: tools, resources, prompts and subscriptions, answered by the broker."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple, cast

import mcp_types as types
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.context import CallNext, HandlerResult
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider
from pydantic import BaseModel

from mq9_mcp import __version__
from mq9_mcp.broker.broker import Broker
from mq9_mcp.doors.mcp_tools.calling import COMPLETE, Context, Result, caller
from mq9_mcp.doors.mcp_tools.desk import ToolDesk
from mq9_mcp.doors.mcp_tools.handles import TASKS
from mq9_mcp.doors.mcp_tools.listening import Listening
from mq9_mcp.doors.mcp_tools.prompts import PROMPTS
from mq9_mcp.doors.mcp_tools.reading import Reading
from mq9_mcp.doors.mcp_tools.tools import tools_of
from mq9_mcp.doors.mcp_tools.words import INSTRUCTIONS

SAME = CacheHint(ttl_ms=3_600_000, scope="public")  # what there is changes with the version only
NOW = CacheHint()
HINTS = {
    "tools/list": SAME,
    "prompts/list": SAME,
    "resources/templates/list": SAME,
    "resources/list": NOW,
    "resources/read": NOW,
}


class Made(NamedTuple):
    """A server object, and who tells its clients what has changed."""

    server: Server[Any]
    listening: Listening


def make_server(broker: Broker, toolsets: Collection[str] = ()) -> Made:
    """The server object of the MCP door."""
    desk, reading = ToolDesk(broker, tools_of(toolsets)), Reading(broker)
    handles = desk.handles
    listening = Listening(broker, reading, handles)
    server: Server[Any] = Server(
        "mq9",
        version=__version__,
        title="mq9",
        description="Durable mail, tasks and discovery for agents.",
        instructions=INSTRUCTIONS,
        cache_hints=cast("dict[CacheableMethod, CacheHint]", HINTS),
        get_tool_input_schema=_nothing_in_headers,
    )
    handlers: dict[str, tuple[type[BaseModel], Any]] = {
        "tools/list": (types.PaginatedRequestParams, desk.list),
        "tools/call": (types.CallToolRequestParams, desk.call),
        "resources/list": (types.PaginatedRequestParams, reading.list),
        "resources/templates/list": (types.PaginatedRequestParams, reading.templates),
        "resources/read": (types.ReadResourceRequestParams, reading.read),
        "resources/subscribe": (types.SubscribeRequestParams, listening.subscribe),
        "resources/unsubscribe": (types.UnsubscribeRequestParams, listening.unsubscribe),
        "subscriptions/listen": (types.SubscriptionsListenRequestParams, listening.listen),
        "prompts/list": (types.PaginatedRequestParams, _prompts),
        "prompts/get": (types.GetPromptRequestParams, _prompt),
        "completion/complete": (types.CompleteRequestParams, reading.complete),
        **handles.handlers(),
    }
    for method, (params, handler) in handlers.items():
        server.add_request_handler(method, params, handler)
    if isinstance(get_tracer_provider(), ProxyTracerProvider):
        server.middleware.clear()  # the SDK's spans, which nobody collects in this process
    server.extensions[TASKS] = {}
    server.middleware.append(_greet)
    return Made(server, listening)


def _nothing_in_headers(name: str) -> None:
    """No argument goes into a header. The SDK would look through the schema for one with each call."""


async def _greet(ctx: Context, call_next: CallNext) -> HandlerResult:
    """Whoever begins is told who it is here."""
    result = await call_next(ctx)
    if ctx.method in ("initialize", "server/discover") and isinstance(result, dict):
        agent = caller(ctx).agent
        if agent is not None:
            you = f"You are the agent {agent}: your mailbox is {agent}, and what you send is from {agent}."
            return {**result, "instructions": f"{you}\n\n{result.get('instructions', '')}"}
    return result


async def _prompts(ctx: Context, params: types.PaginatedRequestParams) -> Result:  # noqa: ARG001
    """All prompts."""
    found = [
        {
            "name": name,
            "title": prompt.title,
            "description": prompt.says,
            "arguments": [
                {"name": gap.name, "description": gap.says, "required": gap.required} for gap in prompt.gaps
            ],
        }
        for name, prompt in PROMPTS.items()
    ]
    return COMPLETE | {"prompts": found}


async def _prompt(ctx: Context, params: types.GetPromptRequestParams) -> Result:  # noqa: ARG001
    """One prompt with its gaps filled."""
    prompt = PROMPTS.get(params.name)
    if prompt is None:
        raise MCPError(
            types.INVALID_PARAMS, f"Unknown prompt: {params.name[:64]!a}; prompts: {', '.join(PROMPTS)}"
        )
    given = {name: text for name, text in (params.arguments or {}).items() if text}
    names = [gap.name for gap in prompt.gaps]
    for name in given:
        if name not in names:
            raise MCPError(types.INVALID_PARAMS, f"{name[:64]!a}: unknown; accepted: {', '.join(names)}")
    for gap in prompt.gaps:
        if gap.required and gap.name not in given:
            raise MCPError(types.INVALID_PARAMS, f"{gap.name}: missing; {gap.says}")
    message = {"role": "user", "content": {"type": "text", "text": prompt.text(given)}}
    return COMPLETE | {"description": prompt.says, "messages": [message]}
