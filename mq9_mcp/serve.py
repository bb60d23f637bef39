"""The server process: one broker, every door, one port. The only file that names every room."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import uvicorn
import uvloop
from starlette.applications import Starlette

from mq9_mcp.broker.broker import Broker, start_broker
from mq9_mcp.doors.rest import app as rest
from mq9_mcp.engine.embedded.engine import open_engine
from mq9_mcp.settings import Settings

DRAIN_S = 10  # how long connections get to take their last answers


def make_app(broker: Broker) -> Starlette:
    """Every door over one broker."""
    return Starlette(routes=[*rest.routes(broker)])


class _Server(uvicorn.Server):
    """Answers who waits before it waits for connections to end: a long poll would hold it up."""

    def __init__(self, config: uvicorn.Config, broker: Broker) -> None:
        super().__init__(config)
        self.broker = broker

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """No new work, waiting fetches answered, everything on disk, then the connections."""
        closing = asyncio.create_task(self.broker.close())
        await super().shutdown(sockets)
        await closing


async def serve(settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``ready(url)`` is called once callers are answered."""
    with socket.create_server((settings.host, settings.port)) as listening:
        broker = await start_broker(await open_engine(settings.data))
        config = uvicorn.Config(
            make_app(broker),
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=DRAIN_S,
        )
        ready(f"http://{settings.host}:{listening.getsockname()[1]}")
        await _Server(config, broker).serve(sockets=[listening])


def run(settings: Settings) -> None:
    """Serve in this process, on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, lambda url: print(f"mq9 at {url}, data in {settings.data}", flush=True)))
