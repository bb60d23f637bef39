"""A commit of whole records, as the journal puts it together piece by piece."""

from __future__ import annotations

from mq9_mcp.engine.embedded.frame import encode_frame, record_header

Record = tuple[bytes, list[bytes]]  # events, bodies


def encode_records(
    salt: bytes, first_seq: int, records: list[Record], previous: bytes
) -> tuple[bytes, bytes]:
    """``(frame, hash)`` of one commit."""
    pieces = []
    for events, bodies in records:
        pieces += [record_header(len(events), sum(map(len, bodies))), events, *bodies]
    return encode_frame(salt, first_seq, len(records), pieces, previous)
