"""One process: the data directory, the broker, every door, one port. The only file that names every room."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
import sys
from collections.abc import Callable

import msgspec
import uvicorn
import uvloop
from mq9_a2a import app as a2a
from mq9_a2a.app import A2aDoor
from mq9_a2a.push import Sender
from mq9_a2a.remote import RemoteAgents
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from mq9_mcp import __version__
from mq9_mcp.broker.broker import Broker, start_broker
from mq9_mcp.domain.errors import Mq9Error, Refused
from mq9_mcp.doors.answer import refusal
from mq9_mcp.doors.caller import caller_of
from mq9_mcp.doors.guard import Bounds, Guard, Load
from mq9_mcp.doors.head import Heads, loopback
from mq9_mcp.doors.mcp_tools import app as mcp_tools
from mq9_mcp.doors.mcp_tools.app import McpDoor
from mq9_mcp.doors.rest import app as rest
from mq9_mcp.doors.web import app as web
from mq9_mcp.doors.wire import SURPLUS_MAX, bounded
from mq9_mcp.engine.embedded.engine import EmbeddedEngine, open_engine
from mq9_mcp.engine.embedded.frame import Damaged
from mq9_mcp.engine.embedded.lock import owner_of, taken
from mq9_mcp.hosted.hosting import Hosting, Kind
from mq9_mcp.hosted.tools import ToolServers
from mq9_mcp.peers.cards import CardFetcher
from mq9_mcp.peers.mcp_servers.allowed import Commands
from mq9_mcp.peers.mcp_servers.servers import Servers
from mq9_mcp.peers.posts import Posts
from mq9_mcp.peers.reach import Reach, read_networks
from mq9_mcp.routing.encoder import Encoder
from mq9_mcp.serve.logs import set_up_logs, take_down_logs
from mq9_mcp.serve.meaning import embedder, formerly
from mq9_mcp.serve.stopping import Server
from mq9_mcp.settings import Settings

OK, FAILED, USAGE, DAMAGED = 0, 1, 2, 3
DRAIN_S = 10  # how long connections get to take their last answers
KEEP_ALIVE_S = 60  # longer than clients keep an idle connection: the client is to be the one that closes
BACKLOG = 2048  # connections that wait to be taken
ACCEPTS = 32  # connections taken in one turn of the loop: uvloop takes one for each listening descriptor
FILES = 64  # descriptors for all but connections: segments, tables, logs
log = logging.getLogger("mq9.serve")


def make_app(
    broker: Broker, settings: Settings, load: Load | None = None, door: McpDoor | None = None
) -> ASGIApp:
    """Every door over one broker, behind one guard; REST stands first, as most calls are its."""
    door = door or _mcp_door(broker, settings)
    agents = A2aDoor(broker, caller_of, settings.block_s)
    load = load or _load(broker, settings, door)
    load.listening.append(lambda: agents.listening)
    bounds = Bounds(settings.request_bytes_max, settings.bodies_bytes_max)
    others = Starlette(
        routes=web.routes(broker, load, settings.disk_free_bytes_min),
        exception_handlers={HTTPException: _no_such_thing},
    )
    doors = rest.before(mcp_tools.before(a2a.before(others, agents), door), broker)
    return Guard(doors, _heads(settings), bounds, load)


def _mcp_door(broker: Broker, settings: Settings) -> McpDoor:
    return McpDoor(broker, settings.toolsets, settings.request_bytes_max)


def _load(broker: Broker, settings: Settings, door: McpDoor) -> Load:
    """Calls that wait for mail, and those that only listen, take no room among those in work."""
    return Load(settings.calls_max, settings.calls_steady_max, lambda: broker.waiting + door.listening)


def _heads(settings: Settings) -> Heads:
    return Heads(settings.header_bytes_max, settings.allowed_hosts, settings.allowed_origins)


def _no_such_thing(request: Request, error: Exception) -> Response:
    """What the router refuses, in the shape that errors have."""
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path[:100]}"
    hint = (
        "POST /v1/{command}, /mcp and /a2a/{address}; "
        "GET /v1/openapi.json, /v1/events, /health, /ready and /metrics"
    )
    refused = Refused("INVALID_ARGUMENT", f"{what}: {error.detail}; accepted: {hint}")
    return refusal(refused, dict(error.headers or {}), status=error.status_code)


async def _begin(
    settings: Settings, engine: EmbeddedEngine, own: tuple[str, int]
) -> tuple[Broker, Sender, Hosting]:
    """A broker ready for callers; who posts for it and who works in it are not started yet."""
    reach = Reach(read_networks(settings.card_networks))
    servers = Servers(Commands(settings.mcp_commands), reach, lambda: own)
    posts = Posts(Reach(read_networks(settings.push_networks)))
    loads = embedder(settings.embedding)
    broker = await start_broker(
        engine,
        waiting_max=settings.waiting_max,
        fetch_card=CardFetcher(reach),
        encoder=Encoder(loads, formerly) if loads is not None else None,
        check_url=posts.check,
        describe=servers.describe,
    )
    broker.tally.slow_s = settings.slow_call_s
    kinds: list[Kind] = [ToolServers(servers), RemoteAgents(reach, lambda: own)]
    return broker, Sender(broker, posts), Hosting(broker, kinds)


async def serve(settings: Settings, ready: Callable[[str], None], any_port: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; ``ready(url)`` is called once callers are answered.

    Raises ``Mq9Error`` or ``Damaged`` if it cannot begin. ``any_port``: rather a free port than none.
    """
    settings = _within_files(settings)
    with _listen(settings, any_port) as listening:
        engine = await open_engine(
            settings.data,
            journal_bytes=settings.journal_bytes,
            memory_limit=f"{settings.memory_limit}B",
        )
        own = listening.getsockname()[:2]
        broker, sender, hosting = await _begin(settings, engine, own)
        door = _mcp_door(broker, settings)
        load = _load(broker, settings, door)
        config = uvicorn.Config(
            make_app(broker, settings, load, door),
            http=bounded(settings.connections_max, _heads(settings), load, web.alive()),
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=DRAIN_S,
        )

        def tell(url: str | None) -> None:
            engine.lock.tell(url)
            if url is not None:
                ready(url)
                door.warm_up()
                broker.agents.follow_soon()

        server = Server(config, broker, sender, hosting, _url(settings.host, own[1]), tell)
        try:
            sender.start()
            await server.serve(sockets=[listening, *(listening.dup() for _ in range(ACCEPTS - 1))])
        finally:
            server.stop_listening()
            await server.close_broker()


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _listen(settings: Settings, any_port: bool) -> socket.socket:
    """The socket to take connections from; who else has the data directory or the port is told."""
    host = settings.host
    if not loopback(host):
        raise Refused(
            "INVALID_ARGUMENT",
            f"host: {host!r}; accepted: localhost, 127.0.0.1, ::1 or another loopback address",
            "this version has no authentication, so only programs on this machine may call",
        )
    owner = owner_of(settings.data)
    if owner is not None:
        raise taken(settings.data, owner)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        if any_port:
            return socket.create_server((host, 0), family=family, backlog=BACKLOG)
        raise Refused(
            "INVALID_ARGUMENT",
            f"port: {settings.port} on {host}: {os.strerror(error.errno or 0)}; accepted: a port of its own",
            "choose another with --port, or --port 0 for a free one",
        ) from None


def _within_files(settings: Settings) -> Settings:
    """Let the process open as many files as connections need; fewer connections if the system says no."""
    wanted = settings.connections_max + SURPLUS_MAX + FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    if soft == resource.RLIM_INFINITY or soft >= settings.connections_max + SURPLUS_MAX + FILES:
        return settings
    room = max(1, soft - SURPLUS_MAX - FILES)
    log.warning(
        "the system lets this process open %d files: connections_max is %d",
        soft,
        room,
        extra={"event": "files"},
    )
    return msgspec.structs.replace(settings, connections_max=room)


def _words(error: Exception) -> str:
    return "; ".join(filter(None, (getattr(error, "message", str(error)), getattr(error, "hint", ""))))


def run(settings: Settings, any_port: bool = False) -> int:
    """Serve in this process, on uvloop, until SIGTERM or SIGINT; the exit code."""
    try:
        handler = set_up_logs(settings.log_level, settings.log_format, settings.log_file)
    except OSError as error:
        print(f"mq9: log_file: {settings.log_file}: {error.strerror}", file=sys.stderr)
        return USAGE
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, lambda url: _started(settings, url), any_port))
    except (Mq9Error, Damaged, OSError) as error:
        log.error("not started: %s", _words(error), extra={"event": "refused_start"})
        return _code(error)
    else:
        log.info("stopped", extra={"event": "stopped"})
        return OK
    finally:
        take_down_logs(handler)


def _code(error: Exception) -> int:
    if isinstance(error, Damaged):
        return DAMAGED
    return USAGE if isinstance(error, Refused) else FAILED


def _started(settings: Settings, url: str) -> None:
    """Say in plain words what runs, to people and to the log."""
    with contextlib.suppress(OSError):  # nobody may be there to read it
        print(
            f"mq9 {__version__} listens on {url}\n"
            f"data: {settings.data}\n"
            "no keys: only programs on this machine can call, and all of them are principal 'local'; "
            "stop with Ctrl+C or SIGTERM",
            flush=True,
        )
    log.info(
        "started: %s",
        url,
        extra={"event": "started", "data": str(settings.data), "pid": os.getpid(), "version": __version__},
    )
