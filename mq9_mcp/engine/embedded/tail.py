"""Reading the journal's files behind the one who writes them, from where the last read ended."""

from __future__ import annotations

import os
from pathlib import Path

from mq9_mcp.engine.embedded.frame import SEGMENT_HEADER, Damaged, Frame, frame_bytes, read_frame
from mq9_mcp.engine.embedded.replay import Entry, entries
from mq9_mcp.engine.embedded.segments import Segment, close_segments, open_segments

CHUNK = 1024 * 1024


class Tail:
    """The records after ``seq``, as far as the writer says that they are on disk."""

    def __init__(self, folder: Path, seq: int) -> None:
        self.folder = folder
        self.seq = seq
        self.hash = b""  # of the last commit that was read
        self._segment: Segment | None = None
        self._offset = SEGMENT_HEADER
        self._data = b""
        self._data_at = 0

    def read(self, upto: int, most_bytes: int) -> list[Entry]:
        """The next records, of ``most_bytes`` and a commit at most; nothing beyond ``upto``."""
        found: list[Entry] = []
        left = most_bytes
        while self.seq < upto and left > 0:
            frame = self._next_frame()
            left -= len(frame.payload)
            assert self._segment is not None
            for entry in entries(self._segment, frame):
                if entry.seq > self.seq:
                    found.append(entry)
                    self.seq = entry.seq
        # What lies beyond ``upto`` may be taken back and written anew: read it again next time.
        self._data = b""
        return found

    def _next_frame(self) -> Frame:
        """The frame that holds the record after ``seq``."""
        while True:
            frame = self._frame_here()
            if frame is None:
                self._find_segment()
                continue
            self._offset, self.hash = frame.end, frame.hash
            if frame.first_seq + frame.records - 1 > self.seq:
                return frame

    def _frame_here(self) -> Frame | None:
        segment = self._segment
        if segment is None:
            return None
        frame = self._frame_in_data(segment)
        if frame is None:
            self._data_at = self._offset
            self._data = os.pread(segment.fd, CHUNK, self._offset)
            needed = frame_bytes(self._data)
            if needed > len(self._data):
                self._data = os.pread(segment.fd, needed, self._offset)
            frame = self._frame_in_data(segment)
        return frame if frame is not None and frame.first_seq <= self.seq + 1 else None

    def _frame_in_data(self, segment: Segment) -> Frame | None:
        frame = read_frame(self._data, self._offset - self._data_at, segment.salt)
        if frame is None:
            return None
        return frame._replace(offset=frame.offset + self._data_at, end=frame.end + self._data_at)

    def _find_segment(self) -> None:
        """Go to the start of the segment where the next record lies."""
        before = self._segment.number if self._segment is not None else 0
        segments = open_segments(self.folder, write=False)
        wanted = [segment for segment in segments if segment.first_seq <= self.seq + 1]
        if not wanted or wanted[-1].number == before:
            close_segments(segments)
            raise Damaged(f"record {self.seq + 1} is not in the journal")
        if self._segment is not None:
            close_segments([self._segment])
        self._segment = wanted[-1]
        close_segments([segment for segment in segments if segment is not self._segment])
        self._offset, self._data, self._data_at = SEGMENT_HEADER, b"", 0

    def close(self) -> None:
        """Close the file."""
        if self._segment is not None:
            close_segments([self._segment])
            self._segment = None
