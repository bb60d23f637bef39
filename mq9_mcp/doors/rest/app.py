"""The routes of REST: one for all commands, named as the catalogue names them."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mq9_mcp.broker.broker import Broker
from mq9_mcp.domain.errors import Mq9Error, Refused
from mq9_mcp.doors.answer import answer, refusal
from mq9_mcp.doors.caller import caller_of


def routes(broker: Broker) -> list[Route]:
    """``POST /v1/{command}``."""

    async def command(request: Request) -> Response:
        try:
            arguments = _arguments(await request.body())
            reply = await broker.call(caller_of(request), request.path_params["command"], arguments)
        except Mq9Error as error:
            return refusal(error)
        return answer(reply)

    return [Route("/v1/{command}", command, methods=["POST"])]


def _arguments(body: bytes) -> dict[str, object]:
    try:
        return msgspec.json.decode(body or b"{}", type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused("INVALID_ARGUMENT", f"body: {error}; accepted: one JSON object of arguments") from None
