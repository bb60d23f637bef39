"""The journal's files: one write and one sync a commit, torn tails cut, damage found and said."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.events import GroupSeen
from mq9_mcp.engine.embedded.disk import Disk
from mq9_mcp.engine.embedded.engine import open_engine
from mq9_mcp.engine.embedded.frame import (
    FRAME_HEADER,
    FRAME_MAGIC,
    SEGMENT_HEADER,
    Damaged,
    Frame,
    SegmentHeader,
    encode_header,
)
from mq9_mcp.engine.embedded.journal import Journal
from mq9_mcp.engine.embedded.replay import Entry, encode_events, entries
from mq9_mcp.engine.embedded.segments import Segment, close_segments, open_segments
from tests.support import Desk, run, texts

SEGMENT = 4096


class CountingDisk(Disk):
    """Counts the calls."""

    def __init__(self) -> None:
        self.writes = 0
        self.syncs = 0

    def write(self, fd: int, data: bytes, offset: int) -> None:
        """Counted."""
        self.writes += 1
        super().write(fd, data, offset)

    def sync(self, fd: int) -> None:
        """Counted."""
        self.syncs += 1
        super().sync(fd)


class Book:
    """A journal in a folder, and everything that was read back from it at open."""

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        self.seen: list[Entry] = []
        self.frames: list[tuple[str, Frame]] = []
        self.failures: list[OSError] = []
        self.journal = Journal(folder, lambda _: None, self.failures.append, SEGMENT, disk)

    def open(self) -> None:
        """Read what is there."""
        self.journal.open(self._visit)

    def _visit(self, segment: Segment, frame: Frame) -> None:
        self.frames.append((segment.path.name, frame))
        self.seen += entries(segment, frame)

    async def commit(self, *records: list[bytes]) -> list[Entry]:
        """One commit of records with these bodies."""
        added = [self.append(bodies) for bodies in records]
        await self.journal.stored()
        return added

    def append(self, bodies: list[bytes]) -> Entry:
        """One record that nobody waits for."""
        events: list[Any] = [GroupSeen(at=self.journal.last_seq, group=1)]
        position = self.journal.append(encode_events(events), bodies, sum(map(len, bodies)), events[-1].at)
        return Entry(self.journal.last_seq, events, b"".join(bodies), position)

    def bodies(self) -> list[bytes]:
        """What was read at open."""
        return [entry.bodies for entry in self.seen]


def write(folder: Path, body: Callable[[Book], Coroutine[Any, Any, None]], disk: Disk | None = None) -> None:
    """Run ``body`` on a journal that is open for writing."""

    async def inner() -> None:
        book = Book(folder, disk)
        book.open()
        book.journal.start()
        try:
            async with asyncio.timeout(30):
                await body(book)
        finally:
            await book.journal.close()

    asyncio.run(inner())


def reopen(folder: Path) -> Book:
    """What a start finds; nothing is written."""
    book = Book(folder)
    book.open()
    asyncio.run(book.journal.close())
    return book


def three_commits(folder: Path) -> None:
    """Commits of one, two and one record."""

    async def body(book: Book) -> None:
        await book.commit([b"one"])
        await book.commit([b"two", b"2"], [b"three"])
        await book.commit([b"four"])

    write(folder, body)


def only(folder: Path) -> Path:
    """The one segment file."""
    [path] = folder.glob("*.mq9")
    return path


def test_what_was_committed_is_read_back_with_its_places(tmp_path: Path) -> None:
    placed: list[Entry] = []

    async def body(book: Book) -> None:
        placed.extend(await book.commit([b"one", b"1"]))
        placed.extend(await book.commit([b"two"], []))
        for entry in placed:
            assert book.journal.read(entry.position, len(entry.bodies)) == entry.bodies

    write(tmp_path, body)
    book = reopen(tmp_path)
    assert [(e.seq, e.bodies, e.position, e.events) for e in book.seen] == [
        (e.seq, e.bodies, e.position, e.events) for e in placed
    ]


def test_a_commit_is_one_write_and_one_sync(tmp_path: Path) -> None:
    disk = CountingDisk()

    async def body(book: Book) -> None:
        before = disk.writes, disk.syncs
        await book.commit(*([[b"body"]] * 20))
        assert (disk.writes - before[0], disk.syncs - before[1]) == (1, 1)
        await book.commit([b"alone"])
        assert (disk.writes - before[0], disk.syncs - before[1]) == (2, 2)

    write(tmp_path, body, disk)
    assert len(reopen(tmp_path).frames) == 2


def test_a_torn_tail_is_cut_at_every_byte_and_what_came_before_stays(tmp_path: Path) -> None:
    three_commits(tmp_path / "whole")
    whole = reopen(tmp_path / "whole")
    last = whole.frames[-1][1]
    data = only(tmp_path / "whole").read_bytes()
    for keep in range(last.offset, last.end):
        folder = tmp_path / f"torn-{keep}"
        shutil.copytree(tmp_path / "whole", folder)
        torn = data[:keep] + bytes(len(data) - keep)
        only(folder).write_bytes(torn)
        book = reopen(folder)
        assert book.bodies() == [b"one", b"two2", b"three"], keep
        assert only(folder).read_bytes() == data[: last.offset] + bytes(len(data) - last.offset)

        async def go_on(again: Book) -> None:
            await again.commit([b"after"])

        if keep % 10 == 0:
            write(folder, go_on)
            assert reopen(folder).bodies() == [b"one", b"two2", b"three", b"after"]
        shutil.rmtree(folder)


def test_a_file_that_ends_in_the_last_commit_is_cut_too(tmp_path: Path) -> None:
    three_commits(tmp_path)
    last = reopen(tmp_path).frames[-1][1]
    only(tmp_path).write_bytes(only(tmp_path).read_bytes()[: last.end - 1])
    assert reopen(tmp_path).bodies() == [b"one", b"two2", b"three"]


def test_a_flipped_bit_before_the_last_commit_is_said_with_its_place(tmp_path: Path) -> None:
    three_commits(tmp_path / "whole")
    frames = [frame for _, frame in reopen(tmp_path / "whole").frames]
    data = only(tmp_path / "whole").read_bytes()
    for frame in frames[:-1]:
        for index in range(frame.offset, frame.end):
            flipped = bytearray(data)
            flipped[index] ^= 1 << (index % 8)
            folder = tmp_path / "flipped"
            shutil.copytree(tmp_path / "whole", folder)
            only(folder).write_bytes(flipped)
            with pytest.raises(Damaged, match=rf"^0000000001\.mq9 at byte {frame.offset}: "):
                reopen(folder)
            assert only(folder).read_bytes() == flipped, "damage is not to be made worse"
            shutil.rmtree(folder)


def many_segments(folder: Path, bodies: int = 40) -> list[bytes]:
    """A journal over several segments, with one record larger than any; returns the bodies."""
    stored = [f"{number}-".encode() * 60 for number in range(bodies)]
    stored[7] = FRAME_MAGIC * SEGMENT

    async def body(book: Book) -> None:
        for one in stored:
            await book.commit([one])

    write(folder, body)
    return stored


def test_it_rolls_over_many_segments_and_holds_records_larger_than_one(tmp_path: Path) -> None:
    stored = many_segments(tmp_path)
    book = reopen(tmp_path)
    assert book.bodies() == stored
    names = list(dict.fromkeys(name for name, _ in book.frames))
    assert len(names) > 3
    sizes = {path.stat().st_size for path in tmp_path.glob("*.mq9")}
    assert min(sizes) == SEGMENT
    assert max(sizes) > len(stored[7])
    assert [entry.seq for entry in book.seen] == list(range(1, len(stored) + 1))


def test_a_commit_over_the_end_of_a_segment_is_split(tmp_path: Path) -> None:
    stored = [b"x" * 900 for _ in range(9)]

    async def body(book: Book) -> None:
        await book.commit(*[[one] for one in stored])
        await book.commit([b"last"])

    write(tmp_path, body)
    book = reopen(tmp_path)
    assert book.bodies() == [*stored, b"last"]
    assert len(book.frames) >= 4


def test_a_reader_behind_the_writer_may_find_what_it_listed_deleted(tmp_path: Path) -> None:
    """It had opened the first when the writer deleted the first and the second."""
    many_segments(tmp_path)
    paths = sorted(tmp_path.glob("*.mq9"))
    paths[1].unlink()
    paths[1].symlink_to(tmp_path / "nowhere")  # listed, and not there when it is opened
    segments = open_segments(tmp_path, write=False)
    close_segments(segments)
    assert [segment.path for segment in segments] == paths[2:]


@pytest.mark.parametrize("missing", [1, 2])
def test_a_missing_segment_is_said(missing: int, tmp_path: Path) -> None:
    many_segments(tmp_path)
    paths = sorted(tmp_path.glob("*.mq9"))
    paths[missing].unlink()
    with pytest.raises(Damaged, match=f"segment {missing + 1} is missing.*{paths[missing + 1].name}"):
        reopen(tmp_path)


def test_a_segment_cut_short_is_said(tmp_path: Path) -> None:
    many_segments(tmp_path)
    frames = reopen(tmp_path).frames
    first = [frame for name, frame in frames if name == "0000000001.mq9"]
    path = tmp_path / "0000000001.mq9"
    path.write_bytes(path.read_bytes()[: first[-1].end - 3])
    missing = first[-1].first_seq
    with pytest.raises(Damaged, match=rf"^{path.name} at byte {first[-1].offset}: commit {missing} "):
        reopen(tmp_path)


def test_a_flipped_bit_in_any_segment_but_the_end_is_said(tmp_path: Path) -> None:
    many_segments(tmp_path)
    frames = reopen(tmp_path).frames
    for name, frame in frames[:-1]:
        path = tmp_path / name
        data = path.read_bytes()
        flipped = bytearray(data)
        flipped[frame.end - 5] ^= 4
        path.write_bytes(flipped)
        with pytest.raises(Damaged, match=rf"^{name} at byte {frame.offset}: "):
            reopen(tmp_path)
        path.write_bytes(data)
    assert reopen(tmp_path).frames == frames


def test_a_segment_from_another_journal_breaks_the_chain(tmp_path: Path) -> None:
    many_segments(tmp_path / "one")
    many_segments(tmp_path / "two")
    shutil.copy(tmp_path / "two" / "0000000002.mq9", tmp_path / "one")
    with pytest.raises(Damaged, match=r"^0000000002\.mq9 at byte 64: the hash chain is broken"):
        reopen(tmp_path / "one")


@pytest.mark.parametrize("size", [0, 10, SEGMENT])
def test_a_half_made_segment_is_removed(size: int, tmp_path: Path) -> None:
    three_commits(tmp_path)
    half = tmp_path / "0000000002.mq9"
    half.write_bytes(bytes(size))
    assert reopen(tmp_path).bodies() == [b"one", b"two2", b"three", b"four"]
    assert not half.exists()


def test_a_last_segment_that_lost_its_header_is_said_and_kept(tmp_path: Path) -> None:
    many_segments(tmp_path)
    path = sorted(tmp_path.glob("*.mq9"))[-1]
    headless = bytes(SEGMENT_HEADER) + path.read_bytes()[SEGMENT_HEADER:]
    path.write_bytes(headless)
    with pytest.raises(Damaged, match=rf"^{path.name}: is no journal segment"):
        reopen(tmp_path)
    assert path.read_bytes() == headless


def test_a_segment_under_the_name_of_another_is_said(tmp_path: Path) -> None:
    three_commits(tmp_path)
    shutil.copy(only(tmp_path), tmp_path / "0000000002.mq9")
    with pytest.raises(Damaged, match=r"^0000000002\.mq9: holds segment 1, which belongs in 0000000001"):
        reopen(tmp_path)


def test_a_foreign_file_that_is_named_like_a_segment_is_said(tmp_path: Path) -> None:
    three_commits(tmp_path)
    (tmp_path / "notes.mq9").write_text("buy milk")
    with pytest.raises(Damaged, match=r"^notes\.mq9: is no journal segment"):
        reopen(tmp_path)
    assert (tmp_path / "notes.mq9").read_text() == "buy milk"


class PictureDisk(Disk):
    """Copies the journal in the moment before a write, as a process that is killed there leaves it."""

    def __init__(self, folder: Path, picture: Path) -> None:
        self.folder = folder
        self.picture = picture
        self.armed = False

    def write(self, fd: int, data: bytes, offset: int) -> None:
        """Copies before the first commit after it was armed."""
        if self.armed and offset:
            self.armed = False
            shutil.copytree(self.folder, self.picture)
        super().write(fd, data, offset)


@pytest.mark.parametrize("segments", [1, 3])
def test_segments_made_for_commits_that_were_never_written_are_removed(segments: int, tmp_path: Path) -> None:
    """One turn of the loop fills a segment and begins the next; the kill comes before the first write."""
    journal, picture = tmp_path / "journal", tmp_path / "picture"
    disk = PictureDisk(journal, picture)

    async def body(book: Book) -> None:
        await book.commit([b"kept"])
        disk.armed = True
        await book.commit([b"x" * 2000], *[[b"y" * 2500] for _ in range(segments)])

    write(journal, body, disk)
    assert len(list(picture.glob("*.mq9"))) == segments + 1
    assert reopen(picture).bodies() == [b"kept"]
    assert len(list(picture.glob("*.mq9"))) == 1


def test_a_blank_segment_that_came_back_hides_nothing(tmp_path: Path) -> None:
    """It was removed after a failed write, and the removal was lost with the power."""
    three_commits(tmp_path)
    header = encode_header(SegmentHeader(2, 3, bytes(16)))  # as if it were to begin with record 3 of 4
    back = tmp_path / "0000000002.mq9"
    back.write_bytes(header + bytes(SEGMENT - SEGMENT_HEADER))
    assert reopen(tmp_path).bodies() == [b"one", b"two2", b"three", b"four"]
    assert not back.exists()


def test_a_blank_segment_that_is_next_is_kept(tmp_path: Path) -> None:
    three_commits(tmp_path)
    header = encode_header(SegmentHeader(2, 5, bytes(16)))
    (tmp_path / "0000000002.mq9").write_bytes(header + bytes(SEGMENT - SEGMENT_HEADER))

    async def body(book: Book) -> None:
        assert book.journal.segments[-1].number == 2
        await book.commit([b"five"])

    write(tmp_path, body)
    assert reopen(tmp_path).bodies() == [b"one", b"two2", b"three", b"four", b"five"]


def test_a_segment_without_a_header_before_others_is_said(tmp_path: Path) -> None:
    many_segments(tmp_path)
    path = tmp_path / "0000000002.mq9"
    path.write_bytes(bytes(SEGMENT_HEADER) + path.read_bytes()[SEGMENT_HEADER:])
    with pytest.raises(Damaged, match="is no journal segment"):
        reopen(tmp_path)


def test_a_body_full_of_frame_magic_hides_no_damage_and_makes_none(tmp_path: Path) -> None:
    """What looks like a frame within a torn commit is not taken for one."""

    async def body(book: Book) -> None:
        await book.commit([b"first"])
        await book.commit([FRAME_MAGIC * 300])

    write(tmp_path, body)
    last = reopen(tmp_path).frames[-1][1]
    data = bytearray(only(tmp_path).read_bytes())
    data[last.end - 1] = 0
    only(tmp_path).write_bytes(data)
    assert reopen(tmp_path).bodies() == [b"first"]
    assert last.end - last.offset > FRAME_HEADER + 1200


def test_folded_segments_go_and_their_bodies_come_from_the_tables(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        sent = [f"{number} " + "x" * 2000 for number in range(30)]
        for text in sent:
            await desk.send(text=text)
        taken = [message for _ in sent for message in await desk.fetch(max=1)]
        for message in taken[1:]:
            await desk.settle(message)
        await desk.settle(taken[0], "release")
        await desk.query()
        first = desk.engine.journal.segments[0].number
        assert first > 1, "nothing was deleted"
        assert len(list((tmp_path / "journal").glob("*.mq9"))) == len(desk.engine.journal.segments)
        [left] = await desk.fetch()
        assert texts([left]) == sent[:1]
        assert texts(await desk.query(limit=100)) == sent
        assert texts(await desk.fetch(group="again", max=100)) == sent
        await desk.restart()
        assert texts(await desk.query(limit=100)) == sent

    run(body, tmp_path, "box", segment_bytes=16 * 1024, journal_bytes=0)


def test_a_journal_that_lost_its_beginning_or_end_is_said(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for _ in range(30):
            await desk.send(text="x" * 2000)

    run(body, tmp_path, "box", segment_bytes=16 * 1024)
    paths = sorted((tmp_path / "journal").glob("*.mq9"))
    kept = paths[-1].read_bytes()
    paths[-1].unlink()
    with pytest.raises(Damaged, match="its last segments are missing"):
        asyncio.run(open_engine(tmp_path))
    paths[-1].write_bytes(kept)
    (tmp_path / "mq9.duckdb").unlink()
    paths[0].unlink()
    with pytest.raises(Damaged, match=r"the journal begins with record .* a segment is missing"):
        asyncio.run(open_engine(tmp_path))


def test_without_its_segments_the_journal_is_not_begun_anew(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send()

    run(body, tmp_path, "box")
    path = only(tmp_path / "journal")
    path.unlink()
    with pytest.raises(Damaged, match="the journal ends with record 0"):
        asyncio.run(open_engine(tmp_path))
    assert not path.exists()


def test_tables_of_another_journal_are_said(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send()

    for name in ("one", "two"):
        run(body, tmp_path / name, "box")
    shutil.copy(tmp_path / "two" / "mq9.duckdb", tmp_path / "one")
    with pytest.raises(Damaged, match=r"mq9\.duckdb and 0000000001\.mq9 do not belong together"):
        asyncio.run(open_engine(tmp_path / "one"))


def test_the_log_of_tables_that_are_missing_is_said(tmp_path: Path) -> None:
    (tmp_path / "mq9.duckdb.wal").write_bytes(b"a log")
    with pytest.raises(Damaged, match=r"mq9\.duckdb is missing, its log mq9\.duckdb\.wal is there"):
        asyncio.run(open_engine(tmp_path))
    assert (tmp_path / "mq9.duckdb.wal").read_bytes() == b"a log"


def test_who_follows_gets_every_record_in_order_or_is_told_where_to_begin(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for number in range(5):
            await desk.send(text=f"{number}")
        follower = desk.engine.follow(0)
        seen = [(await anext(follower)).seq for _ in range(6)]
        assert seen == [1, 2, 3, 4, 5, 6]
        for _ in range(30):
            await desk.send(text="x" * 2000)
            for message in await desk.fetch():
                await desk.settle(message)
        await desk.query()
        first = desk.engine.journal.segments[0].first_seq
        assert first > 8

        async def to_the_end() -> None:
            async for record in follower:
                assert record.seq == seen[-1] + 1
                seen.append(record.seq)

        with pytest.raises(Refused, match=f"the journal begins with record {first}"):
            await to_the_end()
        assert seen[-1] < first
        with pytest.raises(Refused, match="the journal begins with record"):
            await anext(desk.engine.follow(0))
        assert (await anext(desk.engine.follow(first - 1))).seq == first

    run(body, tmp_path, "box", segment_bytes=16 * 1024, journal_bytes=0)


class NamingDisk(Disk):
    """Notes which folders were synced before the first change."""

    def __init__(self) -> None:
        self.synced: set[Path] = set()
        self.before: set[Path] | None = None

    def sync_folder(self, path: Path) -> None:
        """Noted."""
        self.synced.add(path)
        super().sync_folder(path)

    def sync(self, fd: int) -> None:
        """The first commit."""
        self.before = self.before or set(self.synced)
        super().sync(fd)


def test_the_names_of_new_folders_are_on_disk_before_the_first_change(tmp_path: Path) -> None:
    disk = NamingDisk()
    data = tmp_path / "new" / "data"

    async def body(desk: Desk) -> None:
        await desk.send()

    run(body, data, "box", disk=disk)
    assert disk.before is not None
    assert {tmp_path, data.parent, data, data / "journal"} <= disk.before
