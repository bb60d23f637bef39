"""The paths of REST: one for each command, named as the catalogue names it, and three to read."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mq9_mcp.broker.arguments import check_name
from mq9_mcp.broker.broker import Broker
from mq9_mcp.broker.catalogue import CATALOGUE
from mq9_mcp.domain.errors import Mq9Error, Refused
from mq9_mcp.doors.answer import JSON, answer, refusal
from mq9_mcp.doors.rest.call import call
from mq9_mcp.doors.rest.events import events
from mq9_mcp.doors.rest.openapi import document
from mq9_mcp.doors.rest.task_events import task_events, task_of

PREFIX = "/v1/"
EVENTS = "events"
OPENAPI = "openapi.json"
READ = ("GET", "HEAD")


class Rest:
    """The ASGI application of everything below ``/v1``."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        name, method = scope["path"].removeprefix(PREFIX), scope["method"]
        if name in CATALOGUE:
            if method == "POST":
                await call(self.broker, name, scope, receive, send)
            else:
                await _wrong_method(method, "POST")(scope, receive, send)
            return
        try:
            task = task_of(name)
            if task is None and name not in (EVENTS, OPENAPI):
                self._check(name)
            if method not in READ:
                await _wrong_method(method, *READ)(scope, receive, send)
            elif task is not None:
                await task_events(self.broker, task, scope, receive, send)
            elif name == EVENTS:
                await events(self.broker, scope, receive, send)
            else:
                await Response(document(), media_type=JSON)(scope, receive, send)
        except Mq9Error as error:
            await refusal(error)(scope, receive, send)

    def _check(self, name: str) -> None:
        try:
            check_name(name)
        except Mq9Error as error:
            self.broker.tally.refused(name, error)
            raise


def _wrong_method(seen: str, *accepted: str) -> Response:
    words = ", ".join(accepted)
    error = Refused("INVALID_ARGUMENT", f"method: {seen[:16]!a}; accepted: {words}")
    return answer({"error": error.as_dict()}, 405, {"allow": words})


def before(others: ASGIApp, broker: Broker) -> ASGIApp:
    """An application that answers everything below ``/v1`` and leaves the rest to ``others``.

    A router would cost a send more than reading and deciding it does.
    """
    rest = Rest(broker)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        below = scope["type"] == "http" and scope["path"].startswith(PREFIX)
        await (rest if below else others)(scope, receive, send)

    return app
