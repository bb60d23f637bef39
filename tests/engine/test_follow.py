"""Following the journal: a piece at a time, by many at once, and with the names of what ended."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mq9_mcp.domain.past import PAST_NAMES_MAX, GroupPlace, Past, Place
from mq9_mcp.engine.base import Committed
from mq9_mcp.engine.embedded.follow import Follower
from mq9_mcp.engine.embedded.frame import FRAME_HEADER
from tests.support import Desk, run


def test_pieces_of_any_size_tell_the_same(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for number in range(40):
            await desk.send(text="x" * (number * 150))
        segments, durable = desk.engine.journal.segments, desk.engine.journal.durable_seq
        assert len(segments) > 5

        def told(after: int, piece_bytes: int) -> list[int]:
            follower, found = Follower(after, piece_bytes), []
            while follower.seq < durable:
                found += [entry.seq for entry in follower.read(segments, durable)]
            return found

        for after in (0, 1, 17, durable - 1, durable):
            for piece_bytes in (FRAME_HEADER, 100, 4096, 2**20):
                assert told(after, piece_bytes) == list(range(after + 1, durable + 1))

    run(body, tmp_path, "box", segment_bytes=16 * 1024)


def test_one_who_caught_up_reads_only_what_is_new(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        journal = desk.engine.journal
        for _ in range(10):
            await desk.send()
        follower = Follower(0)
        follower.read(journal.segments, journal.durable_seq)
        await desk.send()
        segment = journal.segments[-1]
        assert len(follower._piece(segment)) == segment.end - follower._offset < 1_000
        assert [one.seq for one in follower.read(journal.segments, journal.durable_seq)] == [
            journal.durable_seq
        ]

    run(body, tmp_path, "box")


def test_many_follow_at_once(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        _, last = desk.engine.journal_span()

        async def next_ten() -> list[int]:
            records: list[Committed] = []
            async for record in desk.engine.follow(last):
                records.append(record)
                if len(records) == 10:
                    break
            return [record.seq for record in records]

        following = [asyncio.create_task(next_ten()) for _ in range(5)]
        for _ in range(10):
            await desk.send()
        async with asyncio.timeout(20):
            assert await asyncio.gather(*following) == [list(range(last + 1, last + 11))] * 5

    run(body, tmp_path, "box")


def test_what_ended_keeps_its_name_for_a_while(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch()
        [group] = desk.engine.state.groups.values()
        number = group.mailbox.number
        assert (await desk.engine.places([number, 77], [])).mailboxes == {number: Place("box", "local")}
        await desk.call("mailbox_drop", address="box")
        places = await desk.engine.places([], [group.number, 77])
        assert places.mailboxes == {number: Place("box", "local")}
        assert places.groups == {group.number: GroupPlace("default", number)}

    run(body, tmp_path, "box")


def test_only_so_many_names_are_kept() -> None:
    past = Past()
    for number in range(PAST_NAMES_MAX + 3):
        past.add_mailbox(number, Place(f"box-{number}", "local"))
        past.add_group(number, GroupPlace("default", number))
    assert len(past.mailboxes) == len(past.groups) == PAST_NAMES_MAX
    assert next(iter(past.mailboxes)) == next(iter(past.groups)) == 3
