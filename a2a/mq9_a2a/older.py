"""Clients of A2A 0.3: the SDK's adapters translate, its request handler here is the same desk.

The handler speaks protobuf, as the SDK does; whatever else the SDK can serve it with is served the same.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

import a2a.server.routes  # noqa: F401 -- before the adapters, which import it in a circle
from a2a.auth.user import UnauthenticatedUser
from a2a.compat.v0_3.conversions import to_compat_task
from a2a.compat.v0_3.jsonrpc_adapter import JSONRPC03Adapter
from a2a.compat.v0_3.rest_adapter import REST03Adapter
from a2a.server.context import ServerCallContext
from a2a.server.request_handlers import RequestHandler
from a2a.server.routes.common import ServerCallContextBuilder
from a2a.types import a2a_pb2 as pb
from a2a.utils import errors as sdk
from google.protobuf.json_format import MessageToDict, ParseDict  # type: ignore[import-untyped]
from google.protobuf.message import Message  # type: ignore[import-untyped]
from starlette.requests import Request
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from mq9_a2a import params as p
from mq9_a2a.bindings import follow, perform, read_json
from mq9_a2a.desk import Ask, Desk
from mq9_a2a.errors import A2aError, of_broker
from mq9_a2a.wire import read_body
from mq9_a2a.words import View
from mq9_mcp.domain.errors import Mq9Error

ASK = "mq9.ask"
R = TypeVar("R")
_KINDS = {code: kind for kind, code in sdk.JSON_RPC_ERROR_CODE_MAP.items()}


class Handler(RequestHandler):
    """The desk as the SDK sees it."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    async def _perform(self, method: str, given: Message, context: ServerCallContext, result: R) -> R:
        try:
            params = p.read_params(method, MessageToDict(given))
            found = await perform(self.desk, _asked(context, params), method, params)
        except A2aError as error:
            raise _told(error) from None
        except Mq9Error as error:
            raise _told(of_broker(error)) from None
        read: R = found if result is None else ParseDict(found, result, ignore_unknown_fields=True)
        return read

    async def _follow(self, method: str, given: Message, context: ServerCallContext) -> AsyncGenerator[Any]:
        try:
            params = p.read_params(method, MessageToDict(given))
            events = await follow(self.desk, _asked(context, params), params)
            async for event in events:
                response = ParseDict(event.response, pb.StreamResponse())
                yield getattr(response, response.WhichOneof("payload"))
        except A2aError as error:
            raise _told(error) from None
        except Mq9Error as error:
            raise _told(of_broker(error)) from None

    async def on_message_send(
        self, params: pb.SendMessageRequest, context: ServerCallContext
    ) -> pb.Task | pb.Message:
        """Send."""
        response = await self._perform("SendMessage", params, context, pb.SendMessageResponse())
        found: pb.Task | pb.Message = getattr(response, response.WhichOneof("payload"))
        return found

    async def on_message_send_stream(
        self, params: pb.SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Any]:
        """Send and follow."""
        async for event in self._follow("SendStreamingMessage", params, context):
            yield event

    async def on_subscribe_to_task(
        self, params: pb.SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Any]:
        """Follow."""
        async for event in self._follow("SubscribeToTask", params, context):
            yield event

    async def on_get_task(self, params: pb.GetTaskRequest, context: ServerCallContext) -> pb.Task | None:
        """Look."""
        return await self._perform("GetTask", params, context, pb.Task())

    async def on_cancel_task(
        self, params: pb.CancelTaskRequest, context: ServerCallContext
    ) -> pb.Task | None:
        """Cancel."""
        return await self._perform("CancelTask", params, context, pb.Task())

    async def on_list_tasks(
        self, params: pb.ListTasksRequest, context: ServerCallContext
    ) -> pb.ListTasksResponse:
        """List."""
        return await self._perform("ListTasks", params, context, pb.ListTasksResponse())

    async def on_create_task_push_notification_config(
        self, params: pb.TaskPushNotificationConfig, context: ServerCallContext
    ) -> pb.TaskPushNotificationConfig:
        """Push."""
        return await self._perform(
            "CreateTaskPushNotificationConfig", params, context, pb.TaskPushNotificationConfig()
        )

    async def on_get_task_push_notification_config(
        self, params: pb.GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> pb.TaskPushNotificationConfig:
        """Push."""
        return await self._perform(
            "GetTaskPushNotificationConfig", params, context, pb.TaskPushNotificationConfig()
        )

    async def on_list_task_push_notification_configs(
        self, params: pb.ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> pb.ListTaskPushNotificationConfigsResponse:
        """Push."""
        return await self._perform(
            "ListTaskPushNotificationConfigs", params, context, pb.ListTaskPushNotificationConfigsResponse()
        )

    async def on_delete_task_push_notification_config(
        self, params: pb.DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        """Push."""
        await self._perform("DeleteTaskPushNotificationConfig", params, context, None)

    async def on_get_extended_agent_card(
        self, params: pb.GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> pb.AgentCard:
        """The card."""
        return await self._perform("GetExtendedAgentCard", params, context, pb.AgentCard())


def older_task(task: View) -> bytes:
    """A task as 0.3 writes it."""
    read = to_compat_task(ParseDict(task, pb.Task(), ignore_unknown_fields=True))
    return read.model_dump_json(by_alias=True, exclude_none=True).encode()


def _asked(context: ServerCallContext, params: p.Params) -> Ask:
    ask: Ask = context.state[ASK]
    return ask._replace(mailbox=ask.mailbox or params.tenant or context.tenant, version="0.3")


def _told(error: A2aError) -> sdk.A2AError:
    kind = _KINDS.get(error.kind.code, sdk.InternalError)
    return kind(message=error.message, data=dict(error.metadata))


class _Contexts(ServerCallContextBuilder):
    def build(self, request: Request) -> ServerCallContext:
        state = {ASK: request.scope[ASK], "headers": dict(request.headers)}
        return ServerCallContext(user=UnauthenticatedUser(), state=state)


class Older:
    """Serves what clients of 0.3 ask."""

    def __init__(self, desk: Desk) -> None:
        logging.getLogger("a2a").setLevel(logging.ERROR)  # its warnings quote what callers sent
        handler, contexts = Handler(desk), _Contexts()
        self._rpc = JSONRPC03Adapter(handler, contexts)
        paths = REST03Adapter(handler, contexts).routes()
        self._http = Router([Route(path, end, methods=[verb]) for (path, verb), end in paths.items()])

    async def rpc(self, ask: Ask, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Answer a JSON-RPC request whose body is read."""
        given = json.loads(body)
        request = Request({**scope, ASK: ask}, _again(body, receive))
        if not self._rpc.supports_method(given["method"]):
            from mq9_a2a.bindings import check_method

            check_method(given["method"])
        response = await self._rpc.handle_request(given.get("id"), given["method"], given, request)
        await response(request.scope, request.receive, send)

    async def http(self, ask: Ask, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of HTTP+JSON."""
        below = "/v1/" + path.removeprefix("v1/")
        if scope["method"] == "POST":
            body = await read_body(receive)
            if body:
                read_json(body)  # what is none would be a fault of ours in the SDK
            receive = _again(body, receive)
        await self._http({**scope, ASK: ask, "path": below, "root_path": ""}, receive, send)


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read, once more; then what comes behind it."""
    left: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Any:
        return left.pop() if left else await receive()

    return receive_again
