"""The folder in a process of its own: folding never holds the broker's interpreter.

The broker says how far the journal is on disk; the process reads the records from the files, folds
them, and answers reads, which wait until everything acknowledged before them is folded. With
``apart=False`` the same code runs in a thread: slower under load, quicker to start and stop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from mq9_mcp.domain.errors import Unavailable
from mq9_mcp.engine.embedded.folder_child import serve

T = TypeVar("T")
log = logging.getLogger("mq9.engine")

INTERVAL_S = 0.1  # committed records gather so long before the process is told of them
RESPAWN_S = 0.5
AGAIN_S = 5.0  # a question whose process ended is put to the next one, for so long


class _Ended(Exception):
    """The process ended before it answered."""


class FolderProcess:
    """Starts, feeds and asks the folder process; ``folded`` is how far the tables are."""

    def __init__(
        self, folder: Path, memory_limit: str, folded: int, on_folded: Callable[[], None], apart: bool
    ) -> None:
        self.apart = apart
        self.pid = 0  # of the process, if there is one
        self.path = folder
        self.folded = folded
        self.readable = folded  # reads see so much, even while it cannot be stored in the tables
        self.error: str | None = None
        self.backlog_bytes = 0
        self._memory_limit = memory_limit
        self._on_folded = on_folded
        self._durable = folded
        self._sizes: deque[tuple[int, int]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._waiters: list[tuple[int, bool, asyncio.Future[None]]] = []
        self._reads: dict[int, asyncio.Future[Any]] = {}
        self._next_read = 0
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._started = asyncio.Event()
        self._pipe: Connection
        self._join: Callable[[], Any]

    def start(self) -> None:
        """Start the process."""
        ours, theirs = socket.socketpair()
        if self.apart:
            try:
                with theirs:
                    process = self._start_process(theirs.fileno())
            except OSError:
                ours.close()
                raise
            self.pid, self._join = process.pid, process.wait
        else:
            pipe = Connection(theirs.detach())
            arguments = (pipe, self.path, self._memory_limit)
            thread = threading.Thread(target=serve, args=arguments, name="mq9-folder", daemon=True)
            thread.start()
            self._join = thread.join
        self._pipe = Connection(ours.detach())
        self._loop.add_reader(self._pipe.fileno(), self._readable)
        os.set_blocking(self._pipe.fileno(), True)  # uvloop took that; a long answer comes in pieces
        self._started.set()
        self._announce()

    def _start_process(self, fd: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "mq9_mcp.engine.embedded.folder_child",
                str(fd),
                str(self.path.absolute()),
                self._memory_limit,
            ],
            pass_fds=[fd],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def add(self, last_seq: int, size: int) -> None:
        """Records up to ``last_seq``, of ``size`` bytes, are on disk now."""
        self._durable = last_seq
        self._sizes.append((last_seq, size))
        self.backlog_bytes += size
        if self._timer is None:
            self._timer = self._loop.call_later(INTERVAL_S, self._announce)

    def _announce(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._send(("fold", self._durable))

    def _send(self, message: tuple[Any, ...]) -> None:
        try:
            self._pipe.send(message)
        except OSError:
            self._lost()

    async def reach(self, seq: int, stored: bool = False) -> None:
        """Return when reads see everything up to record ``seq``; ``stored``: when the tables hold it."""
        if seq <= (self.folded if stored else max(self.folded, self.readable)):
            return
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append((seq, stored, future))
        self._announce()
        await future

    async def read(self, seq: int, query: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """The result of ``query``, which must be picklable, on tables that hold record ``seq``.

        A process that ends meanwhile is replaced, and the next one asked: a reply that rests on what is
        stored by now must not say that it is not.
        """
        until = self._loop.time() + AGAIN_S
        while True:
            try:
                if not self._pipe.closed:
                    await self.reach(seq)
                    return await self._ask(query)
            except _Ended:
                pass
            except Unavailable:
                if not self._pipe.closed:
                    raise
            left = until - self._loop.time()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._started.wait(), max(0, left))
            if left <= 0 or self._closing or not self._started.is_set():
                raise _unavailable(self.error or "the folder process ended")

    async def _ask(self, query: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        self._next_read += 1
        future: asyncio.Future[T] = self._loop.create_future()
        self._reads[self._next_read] = future
        self._send(("read", self._next_read, query))
        return await future

    def _readable(self) -> None:
        try:
            while self._pipe.poll():
                self._receive(self._pipe.recv())
        except (EOFError, OSError):
            self._lost()

    def _receive(self, message: tuple[Any, ...]) -> None:
        kind = message[0]
        if kind == "folded":
            self._tell(message[1])
        elif kind == "stuck":
            self.readable = message[1]
            self._in_trouble(message[2])
            self._wake(lambda stored: stored)
        elif kind == "failed":
            self._in_trouble(message[1])
            self._wake(lambda _: True)
        else:
            future = self._reads.pop(message[1])
            if future.done():
                return
            if kind == "result":
                future.set_result(message[2])
            else:
                future.set_exception(_unavailable(message[2]))

    def _in_trouble(self, why: str) -> None:
        """Say once that the tables fall behind; why can hold a caller's words, and is told by /ready."""
        if self.error is None:
            log.error("the tables cannot be written; /ready says why", extra={"event": "fold_failed"})
        self.error = why

    def _tell(self, seq: int) -> None:
        if self.error is not None:
            log.warning("the tables are written again", extra={"event": "fold_recovered"})
        self.error = None
        self.folded = max(self.folded, seq)
        while self._sizes and self._sizes[0][0] <= seq:
            self.backlog_bytes -= self._sizes.popleft()[1]
        self._wake(lambda _: False)
        self._on_folded()

    def _wake(self, in_vain: Callable[[bool], bool]) -> None:
        """Tell who waits that it is there, or that it will not be soon."""
        waiting, self._waiters = self._waiters, []
        for wanted, stored, future in waiting:
            if future.done():
                continue
            if wanted <= (self.folded if stored else max(self.folded, self.readable)):
                future.set_result(None)
            elif in_vain(stored):
                what = "cannot keep up with the journal" if stored else "cannot be read"
                future.set_exception(_unavailable(self.error or "the folder process ended", what))
            else:
                self._waiters.append((wanted, stored, future))

    def _lost(self) -> None:
        """The process is gone: say so to who waits, and start another one."""
        if self._pipe.closed:
            return
        self._loop.remove_reader(self._pipe.fileno())
        self._pipe.close()
        if self._closing:
            self.error = self.error or "the folder process ended"
        else:
            self._in_trouble(self.error or "the folder process ended")
        self.readable = 0
        self._wake(lambda _: True)
        reads, self._reads = self._reads, {}
        for future in reads.values():
            if not future.done():
                future.set_exception(_Ended())
        self._started.clear()
        if not self._closing:
            self._loop.call_later(RESPAWN_S, self._respawn)

    def _respawn(self) -> None:
        if self._closing:
            return
        self._join()
        try:
            self.start()
        except OSError as error:  # the system has no room for another process now
            self._in_trouble(f"the folder process cannot start: {error.strerror}")
            self._wake(lambda _: True)
            self._loop.call_later(RESPAWN_S, self._respawn)

    async def close(self) -> None:
        """Fold what is left and end the process."""
        self._closing = True
        self._started.set()  # nobody waits for another one
        if not self._pipe.closed:
            self._announce()
            self._send(("close",))
        await asyncio.to_thread(self._join)
        if not self._pipe.closed:
            self._readable()
        if not self._pipe.closed:
            self._loop.remove_reader(self._pipe.fileno())
            self._pipe.close()


def _unavailable(why: str, what: str = "cannot be read") -> Unavailable:
    return Unavailable(
        "STORAGE_UNAVAILABLE",
        f"the tables {what}: {why}",
        "free room on the disk if it is full; the broker goes on by itself",
    )
