"""A place in the journal's files and what comes after it, read a piece at a time while others write.

A piece is small, so that neither a reader far behind nor many readers hold up or fill the process.
"""

from __future__ import annotations

import os

from mq9_mcp.engine.embedded.frame import SEGMENT_HEADER, Damaged, frame_bytes, read_frame
from mq9_mcp.engine.embedded.replay import Entry, entries
from mq9_mcp.engine.embedded.segments import Segment

PIECE_BYTES = 128 * 1024


class Follower:
    """Reads the records after ``seq`` in order."""

    def __init__(self, seq: int, piece_bytes: int = PIECE_BYTES) -> None:
        self.seq = seq
        self._piece_bytes = piece_bytes
        self._number = 0  # of the segment where the last read ended
        self._offset = SEGMENT_HEADER

    def read(self, segments: list[Segment], durable: int) -> list[Entry]:
        """The next records up to ``durable``, of a piece or one commit.

        None may be among what was read: then there are more, unless ``seq`` is ``durable``. The journal
        must not begin after ``seq``.
        """
        if self.seq >= durable:
            return []
        segment = [one for one in segments if one.first_seq <= self.seq + 1][-1]
        if segment.number != self._number:
            self._number, self._offset = segment.number, SEGMENT_HEADER
        start = self._offset
        data = self._piece(segment)
        found: list[Entry] = []
        while (frame := read_frame(data, self._offset - start, segment.salt)) is not None:
            if frame.first_seq > durable:
                break
            frame = frame._replace(offset=frame.offset + start, end=frame.end + start)
            self._offset = frame.end
            if frame.first_seq + frame.records > self.seq + 1:
                found += [entry for entry in entries(segment, frame) if entry.seq > self.seq]
                self.seq = found[-1].seq
        if self._offset == start:
            raise Damaged(f"record {self.seq + 1} is not in the journal")
        return found

    def _piece(self, segment: Segment) -> bytes:
        data = os.pread(segment.fd, min(self._piece_bytes, segment.end - self._offset), self._offset)
        needed = frame_bytes(data)
        return data if needed <= len(data) else os.pread(segment.fd, needed, self._offset)
