"""Data directories to be damaged, ways to damage them, and what they answered before."""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mq9_mcp.engine.embedded.frame import FRAME_HEADER, SEGMENT_HEADER
from mq9_mcp.engine.embedded.lock import LOCK_FILE
from mq9_mcp.engine.embedded.segments import JOURNAL_FOLDER
from mq9_mcp.engine.embedded.survey import survey_journal
from mq9_mcp.engine.embedded.tables import TABLES_FILE
from tests.support import Desk, Reply, opened

SEGMENT = 8 * 1024
OPTIONS: dict[str, Any] = {"segment_bytes": SEGMENT}
KEEP_ALL = 2**40
BOXES = ("box", "other", "alice")
FRESH = ("leased_until", "fetched_at")


async def first_half(desk: Desk) -> None:
    """Mail in every state, over several segments."""
    await desk.call("mailbox_update", address="other", settings={"max_attempts": 1}, description="the other")
    for number in range(14):
        await desk.send(
            text=f"{number} " + "x" * 800, tags=["odd"] if number % 2 else [], dedup_key=f"{number}"
        )
    for message in await desk.fetch(max=6):
        await desk.settle(message)
    await desk.fetch(max=2, lease_s=3_600)
    await desk.fetch(group="audit", max=3)
    await desk.send("other", "dies")
    [dying] = await desk.fetch("other")
    await desk.settle(dying, "reject", reason="bad")


async def second_half(desk: Desk) -> None:
    """More of it, which the tables of the first half do not know."""
    for number in range(14, 26):
        await desk.send(text=f"{number} " + "y" * 800, delay_s=7_200 if number % 5 == 0 else None)
    for message in await desk.fetch(max=4):
        await desk.settle(message)
    for message in await desk.fetch(group="audit", max=2):
        await desk.settle(message, "nack", delay_s=600)
    await desk.call("mailbox_create", address="late")


async def _make(folder: Path, journal_bytes: int) -> None:
    options = {**OPTIONS, "journal_bytes": journal_bytes}
    async with opened(folder, "box", "other", **options) as desk:
        await first_half(desk)
    earlier = folder.with_name(f"{folder.name}-earlier")
    shutil.copyfile(folder / TABLES_FILE, earlier)
    async with opened(folder, **options) as desk:
        await second_half(desk)
        await desk.query()


def make(folder: Path, journal_bytes: int = KEEP_ALL, crashed: bool = False) -> Path:
    """A data directory; ``crashed``: its tables are those of an earlier moment."""
    asyncio.run(_make(folder, journal_bytes))
    if crashed:
        shutil.copyfile(folder.with_name(f"{folder.name}-earlier"), folder / TABLES_FILE)
    return folder


async def _answers(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    async with opened(folder, **OPTIONS) as desk:
        listed = (await desk.call("mailbox_list", limit=100))["mailboxes"]
        found["mailboxes"] = {box["address"]: box for box in listed}
        for address in found["mailboxes"]:
            found[address] = await _mailbox(desk, address)
        receipt = await desk.send(text="13 " + "x" * 800, dedup_key="13", tags=["odd"])
        found["duplicate"] = receipt["duplicate"], receipt["id"]
    return found


async def _mailbox(desk: Desk, address: str) -> dict[str, Any]:
    groups = (await desk.call("group_list", mailbox=address))["groups"]
    messages: dict[int, Reply] = {}
    arguments: dict[str, Any] = {"mailbox": address, "limit": 100}
    while True:
        reply = await desk.call("mailbox_query", **arguments)
        messages |= {message["id"]: message for message in reply["messages"]}
        if "next_cursor" not in reply:
            break
        arguments["cursor"] = reply["next_cursor"]
    return {"groups": _without(groups), "messages": messages}


def _without(groups: list[Reply]) -> list[Reply]:
    return [{name: value for name, value in group.items() if name not in FRESH} for group in groups]


def answers(folder: Path) -> dict[str, Any]:
    """Everything that callers can see of a data directory; asked of a copy."""
    copy = folder.with_name(f"{folder.name}-asked")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    try:
        return asyncio.run(_answers(copy))
    finally:
        shutil.rmtree(copy)


def prints(folder: Path) -> dict[str, str]:
    """A digest of every file but the lock."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != LOCK_FILE
    }


# -- ways to damage


Damage = Callable[[Path, random.Random], str]


def flip(path: Path, offset: int, bit: int = 0) -> str:
    """Flip one bit; says where."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)
    return f"{path.name} byte {offset} bit {bit}"


def segments(folder: Path) -> list[Path]:
    """The journal's files."""
    return sorted((folder / JOURNAL_FOLDER).glob("*.mq9"))


def commits(folder: Path, index: int) -> list[tuple[int, int, int]]:
    """Offset, end and first record of the commits in one segment."""
    one = survey_journal(folder / JOURNAL_FOLDER).segments[index]
    return [(frame.offset, frame.end, frame.first_seq) for frame in one.frames()]


def in_segment(index: int, part: str) -> Damage:
    """A flipped bit in one part of a random commit of a segment, or in its header."""

    def damage(folder: Path, rng: random.Random) -> str:
        path = segments(folder)[index]
        if part == "header":
            return flip(path, rng.randrange(SEGMENT_HEADER), rng.randrange(8))
        start, end, _ = rng.choice(commits(folder, index))
        hash_at = start + FRAME_HEADER - 32
        first, last = {
            "commit header": (start, hash_at),
            "hash": (hash_at, start + FRAME_HEADER),
            "events and bodies": (start + FRAME_HEADER, end),
        }[part]
        return flip(path, rng.randrange(first, last), rng.randrange(8))

    return damage


def last_commit(folder: Path, rng: random.Random) -> str:
    """A flipped bit in the very last commit."""
    index = max(index for index in range(len(segments(folder))) if commits(folder, index))
    start, end, _ = commits(folder, index)[-1]
    return flip(segments(folder)[index], rng.randrange(start, end), rng.randrange(8))


def cut(index: int) -> Damage:
    """A segment that ends within one of its commits."""

    def damage(folder: Path, rng: random.Random) -> str:
        path = segments(folder)[index]
        start, end, _ = rng.choice(commits(folder, index))
        keep = rng.randrange(start, end)
        path.write_bytes(path.read_bytes()[:keep])
        return f"{path.name} ends at {keep}"

    return damage


def without(index: int) -> Damage:
    """A segment is missing."""

    def damage(folder: Path, rng: random.Random) -> str:
        path = segments(folder)[index]
        path.unlink()
        return f"{path.name} is missing {rng.random()}"

    return damage


def tables(how: str) -> Damage:
    """Something happened to DuckDB's file."""

    def damage(folder: Path, rng: random.Random) -> str:
        path = folder / TABLES_FILE
        data = path.read_bytes()
        if how == "flipped":
            return flip(path, rng.randrange(len(data)), rng.randrange(8))
        if how == "missing":
            path.unlink()
        else:
            new = {"cut": data[: rng.randrange(1, len(data))], "empty": b"", "foreign": b"buy milk" * 9_000}
            path.write_bytes(new[how])
        return how

    return damage


def foreign(folder: Path, rng: random.Random) -> str:
    """A file that is named like a segment."""
    (folder / JOURNAL_FOLDER / "notes.mq9").write_text(f"buy milk {rng.random()}")
    return "notes.mq9"


JOURNAL_DAMAGE: dict[str, Damage] = {
    **{
        f"{part} of the {name} segment": in_segment(index, part)
        for part in ("header", "commit header", "hash", "events and bodies")
        for name, index in (("first", 0), ("second", 1), ("last", -2))
    },
    "the last commit": last_commit,
    "the first segment cut": cut(0),
    "the last segment cut": cut(-2),
    "no first segment": without(0),
    "no second segment": without(1),
    "a foreign segment": foreign,
}
TABLES_DAMAGE: dict[str, Damage] = {
    f"tables {how}": tables(how) for how in ("flipped", "missing", "cut", "empty", "foreign")
}
