"""``mq9-mcp``: what an MCP host starts. One process per host, all on one daemon; it holds nothing itself."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress

from mq9_mcp import __version__
from mq9_mcp.bridge.call import Call
from mq9_mcp.bridge.home import Daemon, Elsewhere, Home
from mq9_mcp.bridge.messages import INVALID_REQUEST, Bad, error, find_id, key_of, read
from mq9_mcp.bridge.naming import Identity
from mq9_mcp.bridge.relay import Relay
from mq9_mcp.bridge.stdio import Stdio, TooLong, own_stdout
from mq9_mcp.domain.errors import Mq9Error, Refused
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.names import check_new_address
from mq9_mcp.settings import data_directory

LATE_S = 0.5  # the same for answers that nobody waits for: what they hold is given back
CALLS_MAX = 1_024  # requests of one host at a time; more are refused
DRAIN_S = 0.8  # after the last line, answers that are nearly there may still come; hosts wait two seconds
LINE_BYTES_MAX = limit("request_bytes_max")


def say(words: str) -> None:
    """Tell people; hosts show or keep it as the log of the server."""
    with suppress(OSError, ValueError):
        print(f"mq9-mcp: {words}", file=sys.stderr, flush=True)


class Bridge:
    """Reads the host's lines until the last one or a signal."""

    def __init__(self, home: Home, identity: Identity, stdio: Stdio) -> None:
        self._home = home
        self._stdio = stdio
        self._relay = Relay(home, identity, self._write)
        self._over = asyncio.Event()
        self._drain_s = 0.0

    async def run(self) -> None:
        """Serve the host."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._over.set)
        self._relay.spawn(self._begin())
        self._stdio.start(self._take, self._end)
        await self._over.wait()
        await self._finish()

    async def _begin(self) -> None:
        """Join the daemon before anybody asks; who asks is told what is wrong."""
        with suppress(Exception):
            await self._home.url()

    def _end(self) -> None:
        """The host says no more."""
        self._drain_s = DRAIN_S
        self._over.set()

    async def _finish(self) -> None:
        """Give up what waits, let the rest come to its end, and take nothing along."""
        calls = list(self._relay.calls.values())
        for call in calls:
            if call.waits or not self._drain_s:
                self._relay.cancel(call)
        await _ended((call for call in calls if not call.cancelled), self._drain_s)
        for call in list(self._relay.calls.values()):
            self._relay.cancel(call)
        await _ended(calls, LATE_S)
        await self._relay.end()

    async def _write(self, line: bytes) -> None:
        try:
            await self._stdio.write(line)
        except OSError:
            self._over.set()  # nobody reads
            raise

    def _take(self, line: bytes | TooLong) -> None:
        """A line of the host."""
        if isinstance(line, TooLong):
            words = f"this line is over request_bytes_max, {LINE_BYTES_MAX} bytes; send less at a time"
            self._refuse(error(find_id(line.ends), INVALID_REQUEST, words))
        elif line.strip():
            try:
                self._sort(line)
            except Bad as bad:
                self._refuse(bad.answer)

    def _sort(self, line: bytes) -> None:
        message = read(line)
        if "method" not in message:
            self._relay.response(message)
        elif "id" not in message:
            self._relay.notification(message)
        elif key_of(message["id"]) in self._relay.calls:
            raise Bad(INVALID_REQUEST, "a request with this id is still open; give each its own")
        elif len(self._relay.calls) >= CALLS_MAX:
            raise Bad(INVALID_REQUEST, f"{CALLS_MAX} requests are open; wait for answers", message["id"])
        else:
            self._relay.request(message)

    def _refuse(self, answer: bytes) -> None:
        async def told() -> None:
            with suppress(OSError):
                await self._write(answer)

        self._relay.spawn(told())


async def _ended(calls: Iterable[Call], within_s: float) -> None:
    tasks = [call.task for call in calls if call.task is not None]
    if tasks and within_s:
        await asyncio.wait(tasks, timeout=within_s)


def make_parser() -> argparse.ArgumentParser:
    """The options of ``mq9-mcp``."""
    parser = argparse.ArgumentParser(
        prog="mq9-mcp",
        description="What an MCP host starts: joins the mq9 daemon of a data directory, or starts it.",
        epilog="mq9 config HOST prints what a host needs to start it. Messages go over stdin and stdout.",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--data", metavar="DIR", help="the data directory (MQ9_DATA)")
    where.add_argument("--url", metavar="URL", help="a broker that runs already (MQ9_URL)")
    parser.add_argument(
        "--agent", metavar="NAME", help="who calls (MQ9_AGENT); else <client>-<project folder>"
    )
    parser.add_argument("--version", action="version", version=f"mq9-mcp {__version__}")
    return parser


def _home(chosen: argparse.Namespace, environ: Mapping[str, str]) -> Home:
    url = chosen.url or (environ.get("MQ9_URL") if chosen.data is None else None)
    return Elsewhere(url) if url else Daemon(data_directory({"data": chosen.data}, environ), say)


def _identity(chosen: argparse.Namespace, environ: Mapping[str, str]) -> Identity:
    agent, token = chosen.agent or environ.get("MQ9_AGENT") or None, environ.get("MQ9_TOKEN") or None
    if agent is not None:
        check_new_address(agent)
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise Refused("INVALID_ARGUMENT", "MQ9_TOKEN: accepted: printable ASCII characters without spaces")
    return Identity(agent, token, _folder(), say)


def _folder() -> str:
    """The folder that the host works in; it may be gone."""
    try:
        return os.getcwd()
    except OSError:
        return ""


async def _serve(home: Home, identity: Identity) -> None:
    await Bridge(home, identity, Stdio(LINE_BYTES_MAX, 0, own_stdout())).run()


def main(arguments: list[str] | None = None) -> int:
    """Serve one host until it ends; the exit code."""
    chosen = make_parser().parse_args(arguments)
    try:
        home, identity = _home(chosen, os.environ), _identity(chosen, os.environ)
    except Mq9Error as refused:
        say(str(refused))
        return 2
    if sys.stdin.isatty():
        say("an MCP host starts this and speaks to it; mq9 config HOST prints how. Ctrl-C ends it")
    asyncio.run(_serve(home, identity))
    return 0
