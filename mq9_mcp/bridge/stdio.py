"""Lines from the host, lines to the host. Threads, as only they can read and write whatever a host gives.

Nothing but answers gets to stdout: the real one is kept here, and what else prints goes to stderr.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import select
import sys
import threading
from collections.abc import Callable, Iterator

PIECE_BYTES = 64 * 1024
KEPT_BYTES = 1024  # of either end of a line that is too long: its id may stand there


class TooLong(Exception):
    """A line over the limit; ``ends`` is its beginning and its end."""

    def __init__(self, ends: bytes) -> None:
        super().__init__("a line is too long")
        self.ends = ends


class Lines:
    """Cuts what comes into lines of at most ``bytes_max``; a longer one is let go as it comes."""

    def __init__(self, bytes_max: int) -> None:
        self._max = bytes_max
        self._rest = bytearray()
        self._begin = b""  # of a line that is too long

    def cut(self, piece: bytes) -> Iterator[bytes | TooLong]:
        """The lines that are complete with this piece."""
        first, *others = piece.split(b"\n")
        self._rest += first
        for other in others:
            yield self._end()
            self._rest += other
        self._let_go()

    def end(self) -> Iterator[bytes | TooLong]:
        """What is left at the end of everything."""
        if self._rest:
            yield self._end()

    def _end(self) -> bytes | TooLong:
        self._let_go()
        line, begin = bytes(self._rest), self._begin
        self._rest, self._begin = bytearray(), b""
        return TooLong(begin + line) if begin else line

    def _let_go(self) -> None:
        if not self._begin and len(self._rest) > self._max:
            self._begin = bytes(self._rest[:KEPT_BYTES])
        if self._begin:
            del self._rest[:-KEPT_BYTES]


class Stdio:
    """The host's end: ``start`` begins to read, ``write`` puts a line in its turn."""

    def __init__(self, bytes_max: int, source: int, sink: int) -> None:
        self._lines = Lines(bytes_max)
        self._source = source
        self._sink = sink
        self._out: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]] | None] = queue.SimpleQueue()

    def start(self, take: Callable[[bytes | TooLong], None], end: Callable[[], None]) -> None:
        """Call ``take`` for each line, one at a time, and ``end`` after the last one."""
        loop = asyncio.get_running_loop()
        for work in (lambda: self._read(loop, take, end), lambda: self._write(loop)):
            threading.Thread(target=work, name="mq9-stdio", daemon=True).start()

    def _read(
        self,
        loop: asyncio.AbstractEventLoop,
        take: Callable[[bytes | TooLong], None],
        end: Callable[[], None],
    ) -> None:
        taken = threading.Semaphore(0)

        def pass_on(line: bytes | TooLong) -> None:
            try:
                take(line)
            finally:
                taken.release()

        with contextlib.suppress(RuntimeError):  # the loop has ended
            piece = self._piece()
            while piece:
                for line in self._lines.cut(piece):
                    loop.call_soon_threadsafe(pass_on, line)
                    taken.acquire()  # what nobody has taken yet is not read further
                piece = self._piece()
            for line in self._lines.end():
                loop.call_soon_threadsafe(pass_on, line)
            loop.call_soon_threadsafe(end)

    def _piece(self) -> bytes:
        while True:
            try:
                return os.read(self._source, PIECE_BYTES)
            except BlockingIOError:
                select.select([self._source], [], [])
            except OSError:
                return b""  # a host that is gone

    async def write(self, line: bytes) -> None:
        """Write a line after those before it; raises ``OSError`` if nobody reads any more."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._out.put((line + b"\n", done))
        await done

    def _write(self, loop: asyncio.AbstractEventLoop) -> None:
        while (item := self._out.get()) is not None:
            line, done = item
            error: OSError | None = None
            try:
                self._all(line)
            except OSError as fault:
                error = fault
            try:
                loop.call_soon_threadsafe(_tell, done, error)
            except RuntimeError:
                return  # the loop has ended

    def _all(self, line: bytes) -> None:
        left = memoryview(line)
        while left:
            try:
                left = left[os.write(self._sink, left) :]
            except BlockingIOError:
                select.select([], [self._sink], [])


def _tell(done: asyncio.Future[None], error: OSError | None) -> None:
    if done.done():
        return  # who wrote waits no more
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


def own_stdout() -> int:
    """The real stdout, for answers alone; whatever else is printed from now on goes to stderr."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    return kept
