"""The bytes of the journal: a segment's header, a commit's frame, a record in it. Pure encode and decode.

A commit is one frame: magic, CRC, length, number of records, first sequence, hash of the commit
before it, then the records. The CRC also covers the segment's random salt, so that no message body
can look like a frame. A record is two lengths, its events as JSON, and the bodies they speak of.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from mq9_mcp.domain.events import RECORD_VERSION

SEGMENT_MAGIC = b"mq9-journal\n"
FRAME_MAGIC = b"mq9c"
HASH_BYTES = 32
FIRST_HASH = bytes(HASH_BYTES)

_segment = struct.Struct("<12sHHQQ16s")  # magic, version, spare, segment number, first sequence, salt
_frame = struct.Struct("<4sIIIQ32s")  # magic, crc, payload bytes, records, first sequence, previous hash
_record = struct.Struct("<II")  # bytes of events, bytes of bodies

SEGMENT_HEADER = 64
FRAME_HEADER = _frame.size
RECORD_HEADER = _record.size


class Damaged(Exception):
    """The journal is not what was written; the text says where and how."""


class Newer(Damaged):
    """It was written by a later version of mq9-mcp; nothing is wrong with it."""


class SegmentHeader(NamedTuple):
    """What a segment says of itself."""

    number: int
    first_seq: int
    salt: bytes


class Frame(NamedTuple):
    """One commit as found in a segment."""

    offset: int
    first_seq: int
    records: int
    payload: bytes
    hash: bytes
    end: int
    previous: bytes  # the hash that it says the commit before it had


class Record(NamedTuple):
    """One command's events as they lie in a frame; ``bodies_at`` is the offset in the segment."""

    seq: int
    events: bytes
    bodies: bytes
    bodies_at: int


def encode_header(header: SegmentHeader) -> bytes:
    """The first bytes of a segment."""
    packed = _segment.pack(SEGMENT_MAGIC, RECORD_VERSION, 0, header.number, header.first_seq, header.salt)
    return packed + zlib.crc32(packed).to_bytes(4, "little") + bytes(SEGMENT_HEADER - len(packed) - 4)


def decode_header(data: bytes, name: str) -> SegmentHeader:
    """The header of a segment, or ``Damaged``."""
    size = _segment.size
    if len(data) < SEGMENT_HEADER or data[:12] != SEGMENT_MAGIC:
        raise Damaged(f"{name}: is no journal segment (its first bytes are {data[:12]!r})")
    if zlib.crc32(data[:size]).to_bytes(4, "little") != data[size : size + 4]:
        raise Damaged(f"{name}: the segment header does not match its checksum")
    if any(data[size + 4 : SEGMENT_HEADER]):
        raise Damaged(f"{name}: the segment header has bytes after its checksum")
    _, version, _, number, first_seq, salt = _segment.unpack(data[:size])
    if version > RECORD_VERSION:
        raise Newer(
            f"{name}: has record format {version}, this version of mq9-mcp reads up to {RECORD_VERSION}"
        )
    return SegmentHeader(number, first_seq, salt)


def is_torn_header(data: bytes) -> bool:
    """True for the header of a segment that was not written, or not to its end."""
    size = _segment.size
    magic = data[: len(SEGMENT_MAGIC)].rstrip(b"\0")
    whole = zlib.crc32(data[:size]).to_bytes(4, "little") == data[size : size + 4]
    return SEGMENT_MAGIC.startswith(magic) and (not magic or not whole)


record_header = _record.pack  # (bytes of events, bytes of bodies): both follow it in a record


def encode_frame(
    salt: bytes, first_seq: int, count: int, pieces: list[bytes], previous: bytes
) -> tuple[bytes, bytes]:
    """``(frame, hash)`` of one commit: ``count`` records, which ``pieces`` joined are."""
    payload = b"".join(pieces)
    crc = _crc(salt, first_seq, count, payload, previous)
    header = _frame.pack(FRAME_MAGIC, crc, len(payload), count, first_seq, previous)
    return header + payload, _hash(header, payload)


def _crc(salt: bytes, first_seq: int, count: int, payload: bytes, previous: bytes) -> int:
    seed = zlib.crc32(salt + first_seq.to_bytes(8, "little") + count.to_bytes(4, "little") + previous)
    return zlib.crc32(payload, seed)


def _hash(header: bytes, payload: bytes) -> bytes:
    digest = hashlib.sha256(header)
    digest.update(payload)
    return digest.digest()


def read_frame(data: bytes, offset: int, salt: bytes) -> Frame | None:
    """The whole and sound frame at ``offset``, or None."""
    if offset + FRAME_HEADER > len(data):
        return None
    header = data[offset : offset + FRAME_HEADER]
    magic, crc, length, count, first_seq, previous = _frame.unpack(header)
    end = offset + FRAME_HEADER + length
    if magic != FRAME_MAGIC or end > len(data):
        return None
    payload = data[offset + FRAME_HEADER : end]
    if _crc(salt, first_seq, count, payload, previous) != crc:
        return None
    return Frame(offset, first_seq, count, payload, _hash(header, payload), end, previous)


def frame_bytes(data: bytes) -> int:
    """How long the frame that begins with ``data`` says it is; 0 if none begins there."""
    if len(data) < FRAME_HEADER or data[:4] != FRAME_MAGIC:
        return 0
    return FRAME_HEADER + int(_frame.unpack_from(data)[2])


def known_header(first_seq: int, previous: bytes | None) -> dict[int, int]:
    """Those bytes of a frame's header, by offset, that are known before it is written."""
    packed = _frame.pack(FRAME_MAGIC, 0, 0, 0, first_seq, previous or FIRST_HASH)
    hash_at = FRAME_HEADER - HASH_BYTES
    ends = [(0, len(FRAME_MAGIC)), (hash_at - 8, hash_at if previous is None else FRAME_HEADER)]
    return {index: packed[index] for start, end in ends for index in range(start, end)}


def with_length(data: bytes) -> bytes:
    """``data``, which begins with a frame's header, as if its frame ended where ``data`` does."""
    magic, crc, _, *others = _frame.unpack_from(data)
    return _frame.pack(magic, crc, len(data) - FRAME_HEADER, *others) + data[FRAME_HEADER:]


def records(frame: Frame) -> Iterator[Record]:
    """The records of a sound frame, in order; ``Damaged`` where its payload is none."""
    payload, at = frame.payload, 0
    for seq in range(frame.first_seq, frame.first_seq + frame.records):
        if at + RECORD_HEADER > len(payload):
            raise Damaged(f"the commit ends before record {seq}")
        events, bodies = _record.unpack_from(payload, at)
        at += RECORD_HEADER
        bodies_at = at + events
        if bodies_at + bodies > len(payload):
            raise Damaged(f"record {seq} is longer than its commit")
        yield Record(
            seq,
            payload[at:bodies_at],
            payload[bodies_at : bodies_at + bodies],
            frame.offset + FRAME_HEADER + bodies_at,
        )
        at = bodies_at + bodies
    if at != len(payload):
        raise Damaged(f"there are {len(payload) - at} bytes behind the last record of the commit")
