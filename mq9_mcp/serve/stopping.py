"""The web server, and the order in which it stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn
from mq9_a2a.push import Sender

from mq9_mcp.broker.broker import Broker
from mq9_mcp.hosted.hosting import Hosting

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
log = logging.getLogger("mq9.serve")


class Server(uvicorn.Server):
    """Stops in order: no new work, who waits is answered, all is on disk, then the connections end.

    ``tell(url)`` is called when callers are answered and a signal stops in order, ``tell(None)`` when
    nobody is to come any more.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        broker: Broker,
        sender: Sender,
        hosting: Hosting,
        url: str,
        tell: Callable[[str | None], None],
    ) -> None:
        super().__init__(config)
        self.broker = broker
        self.sender = sender
        self.hosting = hosting
        self.url = url
        self.tell = tell
        self.closing: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """A signal stops the server and nothing else: it ends with success."""
        loop = asyncio.get_running_loop()
        for one in _SIGNALS:
            loop.add_signal_handler(one, self.handle_exit, one, None)
        try:
            yield
        finally:
            for one in _SIGNALS:
                loop.remove_signal_handler(one)
                signal.signal(one, signal.SIG_IGN)  # all is done: one more is no reason to end badly

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take calls."""
        await super().startup(sockets)
        self.tell(self.url)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """The first signal stops; after a second one nobody waits for callers any more."""
        name = signal.Signals(sig).name
        if self.should_exit:
            log.warning("%s again: connections are cut", name, extra={"event": "stop_now"})
            self.force_exit = True
            return
        log.info("%s: stopping", name, extra={"event": "stopping"})
        self.should_exit = True
        self.close_broker()

    def stop_listening(self) -> None:
        """Take no connections any more."""
        for one in getattr(self, "servers", ()):
            one.close()

    def close_broker(self) -> asyncio.Task[None]:
        """Take no new work from now on; done when everything is on disk."""
        if self.closing is None:
            self.tell(None)
            self.sender.stop()
            self.hosting.begin_no_more()
            self.closing = asyncio.get_running_loop().create_task(self._close())
        return self.closing

    async def _close(self) -> None:
        if self.hosting.working:
            await self.hosting.stop()  # what it holds is given back while the broker still takes it
        await self.broker.close()
        await self.hosting.stop()
        await self.sender.close()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the connections once their calls are answered."""
        closing = self.close_broker()
        await super().shutdown(sockets)
        await closing
