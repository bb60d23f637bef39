"""What is encoded comes back; whatever else comes in ends in the one error that is documented."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.names import lease_token, own_session, read_lease_token, read_own_session
from mq9_mcp.domain.parts import Body, check_json, digest, encode_body
from mq9_mcp.engine.embedded.frame import (
    FIRST_HASH,
    FRAME_HEADER,
    FRAME_MAGIC,
    SEGMENT_HEADER,
    SEGMENT_MAGIC,
    Damaged,
    SegmentHeader,
    decode_header,
    encode_frame,
    frame_bytes,
    is_torn_header,
    read_frame,
    records,
)
from mq9_mcp.engine.embedded.query import read_cursor
from mq9_mcp.engine.embedded.replay import entries
from mq9_mcp.engine.embedded.segments import Segment
from mq9_mcp.engine.embedded.torn import damage_in, next_sound
from tests.engine.frames import encode_records
from tests.properties.values import anything, examples, json, names, outcome_of, served, texts

SALT = bytes(range(16))
SEGMENT = Segment(Path("0000000001.mq9"), -1, SegmentHeader(1, 1, SALT), 0)
frames = st.builds(
    lambda seq, pieces, previous: encode_records(SALT, seq, pieces, previous)[0],
    st.integers(0, 2**60),
    st.lists(st.tuples(st.binary(max_size=40), st.lists(st.binary(max_size=40), max_size=3)), max_size=4),
    st.binary(min_size=32, max_size=32),
)
# Noise that gets past the first look: it begins like what it is not, or is a frame that was changed.
noise = st.one_of(
    anything,
    anything.map(lambda data: FRAME_MAGIC + data),
    anything.map(lambda data: SEGMENT_MAGIC + data),
    st.tuples(frames, st.integers(0, 400), anything).map(lambda one: one[0][: one[1]] + one[2]),
)


# -- the journal


@given(noise, st.integers(0, 60))
def test_any_bytes_are_a_frame_or_none(data: bytes, offset: int) -> None:
    frame = read_frame(data, offset, SALT)
    if frame is not None:
        again = data[frame.offset : frame.end]
        assert read_frame(again, 0, SALT) is not None
        assert frame_bytes(again) == len(again)
    assert frame_bytes(data) >= 0
    found = next_sound(data, 0, SALT)
    assert found is None or data[found.offset :].startswith(FRAME_MAGIC)


@given(noise, st.integers(SEGMENT_HEADER, 5_000), st.integers(1, 2**40), st.none() | st.just(FIRST_HASH))
def test_any_bytes_at_the_end_are_a_torn_commit_or_damage(
    data: bytes, at: int, seq: int, chain: bytes | None
) -> None:
    found = damage_in(data, at, SALT, seq, chain)
    assert found is None or f"commit {seq}" in found
    assert damage_in(data + bytes(600), at, SALT, seq, chain) == found, "free space behind it tells nothing"


@given(noise)
def test_any_bytes_are_a_segments_header_or_damaged(data: bytes) -> None:
    assert isinstance(is_torn_header(data), bool)
    header, error = outcome_of(lambda: decode_header(data, "file"), Damaged)
    if header is None:
        assert str(error).startswith("file: ")
    else:
        assert data.startswith(SEGMENT_MAGIC)
        assert not is_torn_header(data)
        assert len(header.salt) == 16


@given(st.lists(anything | st.binary(max_size=12), max_size=3), st.integers(1, 5))
def test_a_sound_frame_of_any_bytes_has_records_or_is_damaged(pieces: list[bytes], count: int) -> None:
    """A checksum that fits does not make sense of what it covers."""
    payload = b"".join(pieces)
    whole, _ = encode_frame(SALT, 7, count, pieces, FIRST_HASH)
    frame = read_frame(whole, 0, SALT)
    assert frame is not None
    assert len(whole) == FRAME_HEADER + len(payload)
    found, error = outcome_of(lambda: list(records(frame)), Damaged)
    if found is None:
        assert "record" in str(error)
    else:
        assert [record.seq for record in found] == list(range(7, 7 + count))
        joined = [len(record.events) + len(record.bodies) + 8 for record in found]
        assert sum(joined) == len(payload)


events = st.one_of(
    anything,
    json.map(lambda value: msgspec.json.encode(value)),
    st.lists(json, max_size=3).map(lambda value: msgspec.json.encode(value)),
    st.dictionaries(st.sampled_from(["event", "at", "mails", "group", "ids"]), json, max_size=5).map(
        lambda value: msgspec.json.encode([value | {"event": "sent"}])
    ),
    st.integers(1, 5_000).map(
        lambda depth: b'[{"event":"opened","x":' + b"[" * depth + b"]" * depth + b',"at":1,"lease_floor":1}]'
    ),
)


@given(events, st.lists(anything, max_size=2))
def test_a_record_of_any_bytes_has_events_or_is_damaged(data: bytes, bodies: list[bytes]) -> None:
    whole, _ = encode_records(SALT, 7, [(data, bodies)], FIRST_HASH)
    frame = read_frame(whole, 0, SALT)
    assert frame is not None
    found, error = outcome_of(lambda: entries(SEGMENT, frame), Damaged)
    if found is None:
        assert str(error).startswith("0000000001.mq9 at byte 0: record 7 ")
    else:
        [entry] = found
        assert (entry.seq, entry.bodies) == (7, b"".join(bodies))


# -- bodies


@given(json, texts, st.binary(max_size=60), st.dictionaries(texts, json, max_size=3))
def test_a_body_comes_back(data: Any, text: str, raw: bytes, metadata: dict[str, Any]) -> None:
    parts = [{"data": data}, {"text": text}, {"raw": base64.b64encode(raw).decode(), "metadata": metadata}]
    body = Body("ann", False, "2027-01-15T08:00:00.000Z", "normal", parts, [])
    decoded = msgspec.json.decode(encode_body(body), type=dict[str, Any])
    assert decoded["parts"] == parts
    assert repr(decoded["parts"][0]) == repr(parts[0]), "1 is not 1.0, and true is neither"
    assert digest(decoded["parts"]) == digest(parts)


@given(json)
def test_what_is_json_is_accepted_as_data(value: Any) -> None:
    check_json(value, "data")


def test_any_parts_come_through_a_broker(tmp_path: Path) -> None:
    """Fetched from the journal, and queried from the tables."""
    with served(tmp_path, "box") as (desk, serve):

        async def through(parts: list[dict[str, Any]], session: str) -> None:
            await desk.call("mailbox_send", to="box", parts=parts, session=session)
            [message] = await desk.fetch()
            assert (message["parts"], message["session"]) == (parts, session)
            [queried] = await desk.query(ids=[message["id"]])
            assert repr(queried["parts"]) == repr(parts)
            await desk.settle(message)

        @examples(30)
        @given(
            st.lists(
                json.map(lambda value: {"data": value}) | texts.map(lambda text: {"text": text}),
                min_size=1,
                max_size=3,
            ),
            names.filter(lambda name: not name.startswith("mq9.")),
        )
        def check(parts: list[dict[str, Any]], session: str) -> None:
            serve(through(parts, session))

        check()


# -- tokens, sessions, cursors

secrets = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)


@given(st.integers(0, 2**53), st.integers(0, 2**53), secrets)
def test_a_lease_token_comes_back(group: int, message: int, secret: str) -> None:
    assert read_lease_token(lease_token(group, message, secret)) == (group, message, secret)


@given(st.text(max_size=40) | st.from_regex(r"[0-9a-f]{0,15}\.[0-9a-f]{0,15}\..*"))
def test_any_text_is_a_lease_token_or_none(token: str) -> None:
    found = read_lease_token(token)
    if found is not None:
        group, message, secret = found
        assert max(group, message) < 2**56
        assert secret.isascii()
        assert read_lease_token(lease_token(*found)) == found


@given(st.integers(1, 2**53 - 1))
def test_an_own_session_comes_back(message: int) -> None:
    assert read_own_session(own_session(message)) == message


@given(st.text(max_size=30) | st.from_regex(r"mq9\.[0-9]*.?"))
def test_any_text_is_an_own_session_or_none(session: str) -> None:
    found = read_own_session(session)
    assert found is None or own_session(found) == session


@given(st.integers(0, 2**53 - 1))
def test_a_cursor_comes_back(message: int) -> None:
    assert read_cursor(str(message)) == message


@given(st.text(max_size=20) | st.text("0123456789٣۴५", max_size=18))
def test_any_text_is_a_cursor_or_refused(cursor: str) -> None:
    found, error = outcome_of(lambda: read_cursor(cursor), Refused)
    if found is None:
        assert error is not None
        assert (error.code, error.message[:7]) == ("INVALID_ARGUMENT", "cursor:")
    else:
        assert 0 <= found < 10**16
        assert read_cursor(str(found)) == found
