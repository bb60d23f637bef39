"""The journal's files: named by number, preallocated, read back and checked, deleted when folded.

A position is ``number << 32 | offset``: where a body lies in the journal.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from mq9_mcp.engine.embedded.disk import Disk
from mq9_mcp.engine.embedded.frame import (
    FIRST_HASH,
    SEGMENT_HEADER,
    Damaged,
    Frame,
    SegmentHeader,
    decode_header,
    encode_header,
    is_torn_header,
    read_frame,
)
from mq9_mcp.engine.embedded.torn import damage_in

JOURNAL_FOLDER = "journal"
OFFSET_BITS = 32
SUFFIX = ".mq9"


class Segment:
    """One open segment file."""

    def __init__(self, path: Path, fd: int, header: SegmentHeader, size: int) -> None:
        self.path = path
        self.fd = fd
        self.number = header.number
        self.first_seq = header.first_seq
        self.last_seq = header.first_seq - 1
        self.salt = header.salt
        self.size = size
        self.end = SEGMENT_HEADER  # where the next frame goes
        self.last_at = 0  # broker time of its last event


class Tail(NamedTuple):
    """Where the journal ends: the hash of its last commit, and bytes of an unfinished one cut off."""

    hash: bytes
    cut_bytes: int


def segment_path(folder: Path, number: int) -> Path:
    """The file of segment ``number``."""
    return folder / f"{number:010d}{SUFFIX}"


def create_segment(
    disk: Disk, folder: Path, number: int, first_seq: int, size: int, clear: bool = True
) -> Segment:
    """A new, preallocated segment whose name and header are on disk.

    To ``clear`` it takes as long as writing it, and makes each of its syncs shorter by a third.
    """
    header = SegmentHeader(number, first_seq, secrets.token_bytes(16))
    path = segment_path(folder, number)
    disk.remove(path)  # what an attempt left behind that failed, and could not be taken back
    fd = disk.allocate(path, size)
    try:
        if clear:
            disk.clear(fd, size)
        disk.write(fd, encode_header(header), 0)
        disk.sync_file(fd)
        disk.sync_folder(folder)
    except OSError:
        os.close(fd)
        with contextlib.suppress(OSError):
            disk.remove(path)
        raise
    return Segment(path, fd, header, size)


def open_segments(folder: Path, write: bool = True) -> list[Segment]:
    """All segments of ``folder`` in order; a last file with nothing in it was being made.

    Who may ``write`` removes it; who reads behind the writer takes no notice of it.
    """
    segments: list[Segment] = []
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    try:
        for path in paths:
            try:
                fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                if write:
                    raise
                # The writer deleted it since it was listed, and those before it: the oldest go first.
                close_segments(segments)
                segments.clear()
                continue
            size = os.fstat(fd).st_size
            if path == paths[-1] and is_unmade(fd, size):
                os.close(fd)
                if write:
                    path.unlink()
                continue
            try:
                header = _read_header(path, fd, segments)
            except Damaged:
                os.close(fd)
                raise
            segments.append(Segment(path, fd, header, size))
    except BaseException:
        close_segments(segments)
        raise
    return segments


def is_unmade(fd: int, size: int) -> bool:
    """True if a segment's file has no whole header, and nothing else either: it was being made."""
    head = os.pread(fd, SEGMENT_HEADER, 0)
    return is_torn_header(head) and is_blank(os.pread(fd, size, SEGMENT_HEADER))


def _read_header(path: Path, fd: int, before: list[Segment]) -> SegmentHeader:
    header = decode_header(os.pread(fd, SEGMENT_HEADER, 0), path.name)
    expected = segment_path(path.parent, header.number)
    if path != expected:
        raise Damaged(f"{path.name}: holds segment {header.number}, which belongs in {expected.name}")
    if before and header.number != before[-1].number + 1:
        raise Damaged(
            f"segment {before[-1].number + 1} is missing: {before[-1].path.name} is followed by {path.name}"
        )
    return header


def close_segments(segments: list[Segment]) -> None:
    """Close the files."""
    for segment in segments:
        os.close(segment.fd)


def scan(
    disk: Disk, segments: list[Segment], visit: Callable[[Segment, Frame], None], at_least: int = 0
) -> Tail:
    """Check every frame, show each to ``visit`` in order, cut an unfinished last one off.

    Raises ``Damaged`` where something that was committed is not there any more: a frame that does
    not match its checksum, its sequence or the hash chain, or an end before record ``at_least``.
    """
    unused = _take_blank(segments)
    chain: bytes | None = None
    data = b""
    for index, segment in enumerate(segments):
        following = segments[index + 1] if index + 1 < len(segments) else None
        data = os.pread(segment.fd, segment.size, 0)
        for frame in _frames(segment, data):
            if following is not None and frame.first_seq >= following.first_seq:
                break  # a commit that failed and was written anew in the next segment
            if chain is not None and frame.previous != chain:
                raise Damaged(_where(segment, frame.offset, "the hash chain is broken"))
            chain = frame.hash
            segment.end = frame.end
            segment.last_seq = frame.first_seq + frame.records - 1
            visit(segment, frame)
        if following is not None and segment.last_seq + 1 != following.first_seq:
            raise Damaged(
                _where(segment, segment.end, f"commit {segment.last_seq + 1} is damaged or missing")
                + f"; {following.path.name} goes on with {following.first_seq}"
            )
    cut = _cut_tail(disk, segments, data, chain, at_least)
    _put_back(disk, segments, unused)
    return Tail(chain if chain is not None else FIRST_HASH, cut)


def _take_blank(segments: list[Segment]) -> list[Segment]:
    """Take the last segments out of the list that have a header and nothing else, but the first of all.

    A segment is made when a record finds no room, and the commit before it may still be to be written:
    after a crash it can begin beyond the end of the journal, and nothing was ever in it.
    """
    blank: list[Segment] = []
    while len(segments) > 1 and is_blank(os.pread(segments[-1].fd, segments[-1].size, SEGMENT_HEADER)):
        blank.insert(0, segments.pop())
    return blank


def is_blank(data: bytes) -> bool:
    """True if no byte of ``data`` was ever written."""
    return not data.strip(b"\0")


def _put_back(disk: Disk, segments: list[Segment], blank: list[Segment]) -> None:
    """A blank segment that goes on where the journal ends is its last one; others are deleted."""
    if blank and blank[0].first_seq == segments[-1].last_seq + 1:
        segments.append(blank.pop(0))
    for segment in reversed(blank):
        close_segments([segment])
        disk.remove(segment.path)


def _frames(segment: Segment, data: bytes) -> Iterator[Frame]:
    offset, seq = SEGMENT_HEADER, segment.first_seq
    while True:
        frame = read_frame(data, offset, segment.salt)
        if frame is None or frame.first_seq != seq:
            return
        yield frame
        offset, seq = frame.end, seq + frame.records


def _cut_tail(disk: Disk, segments: list[Segment], data: bytes, chain: bytes | None, at_least: int) -> int:
    """Cut an unfinished last commit off, unless it is a whole one that was damaged, or needed."""
    last = segments[-1].last_seq if segments else 0
    rest = data[segments[-1].end :] if segments else b""
    if not rest.strip(b"\0"):
        if last < at_least:
            raise Damaged(
                f"the journal ends with record {last}, the tables hold {at_least}: "
                "its last segments are missing or were cut"
            )
        return 0
    segment = segments[-1]
    what = damage_in(rest, segment.end, segment.salt, last + 1, chain)
    if what is None and last < at_least:
        what = f"commit {last + 1} is damaged, as the tables hold records up to {at_least}"
    if what is not None:
        raise Damaged(_where(segment, segment.end, what))
    disk.cut(segment.fd, segment.end, segment.size)
    return len(rest.rstrip(b"\0"))


def _where(segment: Segment, offset: int, what: str) -> str:
    return f"{segment.path.name} at byte {offset}: {what}"


def frames_after(segments: list[Segment], after: int, durable: int) -> Iterator[tuple[Segment, Frame]]:
    """The frames that hold records after ``after`` and up to ``durable``, in order."""
    for segment in list(segments):
        if segment.last_seq <= after or segment.first_seq > durable or segment not in segments:
            continue  # the last: it was deleted while the caller had a frame of an earlier one
        data = os.pread(segment.fd, segment.end, 0)
        for frame in _frames(segment, data):
            if frame.first_seq > durable:
                return
            if frame.first_seq + frame.records - 1 > after:
                yield segment, frame
