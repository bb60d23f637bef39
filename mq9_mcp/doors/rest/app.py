"""The paths of REST: one for each command, named as the catalogue names it, and two to read."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from mq9_mcp.broker.arguments import check_name
from mq9_mcp.broker.broker import Broker
from mq9_mcp.broker.catalogue import CATALOGUE
from mq9_mcp.domain.errors import Mq9Error, Refused
from mq9_mcp.doors.answer import answer, refusal
from mq9_mcp.doors.rest.call import call

PREFIX = "/v1/"


class Rest:
    """The ASGI application of everything below ``/v1``."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        name = scope["path"].removeprefix(PREFIX)
        if name in CATALOGUE:
            if scope["method"] == "POST":
                return await call(self.broker, name, scope, receive, send)
            return await _wrong_method(scope, receive, send, "POST")
        try:
            check_name(name)
        except Mq9Error as error:
            await refusal(error)(scope, receive, send)


async def _wrong_method(scope: Scope, receive: Receive, send: Send, *accepted: str) -> None:
    error = Refused("INVALID_ARGUMENT", f"method: {scope['method'][:16]!a}; accepted: {', '.join(accepted)}")
    await answer({"error": error.as_dict()}, 405, {"allow": ", ".join(accepted)})(scope, receive, send)


def routes(broker: Broker) -> Sequence[BaseRoute]:
    """Everything below ``/v1``."""
    return [Route(f"{PREFIX}{{path:path}}", Rest(broker))]
