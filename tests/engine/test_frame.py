"""The journal's bytes: what goes in comes out, and nothing else is ever taken for it."""

from __future__ import annotations

import typing
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mq9_mcp.domain import events as e
from mq9_mcp.engine.embedded.frame import (
    FIRST_HASH,
    FRAME_HEADER,
    FRAME_MAGIC,
    HASH_BYTES,
    SEGMENT_HEADER,
    Damaged,
    SegmentHeader,
    decode_header,
    encode_header,
    read_frame,
    records,
)
from mq9_mcp.engine.embedded.replay import encode_events
from tests.engine.frames import encode_records

SALT = bytes(range(16))
Pieces = list[tuple[bytes, list[bytes]]]

numbers = st.integers(0, 2**53)
texts = st.text(max_size=20)
mails = st.builds(
    e.Mail,
    id=numbers,
    mailbox=numbers,
    tier=st.integers(0, 2),
    visible_at=numbers,
    size=numbers,
    sender=texts,
    position=numbers,
    expires_at=st.none() | numbers,
    session=st.none() | texts,
    tags=st.none() | st.lists(texts, max_size=3).map(tuple),
    extra=st.none() | st.builds(e.Extra, state_key=st.none() | texts, only_group=st.none() | texts),
)
pieces = st.lists(st.tuples(st.binary(max_size=60), st.lists(st.binary(max_size=60), max_size=3)), max_size=5)


def frame_of(some: Pieces, first_seq: int = 7, previous: bytes = FIRST_HASH) -> bytes:
    """The frame of these records."""
    return encode_records(SALT, first_seq, some, previous)[0]


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.binary(min_size=16, max_size=16))
def test_a_segment_header_comes_back(number: int, first_seq: int, salt: bytes) -> None:
    header = SegmentHeader(number, first_seq, salt)
    data = encode_header(header)
    assert len(data) == SEGMENT_HEADER
    assert decode_header(data, "file") == header


@given(st.integers(0, 51), st.integers(0, 7))
def test_a_flipped_bit_in_a_segment_header_is_found(index: int, bit: int) -> None:
    data = bytearray(encode_header(SegmentHeader(1, 1, SALT)))
    data[index] ^= 1 << bit
    with pytest.raises(Damaged, match="file"):
        decode_header(bytes(data), "file")


def test_a_journal_of_a_later_version_is_refused_with_both_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mq9_mcp.engine.embedded.frame.RECORD_VERSION", e.RECORD_VERSION + 1)
    data = encode_header(SegmentHeader(1, 1, SALT))
    monkeypatch.undo()
    with pytest.raises(Damaged, match=f"format {e.RECORD_VERSION + 1}.* up to {e.RECORD_VERSION}"):
        decode_header(data, "file")


@settings(deadline=None)
@given(pieces, st.integers(0, 2**63), st.binary(min_size=32, max_size=32), st.binary(max_size=40))
def test_a_frame_comes_back_from_anywhere(
    some: Pieces, first_seq: int, previous: bytes, before: bytes
) -> None:
    encoded, digest = encode_records(SALT, first_seq, some, previous)
    data = before + encoded + b"after"
    frame = read_frame(data, len(before), SALT)
    assert frame is not None
    assert (frame.first_seq, frame.records, frame.hash) == (first_seq, len(some), digest)
    assert frame.previous == previous
    assert data[frame.end :] == b"after"
    found = list(records(frame))
    assert [(record.seq, record.events, record.bodies) for record in found] == [
        (first_seq + index, events, b"".join(bodies)) for index, (events, bodies) in enumerate(some)
    ]
    for record in found:
        assert data[record.bodies_at :].startswith(record.bodies)


@settings(max_examples=40, deadline=None)
@given(pieces.filter(bool), st.data())
def test_any_flipped_bit_makes_it_no_frame(some: Pieces, data: st.DataObject) -> None:
    encoded = bytearray(frame_of(some))
    index = data.draw(st.integers(0, len(encoded) - 1))
    encoded[index] ^= 1 << data.draw(st.integers(0, 7))
    assert read_frame(bytes(encoded), 0, SALT) is None


def test_a_frame_cut_anywhere_is_none() -> None:
    encoded = frame_of([(b"events", [b"body", b"another"]), (b"more", [])])
    for length in range(len(encoded)):
        assert read_frame(encoded[:length], 0, SALT) is None
        assert read_frame(encoded[:length] + bytes(len(encoded)), 0, SALT) is None
    assert read_frame(encoded, 0, SALT) is not None


def test_a_frame_of_another_segment_is_none() -> None:
    assert read_frame(frame_of([(b"events", [])]), 0, bytes(16)) is None


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=30))
def test_a_body_that_looks_like_a_frame_is_none(noise: bytes) -> None:
    """Whoever knows the format but not the segment's salt cannot write a frame."""
    forged, _ = encode_records(bytes(16), 8, [(b"[]", [noise])], FIRST_HASH)
    encoded = frame_of([(b"events", [FRAME_MAGIC, forged])])
    found = [at for at in range(len(encoded)) if read_frame(encoded, at, SALT) is not None]
    assert found == [0]


def test_the_hash_depends_on_everything() -> None:
    some: Pieces = [(b"events", [b"body"])]
    hashes = {
        encode_records(SALT, seq, pieces_, previous)[1]
        for seq in (1, 2)
        for pieces_ in (some, [*some, *some], [(b"event", [b"sbody"])])
        for previous in (FIRST_HASH, b"x" * HASH_BYTES)
    }
    assert len(hashes) == 12
    assert len(frame_of([])) == FRAME_HEADER


def strategy(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a field's type, within what the journal ever holds."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    known = {int: numbers, str: texts, bool: st.booleans(), type(None): st.none(), e.Mail: mails}
    known[float] = st.floats(0, 1)
    if kind in known:
        return known[kind]
    if origin is typing.Literal:
        return st.sampled_from(inner)
    if origin is tuple and inner[-1] is ...:
        return st.lists(strategy(inner[0]), max_size=3).map(tuple)
    if origin is list:
        return st.lists(strategy(inner[0]), max_size=3)
    if origin is tuple:
        return st.tuples(*map(strategy, inner))
    if inner:
        return st.one_of(*map(strategy, inner))
    return st.builds(kind, **{name: strategy(one) for name, one in typing.get_type_hints(kind).items()})


@pytest.mark.parametrize("kind", typing.get_args(e.AnyEvent), ids=lambda kind: kind.__name__)
def test_every_kind_of_event_comes_back(kind: type[e.Event]) -> None:
    decode = msgspec.json.Decoder(list[e.AnyEvent]).decode

    @settings(max_examples=15, deadline=None)
    @given(strategy(kind))
    def comes_back(event: e.Event) -> None:
        assert decode(encode_events([event])) == [event]

    comes_back()
