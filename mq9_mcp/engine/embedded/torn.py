"""What lies after the last sound commit: the start of an unfinished one, or damage to one that was whole?

A write that power loss cuts short leaves zeros where it did not arrive, as a segment is all zeros at
first: behind a byte, or in whole sectors. So whatever lies there and is neither a zero nor what must
lie there, or is whole and does not fit, was changed after it was written. Pure.
"""

from __future__ import annotations

from mq9_mcp.engine.embedded.frame import (
    FRAME_HEADER,
    FRAME_MAGIC,
    Frame,
    frame_bytes,
    known_header,
    read_frame,
    with_length,
)

SECTOR = 512


def damage_in(rest: bytes, at: int, salt: bytes, seq: int, chain: bytes | None) -> str | None:
    """Why ``rest``, the bytes from offset ``at`` on, is no unfinished commit; None if it can be one.

    ``seq`` and ``chain`` are what the commit there would have: its first record, the hash before it.
    """
    rest = rest.rstrip(b"\0")
    if not rest:
        return None
    later = next_sound(rest + bytes(FRAME_HEADER), 0, salt)
    if later is not None:
        return f"commit {seq} does not match its checksum, but {later.first_seq} does"
    known = known_header(seq, chain)
    if any(byte not in (0, known.get(index, byte)) for index, byte in enumerate(rest[:FRAME_HEADER])):
        return f"the header of commit {seq} is not what was written"
    if _has_gap(rest, at):
        return None
    size = frame_bytes(rest)
    if len(rest) == size:
        return f"commit {seq} is all there and does not match its checksum"
    if 0 < size < len(rest):
        return f"commit {seq} does not match its checksum, and something was written after it"
    if len(rest) > FRAME_HEADER and read_frame(with_length(rest), 0, salt) is not None:
        return f"commit {seq} is not as long as it says"
    return None


def next_sound(data: bytes, start: int, salt: bytes) -> Frame | None:
    """The first sound commit at or after ``start``."""
    at = data.find(FRAME_MAGIC, start)
    while at >= 0:
        frame = read_frame(data, at, salt)
        if frame is not None:
            return frame
        at = data.find(FRAME_MAGIC, at + 1)
    return None


def _has_gap(rest: bytes, at: int) -> bool:
    """True if a sector, as far as ``rest`` covers it, holds nothing: it may never have been written."""
    start = 0
    while start < len(rest):
        end = start + SECTOR - (at + start) % SECTOR
        if not rest[start:end].strip(b"\0"):
            return True
        start = end
    return False
