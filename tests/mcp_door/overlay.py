"""What the official conformance suite calls by name and no product has: laid over our own server object.

Names, texts and shapes are the suite's. A call for one of these goes to a second server object; every other
call, and all that surrounds both (transport, sessions, headers, versions, results), is the product's own.
"""

from __future__ import annotations

import base64
import json
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp_types import (
    AudioContent,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    EmbeddedResource,
    ImageContent,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    TextContent,
    TextResourceContents,
)
from pydantic import BaseModel

from mq9_mcp.doors.mcp_tools.calling import Context as Call

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
SILENCE = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
PREFIX = "test_"
SCHEME = "test://"
Inputs = str | InputRequiredResult
Schema = dict[str, Any]


def fixtures() -> MCPServer[Any]:
    """A server object that has the suite's tools, resources and prompts, and nothing else."""
    server: MCPServer[Any] = MCPServer("fixtures", log_level="ERROR")
    for add in (_contents, _notifying, _asking, _inputs, _states, _resources, _prompts):
        add(server)
    return server


def _tool(server: MCPServer[Any]) -> Callable[[Any], Any]:
    return server.tool(description="Of the conformance suite.")


def _prompt(server: MCPServer[Any]) -> Callable[[Any], Any]:
    return server.prompt(description="Of the conformance suite.")


# --- tools that answer


def _text(text: str) -> TextContent:
    return TextContent(type="text", text=text)


def _image() -> ImageContent:
    return ImageContent(type="image", data=PIXEL, mime_type="image/png")


def _embedded(uri: str, text: str, kind: str = "text/plain") -> EmbeddedResource:
    return EmbeddedResource(
        type="resource", resource=TextResourceContents(uri=uri, mime_type=kind, text=text)
    )


def _contents(server: MCPServer[Any]) -> None:
    @_tool(server)
    async def test_simple_text() -> str:
        return "This is a simple text response for testing."

    @_tool(server)
    async def test_image_content() -> list[ImageContent]:
        return [_image()]

    @_tool(server)
    async def test_audio_content() -> list[AudioContent]:
        return [AudioContent(type="audio", data=SILENCE, mime_type="audio/wav")]

    @_tool(server)
    async def test_embedded_resource() -> list[EmbeddedResource]:
        return [_embedded("test://embedded-resource", "This is an embedded resource content.")]

    @_tool(server)
    async def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
        mixed = _embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json")
        return [_text("Multiple content types test:"), _image(), mixed]

    @_tool(server)
    async def test_error_handling() -> str:
        raise ToolError("This tool intentionally returns an error for testing")


def _notifying(server: MCPServer[Any]) -> None:
    @_tool(server)
    async def test_tool_with_logging(ctx: Context) -> str:
        with warnings.catch_warnings(action="ignore", category=MCPDeprecationWarning):
            for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
                await ctx.info(words)
        return "done"

    @_tool(server)
    async def test_tool_with_progress(ctx: Context) -> str:
        for done in (0, 50, 100):
            await ctx.report_progress(done, 100, f"Completed step {done} of 100")
        return "done"

    @_tool(server)
    async def test_trigger_tool_change(ctx: Context) -> str:
        await ctx.notify_tools_changed()
        return "done"

    @_tool(server)
    async def test_trigger_prompt_change(ctx: Context) -> str:
        await ctx.notify_prompts_changed()
        return "done"

    @_tool(server)
    async def test_missing_capability(ctx: Context) -> str:
        declared = ctx.session.client_capabilities
        if declared is None or declared.sampling is None:
            needed: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
            raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, "needs sampling", needed)
        return "done"


# --- tools that ask back, in the versions where a server may


class Response(BaseModel):
    """The answer of a person."""

    response: str


def _asking(server: MCPServer[Any]) -> None:
    @_tool(server)
    async def test_sampling(prompt: str, ctx: Context) -> str:
        with warnings.catch_warnings(action="ignore", category=MCPDeprecationWarning):
            result = await ctx.session.create_message(
                messages=[SamplingMessage(role="user", content=_text(prompt))],
                max_tokens=100,
                related_request_id=ctx.request_id,
            )
        assert result.content.type == "text"
        return f"LLM response: {result.content.text}"

    @_tool(server)
    async def test_elicitation(message: str, ctx: Context) -> str:
        return await _form(ctx, message, Response.model_json_schema())

    @_tool(server)
    async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
        return await _form(ctx, "Please provide user information", DEFAULTS)

    @_tool(server)
    async def test_elicitation_sep1330_enums(ctx: Context) -> str:
        return await _form(ctx, "Please select values", ENUMS)


async def _form(ctx: Context, message: str, schema: Schema) -> str:
    result = await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)
    return f"User response: action={result.action}, content={json.dumps(result.content)}"


def _object(properties: dict[str, Schema], *required: str) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


DEFAULTS = _object(
    {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
)
ENUMS = _object(
    {
        "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
        "titledSingle": {"type": "string", "oneOf": [{"const": "value1", "title": "First Option"}]},
        "legacyEnum": {"type": "string", "enum": ["opt1"], "enumNames": ["Option One"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1"]}},
        "titledMulti": {"type": "array", "items": {"anyOf": [{"const": "value1", "title": "First"}]}},
    }
)


# --- tools that need more input, as 2026-07-28 has it


def _ask(message: str, **properties: Schema) -> ElicitRequest:
    schema = _object(properties, *properties)
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _name(message: str = "What is your name?") -> ElicitRequest:
    return _ask(message, name={"type": "string"})


def _sample(text: str) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=_text(text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=50))


def _said(ctx: Context, key: str, field: str) -> Any:
    """What a person filled in, or None."""
    answer = (ctx.input_responses or {}).get(key)
    return answer.content.get(field) if isinstance(answer, ElicitResult) and answer.content else None


def _inputs(server: MCPServer[Any]) -> None:
    @_tool(server)
    async def test_input_required_result_elicitation(ctx: Context) -> Inputs:
        name = _said(ctx, "user_name", "name")
        return f"Hello, {name}!" if name else InputRequiredResult(input_requests={"user_name": _name()})

    @_tool(server)
    async def test_input_required_result_sampling(ctx: Context) -> Inputs:
        if "capital_question" in (ctx.input_responses or {}):
            return "The model answered."
        return InputRequiredResult(
            input_requests={"capital_question": _sample("What is the capital of France?")}
        )

    @_tool(server)
    async def test_input_required_result_list_roots(ctx: Context) -> Inputs:
        if "client_roots" in (ctx.input_responses or {}):
            return "The client has roots."
        return InputRequiredResult(input_requests={"client_roots": ListRootsRequest()})

    @_tool(server)
    async def test_input_required_result_multiple_inputs(ctx: Context) -> Inputs:
        wanted: dict[str, InputRequest] = {
            "user_name": _name(),
            "greeting": _sample("Generate a greeting"),
            "client_roots": ListRootsRequest(),
        }
        if wanted.keys() <= (ctx.input_responses or {}).keys():
            return "All inputs received."
        return InputRequiredResult(input_requests=wanted, request_state="several")

    @_tool(server)
    async def test_input_required_result_capabilities(ctx: Context) -> InputRequiredResult:
        able = ctx.client_capabilities
        wanted: dict[str, InputRequest] = {}
        if able is None or able.sampling is not None:
            wanted["sample"] = _sample("Say hello")
        if able is None or able.elicitation is not None:
            wanted["ask"] = _name()
        return InputRequiredResult(input_requests=wanted, request_state="able")


def _states(server: MCPServer[Any]) -> None:
    confirm = _ask("Please confirm", ok={"type": "boolean"})

    @_tool(server)
    async def test_input_required_result_request_state(ctx: Context) -> Inputs:
        if ctx.request_state == "nonce" and "confirm" in (ctx.input_responses or {}):
            return "state-ok"
        return InputRequiredResult(input_requests={"confirm": confirm}, request_state="nonce")

    @_tool(server)
    async def test_input_required_result_tampered_state(ctx: Context) -> Inputs:
        if ctx.request_state is not None:
            return "state-ok"
        return InputRequiredResult(input_requests={"confirm": confirm}, request_state="round-1")

    @_tool(server)
    async def test_input_required_result_multi_round(ctx: Context) -> Inputs:
        state = json.loads(ctx.request_state or "{}")
        name, color = _said(ctx, "step1", "name"), _said(ctx, "step2", "color")
        if state.get("round") == 2 and color:
            return f"{state['name']} likes {color}."
        if state.get("round") == 1 and name:
            second = _ask("Step 2: What is your favorite color?", color={"type": "string"})
            return InputRequiredResult(
                input_requests={"step2": second}, request_state=json.dumps({"round": 2, "name": name})
            )
        first: dict[str, InputRequest] = {"step1": _name("Step 1: What is your name?")}
        return InputRequiredResult(input_requests=first, request_state=json.dumps({"round": 1}))


# --- resources and prompts


def _resources(server: MCPServer[Any]) -> None:
    @server.resource("test://static-text", mime_type="text/plain")
    async def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    async def static_binary() -> bytes:
        return base64.b64decode(PIXEL)

    @server.resource("test://template/{id}/data", mime_type="application/json")
    async def by_template(id: str) -> str:
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    @server.resource("test://watched-resource", mime_type="text/plain")
    async def watched() -> str:
        return "Watched resource content"


def _prompts(server: MCPServer[Any]) -> None:
    @_prompt(server)
    async def test_simple_prompt() -> list[UserMessage]:
        return [UserMessage("This is a simple prompt for testing.")]

    @_prompt(server)
    async def test_prompt_with_arguments(arg1: str, arg2: str) -> list[UserMessage]:
        return [UserMessage(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'")]

    @_prompt(server)
    async def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:
        embedded = _embedded(resourceUri, "Embedded resource content for testing.")
        return [UserMessage(embedded), UserMessage("Please process the embedded resource above.")]

    @_prompt(server)
    async def test_prompt_with_image() -> list[UserMessage]:
        return [UserMessage(_image()), UserMessage("Please analyze the image above.")]

    @_prompt(server)
    async def test_input_required_result_prompt(ctx: Context) -> list[UserMessage] | InputRequiredResult:
        said = _said(ctx, "user_context", "context")
        if said:
            return [UserMessage(f"Use the following context: {said}")]
        asked = _ask("What context should the prompt use?", context={"type": "string"})
        return InputRequiredResult(input_requests={"user_context": asked})


# --- laid over the product's server object

Handler = Callable[[Call, Any], Awaitable[Any]]
LISTS = {
    "tools/list": "tools",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
    "prompts/list": "prompts",
}
CALLS = ("tools/call", "resources/read", "prompts/get", "subscriptions/listen")


def dress(server: Server[Any]) -> None:
    """Lay the fixtures over ``server``."""
    extra = fixtures()
    theirs = extra._lowlevel_server
    server.middleware.extend(extra.middleware[1:])  # the first one, tracing, is there already
    for method, key in LISTS.items():
        _replace(server, method, _both(key, _of(server, method), _of(theirs, method)))
    for method in CALLS:
        _replace(server, method, _either(_of(server, method), _of(theirs, method)))
    for method in ("resources/subscribe", "resources/unsubscribe"):
        _replace(server, method, _either(_of(server, method), _nothing))
    server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, _nothing)


def _of(server: Server[Any], method: str) -> Handler:
    entry = server.get_request_handler(method)
    assert entry is not None, method
    return entry.handler


def _replace(server: Server[Any], method: str, handler: Handler) -> None:
    entry = server.get_request_handler(method)
    assert entry is not None
    server.add_request_handler(method, entry.params_type, handler)


def _both(key: str, ours: Handler, theirs: Handler) -> Handler:
    async def handler(ctx: Call, params: Any) -> Any:
        own = await ours(ctx, params)
        more = (await theirs(ctx, params)).model_dump(by_alias=True, mode="json", exclude_none=True)
        return {**own, key: [*own[key], *more[key]]}

    return handler


def _either(ours: Handler, theirs: Handler) -> Handler:
    async def handler(ctx: Call, params: Any) -> Any:
        return await (theirs if _is_fixture(params) else ours)(ctx, params)

    return handler


def _is_fixture(params: Any) -> bool:
    if isinstance(params, types.SubscriptionsListenRequestParams):
        return bool(params.notifications.tools_list_changed or params.notifications.prompts_list_changed)
    name = getattr(params, "name", None)
    known = ("test://static-", "test://template/", "test://watched-")
    return name.startswith(PREFIX) if name is not None else str(params.uri).startswith(known)


async def _nothing(ctx: Call, params: Any) -> dict[str, Any]:  # noqa: ARG001
    return {}
