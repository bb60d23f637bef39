"""The journal: records gathered into commits, one write and one fdatasync each.

The event loop appends records and learns their positions at once; a commit takes what many callers
appended meanwhile. On a quick disk the loop writes commits itself, as waking a thread and being woken
by it takes longer than the disk; on a slow one a thread of its own writes them. A commit that cannot
be written is cut off again, so "failed" means "not stored".
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from mq9_mcp.domain.errors import Unavailable
from mq9_mcp.engine.embedded.disk import Disk, advice
from mq9_mcp.engine.embedded.frame import (
    FRAME_HEADER,
    RECORD_HEADER,
    SEGMENT_HEADER,
    Frame,
    encode_frame,
    record_header,
)
from mq9_mcp.engine.embedded.segments import (
    OFFSET_BITS,
    Segment,
    close_segments,
    create_segment,
    open_segments,
    scan,
)

T = TypeVar("T")

SEGMENT_BYTES = 16 * 1024 * 1024
BATCH_BYTES = 8 * 1024 * 1024  # a commit larger than this is split: its callers wait for the disk
INLINE_S = 0.002  # commits up to this long are written on the event loop: two thread switches cost more
RECENT_BYTES = 4 * 1024 * 1024  # what is fetched is mostly new; more would not stay in the processor's cache
_RETRY_S = 0.1
log = logging.getLogger("mq9.journal")


def _as_os_error(error: Exception) -> OSError:
    """``error``, or for a fault of ours, which is logged, an input/output error that names it."""
    if isinstance(error, OSError):
        return error
    log.error("a commit could not be written", exc_info=error)
    return OSError(errno.EIO, f"{os.strerror(errno.EIO)}: {type(error).__name__}")


def not_written(error: OSError) -> Unavailable:
    """What the callers of a failed commit are told."""
    return Unavailable(
        "STORAGE_UNAVAILABLE",
        f"the change could not be written: {error.strerror}; nothing was stored",
        advice(error),
    )


class Batch:
    """The records of one commit, and who waits for it."""

    __slots__ = (
        "at",
        "count",
        "end",
        "error",
        "first_seq",
        "full_at",
        "offset",
        "pieces",
        "segment",
        "size",
        "waiters",
    )

    def __init__(self, segment: Segment, first_seq: int) -> None:
        begin = segment.number << OFFSET_BITS
        self.segment = segment
        self.offset = segment.end
        self.first_seq = first_seq
        self.end = begin + segment.end + FRAME_HEADER  # position of the next record
        self.full_at = begin + min(segment.size, segment.end + BATCH_BYTES)  # no record may reach beyond it
        self.size = 0  # bytes on disk, once it is written
        self.count = 0  # records
        self.pieces: list[bytes] = []  # of the records: joined when all are there
        self.at = 0  # broker time of the last record
        self.waiters: list[tuple[asyncio.Future[Any], Any]] = []  # each with what it is to be done with
        self.error: OSError | None = None

    @property
    def last_seq(self) -> int:
        """The sequence of the last record."""
        return self.first_seq + self.count - 1

    def seal(self) -> None:
        """It takes no more records; what comes next lies behind it."""
        self.segment.end = self.end - (self.segment.number << OFFSET_BITS)

    def release(self) -> None:
        """It is written, or has failed: let those who wait go on."""
        error = self.error
        for waiter, reply in self.waiters:
            if not waiter.done():
                if error is None:
                    waiter.set_result(reply)
                else:
                    waiter.set_exception(not_written(error))
                    waiter.exception()  # unheard if its caller hangs up in this moment, and no fault then


class Journal:
    """The open journal of one data directory. All methods but the thread's belong to the event loop."""

    def __init__(
        self,
        folder: Path,
        on_commit: Callable[[Batch], None],
        on_failure: Callable[[OSError], None],
        segment_bytes: int = SEGMENT_BYTES,
        disk: Disk | None = None,
    ) -> None:
        self.folder = folder
        self.disk = disk or Disk()
        self.segment_bytes = segment_bytes
        self.segments: list[Segment] = []
        self.by_number: dict[int, Segment] = {}
        self.last_seq = 0
        self.durable_seq = 0
        self.cut_bytes = 0
        self._on_commit = on_commit
        self._on_failure = on_failure
        self._hash = b""
        self._recent: dict[int, bytes] = {}
        self._before: dict[int, bytes] = {}  # what was recent until the last change of generations
        self._recent_bytes = 0
        self._forming: Batch | None = None
        self._ready: deque[Batch] = deque()
        self._writing: Batch | None = None
        self._scheduled = False
        self._sync_s = 0.0  # how long a commit takes on this disk, smoothed
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop

    def open(self, visit: Callable[[Segment, Frame], None], at_least: int = 0) -> None:
        """Read and check what is there, or begin a new journal; it must go as far as ``at_least``."""
        self.disk.make_folder(self.folder)
        self.segments = open_segments(self.folder)
        try:
            tail = scan(self.disk, self.segments, visit, at_least)
        except BaseException:
            close_segments(self.segments)
            self.segments = []
            raise
        if not self.segments:
            self.segments.append(create_segment(self.disk, self.folder, 1, 1, self.segment_bytes))
        self._hash, self.cut_bytes = tail.hash, tail.cut_bytes
        self.by_number = {segment.number: segment for segment in self.segments}
        self.last_seq = self.durable_seq = self.segments[-1].last_seq

    def start(self) -> None:
        """Begin to write; from here on only the running event loop may call."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="mq9-journal", daemon=True)
        self._thread.start()

    def append(self, encoded: bytes, bodies: list[bytes], body_bytes: int, at: int) -> int:
        """Add one record of broker time ``at`` to the commit that is being gathered.

        ``bodies`` have ``body_bytes`` together. Returns the position of the first one; raises
        ``Unavailable`` if there is no room.
        """
        length = len(encoded)
        batch, size = self._forming, RECORD_HEADER + length + body_bytes
        if batch is None or batch.end + size > batch.full_at:
            batch = self._begin(size)
        begin, pieces = batch.end, batch.pieces
        batch.end = begin + size
        batch.at = at
        batch.count += 1
        pieces.append(record_header(length, body_bytes))
        pieces.append(encoded)
        if body_bytes:
            pieces += bodies
        self.last_seq += 1
        return begin + RECORD_HEADER + length

    def _begin(self, size: int) -> Batch:
        """A new commit with room for a record of ``size`` bytes, to be written in a moment."""
        if self._forming is not None:
            self._forming.seal()
        segment = self.segments[-1]
        if segment.end + FRAME_HEADER + size > segment.size:
            segment = self._new_segment(size)
        if self._forming is not None:
            self._ready.append(self._forming)
        self._forming = Batch(segment, self.last_seq + 1)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._hand_over)
        return self._forming

    def _new_segment(self, size: int) -> Segment:
        needed = max(self.segment_bytes, size + FRAME_HEADER + SEGMENT_HEADER)
        number = self.segments[-1].number + 1
        try:
            quick = self._sync_s <= INLINE_S  # on a slow disk the loop must not wait for so much
            segment = create_segment(self.disk, self.folder, number, self.last_seq + 1, needed, quick)
        except OSError as error:
            raise Unavailable(
                "STORAGE_UNAVAILABLE",
                f"the journal cannot grow by {needed} bytes: {error.strerror}; nothing was stored",
                advice(error),
            ) from error
        self.segments.append(segment)
        self.by_number[number] = segment
        return segment

    def promise(self, reply: T) -> asyncio.Future[T]:
        """A future of ``reply``, to be had once everything appended so far is on disk.

        It raises ``Unavailable`` if that cannot be written.
        """
        future: asyncio.Future[T] = asyncio.Future()
        batch = self._forming
        if batch is None:
            if self.last_seq == self.durable_seq:
                future.set_result(reply)
                return future
            batch = self._ready[-1] if self._ready else self._writing
            assert batch is not None
        batch.waiters.append((future, reply))
        return future

    async def stored(self) -> None:
        """Return when everything appended so far is on disk; raise ``Unavailable`` if that failed."""
        if self.last_seq != self.durable_seq:
            await self.promise(None)

    def remember(self, position: int, bodies: list[bytes]) -> None:
        """Keep bodies that were just appended at hand: they are often read at once."""
        recent, begin = self._recent, position
        for body in bodies:
            recent[position] = body
            position += len(body)
        self._recent_bytes += position - begin
        if self._recent_bytes > RECENT_BYTES // 2:
            self._before, self._recent, self._recent_bytes = recent, {}, 0

    def read(self, position: int, size: int) -> bytes | None:
        """``size`` bytes of a body at ``position``; None if its segment is gone."""
        recent = self._recent.get(position) or self._before.get(position)
        if recent is not None:
            return recent
        segment = self.by_number.get(position >> OFFSET_BITS)
        if segment is None:
            return None
        return os.pread(segment.fd, size, position & ((1 << OFFSET_BITS) - 1))

    def _hand_over(self) -> None:
        self._scheduled = False
        if self._writing is not None:
            return
        if self._ready:
            self._writing = self._ready.popleft()
        else:
            self._writing, self._forming = self._forming, None
        if self._writing is None:
            return
        batch = self._writing
        batch.seal()
        if self._sync_s <= INLINE_S:
            batch.error = self._write(batch)
            if batch.error is None:
                self._written(batch)
                return
        self._queue.put(batch)

    def _run(self) -> None:
        while (batch := self._queue.get()) is not None:
            batch.error = batch.error or self._write(batch)
            if batch.error is not None:
                self._cut(batch)
            self._loop.call_soon_threadsafe(self._written, batch)

    def _write(self, batch: Batch) -> OSError | None:
        begin = time.perf_counter()
        try:
            frame, digest = encode_frame(
                batch.segment.salt, batch.first_seq, batch.count, batch.pieces, self._hash
            )
            batch.size = len(frame)
            self.disk.write(batch.segment.fd, frame, batch.offset)
            self.disk.sync(batch.segment.fd)
        except Exception as error:  # a fault of ours as well: nobody may wait for ever
            self._sync_s = 10 * INLINE_S
            return _as_os_error(error)
        self._sync_s += (time.perf_counter() - begin - self._sync_s) / 8
        self._hash = digest
        return None

    def _cut(self, batch: Batch) -> None:
        """Take a failed commit back. Until that is done nobody is told that it failed."""
        waiting = threading.Event()
        while True:
            try:
                self.disk.cut(batch.segment.fd, batch.offset, batch.segment.size)
                return
            except OSError:
                if self._thread is None:
                    return
                waiting.wait(_RETRY_S)

    def _written(self, batch: Batch) -> None:
        self._writing = None
        if batch.error is not None:
            self._fail(batch, batch.error)
            return
        self.durable_seq = batch.segment.last_seq = batch.last_seq
        batch.segment.last_at = batch.at
        self._on_commit(batch)
        batch.release()
        self._hand_over()

    def _fail(self, batch: Batch, error: OSError) -> None:
        """Nothing after the last durable record happened: forget it and tell everybody who waits."""
        failed = [batch, *self._ready, *([self._forming] if self._forming else [])]
        self._ready.clear()
        self._recent, self._before, self._recent_bytes = {}, {}, 0
        self._forming = None
        self.last_seq = self.durable_seq
        while self.segments[-1] is not batch.segment:
            unused = self.segments.pop()
            del self.by_number[unused.number]
            close_segments([unused])
            with contextlib.suppress(OSError):  # it is made anew, or found to be blank at the next start
                self.disk.remove(unused.path)
        batch.segment.end = batch.offset
        self._on_failure(error)
        for one in failed:
            one.error = error
            one.release()

    def drop_oldest(self) -> None:
        """Delete the oldest segment; everything in it is folded. Raises if it cannot be deleted."""
        segment = self.segments[0]
        self.disk.remove(segment.path)
        del self.segments[0], self.by_number[segment.number]
        close_segments([segment])

    async def close(self) -> None:
        """Write what was appended, stop the thread, close the files."""
        if self._thread is not None:
            with contextlib.suppress(Unavailable):
                await self.stored()
            self._queue.put(None)
            thread, self._thread = self._thread, None
            await asyncio.to_thread(thread.join)
        close_segments(self.segments)
        self.segments = []
