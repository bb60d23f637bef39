"""Where the broker is: at the address that was named, else the daemon of the data directory.

A daemon that is gone is joined anew, and started if nobody has, but only for a request that needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from mq9_mcp.bridge.http import Lost
from mq9_mcp.daemon import Running, find, join
from mq9_mcp.domain.errors import Refused, Unavailable
from mq9_mcp.engine.embedded.lock import LOG_FILE
from mq9_mcp.settings import load_settings

MCP_PATH = "/mcp"
Result = TypeVar("Result")


class Home(Protocol):
    """A broker's address, without a path."""

    where: str  # for people
    hint: str  # what they can do when nobody is there
    first_s: float  # how long it is waited for if it never answered

    async def url(self, *, start: bool = True) -> str:
        """The address; raises ``Lost`` if there is no broker and none is to be started."""

    def lost(self, url: str) -> None:
        """Nobody answered there."""


class Elsewhere:
    """A broker that somebody else runs."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/").removesuffix(MCP_PATH)
        if not self._url.startswith(("http://", "https://")):
            raise Refused(
                "INVALID_ARGUMENT",
                f"url: {url[:120]!r}; accepted: http://HOST:PORT or https://HOST:PORT",
                "without it the daemon of the data directory is joined, or started",
            )
        self.where = self._url
        self.hint = "if it does not help, start the broker there: mq9 serve"
        self.first_s = 2.0

    async def url(self, *, start: bool = True) -> str:  # noqa: ARG002
        """The address that was named."""
        return self._url

    def lost(self, url: str) -> None:
        """It may come back, there and nowhere else."""


class Daemon:
    """The daemon of a data directory, of which there is one for all programs."""

    def __init__(self, data: Path, say: Callable[[str], None]) -> None:
        self._data = data
        self._say = say
        self._running: Running | None = None
        self._told: Running | None = None
        self._joining: asyncio.Future[Running] | None = None
        self.where = f"the daemon of {data}"
        self.hint = f"if it does not help, look into {data / LOG_FILE}"
        self.first_s = 30.0

    async def url(self, *, start: bool = True) -> str:
        """Its address; all who wait for a start wait for the same one."""
        if self._running is None:
            with self._told_in_words():
                running = find(self._data)
            if running is None and not start:
                raise Lost(self.where, "it does not run", sent=False)
            if running is None:
                if self._joining is None:
                    self._joining = in_thread(self._join)
                    self._joining.add_done_callback(self._joined)
                running = await asyncio.shield(self._joining)
            if running != self._told:
                self._say(f"joined {self.where} at {running.url}, process {running.pid}")
            self._running = self._told = running
        return self._running.url

    def _join(self) -> Running:
        with self._told_in_words():
            return join(load_settings({"data": str(self._data)}, os.environ))

    @contextlib.contextmanager
    def _told_in_words(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unavailable(
                "STORAGE_UNAVAILABLE",
                f"{self.where} cannot be joined: {error}",
                "choose another data directory: --data or MQ9_DATA",
            ) from error

    def _joined(self, joining: asyncio.Future[Running]) -> None:
        self._joining = None
        if not joining.cancelled():
            joining.exception()  # whoever waits is told; nobody need wait

    def lost(self, url: str) -> None:
        """Look for it again at the next request."""
        if self._running is not None and self._running.url == url:
            self._running = None


def in_thread(work: Callable[[], Result]) -> asyncio.Future[Result]:
    """Work that blocks, in a thread that does not hold up the end of the process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def tell(result: Result | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        try:
            result, error = work(), None
        except BaseException as fault:
            result, error = None, fault
        try:
            loop.call_soon_threadsafe(tell, result, error)
        except RuntimeError:
            return  # the loop has ended

    threading.Thread(target=run, name="mq9-join", daemon=True).start()
    return done
