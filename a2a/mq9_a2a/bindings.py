"""Which operation a request names, at JSON-RPC and at HTTP+JSON, and how it is answered there."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

import msgspec

from mq9_a2a import params as p
from mq9_a2a.configs import Configs
from mq9_a2a.desk import Ask, Desk
from mq9_a2a.errors import INVALID_PARAMS, INVALID_REQUEST, NO_METHOD, NOT_JSON, A2aError
from mq9_a2a.follow import Event
from mq9_a2a.words import NUMBERS

STREAMING = ("SendStreamingMessage", "SubscribeToTask")
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Rpc(NamedTuple):
    """A JSON-RPC request that is one."""

    id: str | int | None
    method: str
    params: Any
    body: dict[str, Any]


class NoRpc(Exception):
    """No JSON-RPC request: what to answer, and to which id."""

    def __init__(self, error: A2aError, id: str | int | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.id = id


def read_json(body: bytes) -> Any:
    """The JSON value ``body``, or ``A2aError``."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise A2aError(NOT_JSON, str(error)[:200]) from None


def read_rpc(body: bytes) -> Rpc:
    """The request in ``body``, or ``NoRpc``."""
    try:
        request = read_json(body)
    except A2aError as error:
        raise NoRpc(error) from None
    if isinstance(request, list):
        raise NoRpc(A2aError(INVALID_REQUEST, "Batch requests are not supported"))
    if not isinstance(request, dict):
        raise NoRpc(A2aError(INVALID_REQUEST, "accepted: one JSON-RPC request object"))
    id = request.get("id")
    if isinstance(id, bool) or not isinstance(id, str | int | None):
        raise NoRpc(A2aError(INVALID_REQUEST, "id: accepted: a string, an integer or null"))
    if request.get("jsonrpc") != "2.0":
        raise NoRpc(A2aError(INVALID_REQUEST, "jsonrpc: accepted: exactly '2.0'"), id)
    method = request.get("method")
    if not isinstance(method, str) or not method:
        raise NoRpc(A2aError(INVALID_REQUEST, "method: accepted: the name of a method"), id)
    params = request.get("params")
    return Rpc(id, method, {} if params is None else params, request)


def check_method(method: str) -> None:
    """Refuse a method that A2A 1.0 does not have."""
    if method not in p.METHODS:
        raise A2aError(NO_METHOD, f"method: {method[:64]!a}; accepted: {', '.join(p.METHODS)}")


async def perform(desk: Desk, ask: Ask, method: str, params: p.Params) -> Any:
    """The answer to a request that is not a stream."""
    if isinstance(params, p.SendMessage):
        return await desk.send(ask, params)
    if isinstance(params, p.GetTask):
        return await desk.get(ask, params)
    if isinstance(params, p.ListTasks):
        return await desk.list(ask, params)
    if isinstance(params, p.CancelTask):
        return await desk.cancel(ask, params)
    if method == "GetExtendedAgentCard":
        return await desk.extended_card(ask)
    return await _configure(desk.configs, ask, method, params)


async def _configure(configs: Configs, ask: Ask, method: str, params: p.Params) -> Any:
    if isinstance(params, p.PushConfig):
        return await configs.create(ask, params)
    if isinstance(params, p.AllPush):
        return await configs.list(ask, params)
    assert isinstance(params, p.OnePush)
    if method == "GetTaskPushNotificationConfig":
        return await configs.get(ask, params)
    return await configs.delete(ask, params)


async def follow(desk: Desk, ask: Ask, params: p.Params) -> AsyncGenerator[Event]:
    """The events of a request that is a stream."""
    if isinstance(params, p.SendMessage):
        return await desk.stream(ask, params)
    assert isinstance(params, p.SubscribeToTask)
    return await desk.subscribe(ask, params)


async def frames(
    events: AsyncGenerator[Event], event: Event | None, ask: Ask, rpc: Rpc | None
) -> AsyncGenerator[bytes]:
    """``event`` and those behind it as server-sent events; each has its number as its id."""
    opening, closing = b"", b""
    if rpc is not None:
        opening = b'{"jsonrpc":"2.0","id":' + _encode(rpc.id) + b',"result":'
        closing = b"}"
    numbers = NUMBERS in ask.extensions
    try:
        while event is not None:
            payload = event.encoded(numbers)
            yield b"id: %d\r\ndata: %s%s%s\r\n\r\n" % (event.number, opening, payload, closing)
            event = await anext(events, None)
    finally:
        await events.aclose()


# -- HTTP+JSON

_TASK = r"(?P<id>[^/:]+)"
ROUTES: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (verb, re.compile(path), method)
    for verb, path, method in (
        ("POST", r"message:send", "SendMessage"),
        ("POST", r"message:stream", "SendStreamingMessage"),
        ("GET", r"tasks", "ListTasks"),
        ("GET", rf"tasks/{_TASK}", "GetTask"),
        ("POST", rf"tasks/{_TASK}:cancel", "CancelTask"),
        ("GET", rf"tasks/{_TASK}:subscribe", "SubscribeToTask"),
        ("POST", rf"tasks/{_TASK}:subscribe", "SubscribeToTask"),
        ("GET", r"extendedAgentCard", "GetExtendedAgentCard"),
        ("POST", r"tasks/(?P<taskId>[^/:]+)/pushNotificationConfigs", "CreateTaskPushNotificationConfig"),
        ("GET", r"tasks/(?P<taskId>[^/:]+)/pushNotificationConfigs", "ListTaskPushNotificationConfigs"),
        (
            "GET",
            rf"tasks/(?P<taskId>[^/:]+)/pushNotificationConfigs/{_TASK}",
            "GetTaskPushNotificationConfig",
        ),
        (
            "DELETE",
            rf"tasks/(?P<taskId>[^/:]+)/pushNotificationConfigs/{_TASK}",
            "DeleteTaskPushNotificationConfig",
        ),
    )
)
_NUMBERS = ("pageSize", "historyLength")
_FLAGS = {"true": True, "false": False}


def route(verb: str, path: str) -> tuple[str, dict[str, str]] | None:
    """The method that a path below ``/v1`` names, and what of its parameters the path holds."""
    for known, pattern, method in ROUTES:
        found = pattern.fullmatch(path) if known == verb else None
        if found is not None:
            return method, {name: unquote(value) for name, value in found.groupdict().items()}
    return None


def verbs(path: str) -> list[str]:
    """The verbs that a path takes."""
    return sorted({verb for verb, pattern, _ in ROUTES if pattern.fullmatch(path)})


def read_query(query: bytes) -> dict[str, Any]:
    """The parameters in the query of a GET, as their JSON would have them."""
    given: dict[str, Any] = {}
    for name, text in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name == "A2A-Version":
            continue
        if name in _NUMBERS:
            if not re.fullmatch(r"-?[0-9]{1,10}", text):
                raise A2aError(INVALID_PARAMS, f"{name}: {text[:64]!a}; accepted: an integer")
            given[name] = int(text)
        elif name == "includeArtifacts":
            if text.lower() not in _FLAGS:
                raise A2aError(INVALID_PARAMS, f"{name}: {text[:64]!a}; accepted: true, false")
            given[name] = _FLAGS[text.lower()]
        else:
            given[name] = text
    return given
