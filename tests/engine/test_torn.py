"""A torn tail is cut, damage is said: no tear is taken for damage, no flipped bit for a tear."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mq9_mcp.engine.embedded.engine import open_engine
from mq9_mcp.engine.embedded.frame import (
    FIRST_HASH,
    FRAME_HEADER,
    SEGMENT_HEADER,
    Damaged,
)
from mq9_mcp.engine.embedded.segments import JOURNAL_FOLDER, segment_path
from mq9_mcp.engine.embedded.torn import SECTOR, damage_in
from tests.engine.frames import encode_records
from tests.support import Desk, run, texts

SALT = bytes(range(16))
CHAIN = bytes(range(100, 132))
SEQ = 1_009
FREE = bytes(2 * SECTOR)
EVENTS = b'[{"event":"sent","at":1800000000000,"mails":[]}]'
OFFSETS = [SEGMENT_HEADER, 500, SECTOR, 3 * SECTOR - 1, 1_000]


def commit(body: int, chain: bytes = CHAIN, seq: int = SEQ) -> bytes:
    """The frame of one record with a body of about so many bytes."""
    return encode_records(SALT, seq, [(EVENTS, [b'{"text":"' + b"x" * body + b'"}'])], chain)[0]


def sectors(size: int, at: int) -> Iterator[tuple[int, int]]:
    """The pieces of ``size`` bytes at offset ``at`` that a disk writes each as a whole."""
    start = 0
    while start < size:
        end = min(size, start + SECTOR - (at + start) % SECTOR)
        yield start, end
        start = end


@pytest.mark.parametrize("at", OFFSETS)
@pytest.mark.parametrize("chain", [CHAIN, None])
def test_a_commit_cut_at_any_byte_can_be_unfinished(at: int, chain: bytes | None) -> None:
    whole = commit(900)
    for keep in range(len(whole)):
        assert damage_in(whole[:keep] + FREE, at, SALT, SEQ, chain) is None, keep


@pytest.mark.parametrize("at", OFFSETS)
def test_a_commit_of_which_any_sectors_are_missing_can_be_unfinished(at: int) -> None:
    whole = commit(3_000)
    pieces = list(sectors(len(whole), at))
    for written in range(2 ** len(pieces) - 1):
        torn = bytearray(whole)
        for index, (start, end) in enumerate(pieces):
            if not written >> index & 1:
                torn[start:end] = bytes(end - start)
        assert damage_in(bytes(torn) + FREE, at, SALT, SEQ, CHAIN) is None, f"{written:b}"


@pytest.mark.parametrize("at", OFFSETS)
@pytest.mark.parametrize(("seq", "chain"), [(SEQ, CHAIN), (1, FIRST_HASH), (256, FIRST_HASH)])
def test_any_flipped_bit_in_the_last_commit_is_damage(at: int, seq: int, chain: bytes) -> None:
    whole = commit(600, chain, seq)
    for index in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[index] ^= 1 << bit
            found = damage_in(bytes(flipped) + FREE, at, SALT, seq, chain)
            assert found is not None, (index, bit)
            assert f"commit {seq}" in found


def test_bytes_after_a_bad_commit_mean_that_it_was_whole_once() -> None:
    """The next commit is begun only when this one is on disk."""
    whole = bytearray(commit(600))
    whole[FRAME_HEADER + 7] ^= 1
    begun = commit(600, seq=SEQ + 1)[:40]
    assert "written after it" in str(damage_in(bytes(whole) + begun + FREE, 64, SALT, SEQ, CHAIN))


def test_free_space_is_nothing() -> None:
    assert damage_in(FREE, 64, SALT, SEQ, CHAIN) is None
    assert damage_in(b"", 64, SALT, SEQ, CHAIN) is None


# -- at open


async def write_some(desk: Desk) -> None:
    """Three commits with mail in them."""
    for number in range(3):
        await desk.send(text=f"{number} " + "x" * 700)


def last_commit(journal: Path) -> tuple[int, int]:
    """Where the last commit of the first segment begins and ends."""
    data = segment_path(journal, 1).read_bytes()
    end = len(data.rstrip(b"\0"))
    return data.rindex(b"mq9c", 0, end), end


def test_a_bad_last_commit_that_the_tables_hold_is_not_cut(tmp_path: Path) -> None:
    """It looks like a torn one, but what is in the tables was on disk."""
    run(write_some, tmp_path, "box")
    journal = tmp_path / JOURNAL_FOLDER
    start, end = last_commit(journal)
    path = segment_path(journal, 1)
    whole = path.read_bytes()
    for keep in (start + 3, start + 200, end - 1):
        path.write_bytes(whole[:keep] + bytes(len(whole) - keep))
        torn = path.read_bytes()
        with pytest.raises(Damaged, match=rf"{path.name} at byte {start}: commit .* the tables hold"):
            asyncio.run(open_engine(tmp_path))
        assert path.read_bytes() == torn, "damage is not to be made worse"
    path.write_bytes(whole)

    async def body(desk: Desk) -> None:
        assert len(texts(await desk.fetch())) == 3

    run(body, tmp_path)


def test_flipped_bits_in_the_last_commit_are_said_at_open(tmp_path: Path) -> None:
    """Also where the tables do not know the commit: after a crash, or when they are made anew."""
    run(write_some, tmp_path / "whole", "box")
    start, end = last_commit(tmp_path / "whole" / JOURNAL_FOLDER)
    rng = random.Random(7)
    for _ in range(12):
        folder = tmp_path / "flipped"
        shutil.copytree(tmp_path / "whole", folder)
        (folder / "mq9.duckdb").unlink()
        path = segment_path(folder / JOURNAL_FOLDER, 1)
        flipped = bytearray(path.read_bytes())
        flipped[rng.randrange(start, end)] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        with pytest.raises(Damaged, match=rf"{path.name} at byte {start}: .*run: mq9 doctor {folder}"):
            asyncio.run(open_engine(folder))
        assert path.read_bytes() == flipped
        assert not (folder / "mq9.duckdb").exists(), "empty tables would hide that they were missing"
        shutil.rmtree(folder)
