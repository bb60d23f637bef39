"""The journal's files checked by a second reading of their format, which shares no code with the broker."""

from __future__ import annotations

import hashlib
import struct
import zlib
from itertools import pairwise
from pathlib import Path

SEGMENT_BYTES = 64
FRAME = struct.Struct("<4sIIIQ32s")  # magic, crc, payload bytes, records, first record, hash before


def commits(journal: Path) -> dict[int, bytes]:
    """The hash of every commit by its first record; fails where the chain is broken.

    Only the last file may end in something that is no commit, or be blank.
    """
    found: dict[int, bytes] = {}
    chain: bytes | None = None
    expected: int | None = None
    paths = sorted(journal.glob("*.mq9"))
    numbers = [int(path.stem) for path in paths]
    assert all(later == former + 1 for former, later in pairwise(numbers)), f"segments {numbers}"
    for path in paths:
        data = path.read_bytes()
        if path == paths[-1] and not data.strip(b"\0"):
            continue  # it was being made
        magic, _, _, _, first, salt = struct.unpack_from("<12sHHQQ16s", data)
        assert magic == b"mq9-journal\n", path.name
        blank = not data[SEGMENT_BYTES:].strip(b"\0")
        if blank and path.name != paths[0].name:
            continue  # made ahead
        assert expected in (None, first), f"{path.name} begins with {first} instead of {expected}"
        at, expected = SEGMENT_BYTES, first
        while (size := _frame_at(data, at, salt, expected)) is not None:
            _, _, _, records, seq, before = FRAME.unpack_from(data, at)
            assert chain in (None, before), f"{path.name} at {at}: the chain is broken"
            chain = found[seq] = hashlib.sha256(data[at : at + size]).digest()
            at, expected = at + size, seq + records
    return found


def _frame_at(data: bytes, at: int, salt: bytes, expected: int) -> int | None:
    """The size of the whole commit that lies at ``at``; None if there is none."""
    if len(data) < at + FRAME.size or data[at : at + 4] != b"mq9c":
        return None
    crc: int
    size: int
    _, crc, size, records, seq, before = FRAME.unpack_from(data, at)
    body = data[at + FRAME.size : at + FRAME.size + size]
    covered = salt + seq.to_bytes(8, "little") + records.to_bytes(4, "little") + before + body
    if len(body) != size or seq != expected or zlib.crc32(covered) != crc:
        return None
    return FRAME.size + size
