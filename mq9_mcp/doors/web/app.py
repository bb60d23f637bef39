"""``/health``: the process answers. ``/ready``: it can store. ``/metrics``: in numbers, for Prometheus."""

from __future__ import annotations

import os

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mq9_mcp import __version__
from mq9_mcp.broker.broker import Broker
from mq9_mcp.domain.errors import Unavailable
from mq9_mcp.doors.answer import answer, refusal
from mq9_mcp.doors.guard import HEALTH, Load
from mq9_mcp.doors.web.metrics import CONTENT_TYPE, Metrics


def alive() -> Response:
    """The answer to ``/health``."""
    return answer({"status": "ok", "version": __version__, "pid": os.getpid()})


def routes(broker: Broker, load: Load, free_bytes_min: int) -> list[Route]:
    """The three routes; with less room on the disk than ``free_bytes_min`` it is not ready."""
    living = alive()
    metrics = Metrics(broker, load)

    async def health(request: Request) -> Response:  # noqa: ARG001
        return living

    async def ready(request: Request) -> Response:  # noqa: ARG001
        trouble = _trouble(broker, free_bytes_min)
        return answer({"status": "ready"}) if trouble is None else refusal(trouble)

    async def metrics_text(request: Request) -> Response:  # noqa: ARG001
        return Response(await metrics.text(), media_type=CONTENT_TYPE)

    return [Route(HEALTH, health), Route("/ready", ready), Route("/metrics", metrics_text)]


def _trouble(broker: Broker, free_bytes_min: int) -> Unavailable | None:
    """Why no work is to be sent here now."""
    if broker.stopping:
        return Unavailable("SHUTTING_DOWN", "the broker is stopping")
    condition = broker.engine.condition()
    if condition.trouble:
        return Unavailable("STORAGE_UNAVAILABLE", condition.trouble)
    if condition.free_bytes < free_bytes_min:
        return Unavailable(
            "STORAGE_UNAVAILABLE",
            f"room on the disk: {condition.free_bytes} bytes; accepted: at least {free_bytes_min}",
            "free room on the disk, or lower disk_free_bytes_min; calls are taken as long as there is room",
        )
    return None
