"""Damage anywhere is found at open, said exactly by the doctor, and mended where the data allows.

``MQ9_DAMAGE_ROUNDS`` damages more places of each kind.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mq9_mcp.domain.errors import Unavailable
from mq9_mcp.engine.embedded import frame as frame_module
from mq9_mcp.engine.embedded import repair as repair_module
from mq9_mcp.engine.embedded.doctor import DAMAGE, NOTE, Finding, examine
from mq9_mcp.engine.embedded.engine import open_engine
from mq9_mcp.engine.embedded.frame import Damaged, Newer
from mq9_mcp.engine.embedded.repair import Repaired, repair
from mq9_mcp.engine.embedded.salvage import IDS_SKIPPED
from mq9_mcp.engine.embedded.segments import JOURNAL_FOLDER
from mq9_mcp.engine.embedded.tables import TABLES_FILE
from tests.engine.damage import (
    JOURNAL_DAMAGE,
    TABLES_DAMAGE,
    answers,
    commits,
    flip,
    make,
    prints,
    segments,
)
from tests.support import Desk, run, texts

ROUNDS = int(os.environ.get("MQ9_DAMAGE_ROUNDS", "1"))


class Whole(NamedTuple):
    """A data directory before it was damaged, and what it answers."""

    folder: Path
    answers: dict[str, Any]


def whole(path: Path, **options: Any) -> Whole:
    folder = make(path, **options)
    assert examine(folder).sound
    return Whole(folder, answers(folder))


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Everything is in the tables, and the journal has everything from the first record on."""
    return whole(tmp_path_factory.mktemp("folded") / "data")


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The tables are those of an earlier moment."""
    return whole(tmp_path_factory.mktemp("crashed") / "data", crashed=True)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The first segments were folded and deleted."""
    return whole(tmp_path_factory.mktemp("short") / "data", journal_bytes=0)


def copy(one: Whole, path: Path) -> Path:
    """A copy to damage."""
    shutil.copytree(one.folder, path)
    return path


def damages(folder: Path) -> list[Finding]:
    """What the doctor finds; he changes nothing."""
    before = prints(folder)
    report = examine(folder)
    assert prints(folder) == before, "looking changed something"
    assert report.as_dict()["sound"] == report.sound
    return [finding for finding in report.findings if finding.kind == DAMAGE]


def said_at_open(folder: Path) -> str:
    """What a start says, which changes nothing either."""
    before = prints(folder)
    with pytest.raises(Damaged, match=f"run: mq9 doctor {folder}") as caught:
        asyncio.run(open_engine(folder))
    assert {name: prints(folder).get(name) for name in before} == before, "a start made it worse"
    return str(caught.value)


def mended(folder: Path) -> Repaired:
    """The directory is sound after a repair, and everything that was replaced is kept."""
    before = prints(folder)
    done = repair(folder)
    assert done.after.sound, done.after.findings
    if done.before.tables.sound:
        del before[TABLES_FILE]  # the journal is folded into it, as a broker does
    assert not {*before.values()} - {*prints(folder).values()}, "something was deleted"
    return done


# -- nothing is lost


@pytest.mark.parametrize("round_", range(ROUNDS))
@pytest.mark.parametrize("name", JOURNAL_DAMAGE)
def test_a_journal_that_is_in_the_tables_is_mended_without_loss(
    name: str, round_: int, folded: Whole, tmp_path: Path
) -> None:
    folder = copy(folded, tmp_path / "data")
    where = JOURNAL_DAMAGE[name](folder, random.Random(f"{name} {round_}"))
    found = damages(folder)
    if name == "no first segment":  # as if it had been deleted when it was folded
        assert not found
        return
    assert found, where
    assert {finding.file.split("/")[0] for finding in found} == {JOURNAL_FOLDER}
    said_at_open(folder)
    assert mended(folder).lost == [], where
    assert answers(folder) == folded.answers, where


@pytest.mark.parametrize("round_", range(ROUNDS))
@pytest.mark.parametrize("name", TABLES_DAMAGE)
def test_tables_are_built_anew_from_a_journal_that_has_everything(
    name: str, round_: int, folded: Whole, tmp_path: Path
) -> None:
    folder = copy(folded, tmp_path / "data")
    where = TABLES_DAMAGE[name](folder, random.Random(f"{name} {round_}"))
    found = damages(folder)
    if name == "tables missing":
        assert not found, "a start builds them by itself"
    elif found or name != "tables flipped" or not round_:  # a free block of the file holds nothing
        assert {finding.file for finding in found} == {TABLES_FILE}, where
        assert all("nothing is lost" in finding.means for finding in found)
        assert mended(folder).lost == []
    assert answers(folder) == folded.answers, where


def test_what_is_damaged_is_said_exactly(folded: Whole, tmp_path: Path) -> None:
    folder = copy(folded, tmp_path / "data")
    (start, _, first), (_, _, following) = commits(folder, 1)[2:4]
    flip(segments(folder)[1], start + 100)
    [finding] = damages(folder)
    name = f"{JOURNAL_FOLDER}/{segments(folder)[1].name}"
    assert (finding.file, finding.offset) == (name, start)
    assert finding.records == (first, following - 1)
    assert finding.what == f"commit {first} does not match its checksum, but {following} does"
    assert finding.means == f"nothing is lost: the tables have record {first}"
    assert finding.next == "mq9 doctor --repair"
    assert f"{segments(folder)[1].name} at byte {start}: commit {first} is damaged" in said_at_open(folder)


def test_all_damage_is_found_not_only_the_first(folded: Whole, tmp_path: Path) -> None:
    folder = copy(folded, tmp_path / "data")
    for index in (0, 1, 2):
        start, end, _ = commits(folder, index)[3]
        flip(segments(folder)[index], (start + end) // 2)
    (folder / TABLES_FILE).write_bytes(b"no database" * 3_000)
    (folder / "notes.txt").write_text("buy milk")
    found = damages(folder)
    assert [finding.file.split("/")[-1] for finding in found] == [
        *(path.name for path in segments(folder)[:3]),
        TABLES_FILE,
    ]
    notes = [finding for finding in examine(folder).findings if finding.kind == NOTE]
    assert [finding.file for finding in notes] == ["notes.txt"]


# -- something is lost


def test_a_lost_record_is_named_and_all_others_stay(crashed: Whole, tmp_path: Path) -> None:
    """One message of the middle is gone, with whatever was done to it; everything else is as it was."""
    folder = copy(crashed, tmp_path / "data")
    report = examine(folder)
    found = [(index, one) for index in range(len(segments(folder))) for one in commits(folder, index)]
    index, (start, end, lost) = next(one for one in found if one[1][2] == report.tables.folded + 4)
    flip(segments(folder)[index], (start + end) // 2)
    [finding] = damages(folder)
    assert (finding.offset, finding.records) == (start, (lost, lost))
    assert finding.means.startswith(f"lost: record {lost};")
    assert "restore a copy" in finding.next
    said_at_open(folder)
    assert mended(folder).lost == [f"the changes of record {lost}"]
    after = answers(folder)
    [gone] = crashed.answers["box"]["messages"].keys() - after["box"]["messages"].keys()
    for id, message in after["box"]["messages"].items():
        assert message == crashed.answers["box"]["messages"][id], id
    assert gone == 19
    for name in ("mailboxes", "alice", "other", "other.dead", "duplicate"):
        expected, seen = crashed.answers[name], after[name]
        if name == "mailboxes":
            expected, seen = (
                {box: one for box, one in all_.items() if box != "box"} for all_ in (expected, seen)
            )
        assert seen == expected


def test_a_lost_end_skips_the_numbers_that_it_may_have_used(crashed: Whole, tmp_path: Path) -> None:
    folder = copy(crashed, tmp_path / "data")
    index = max(index for index in range(len(segments(folder))) if commits(folder, index))
    start, end, last = commits(folder, index)[-1]
    flip(segments(folder)[index], end - 5)
    [finding] = damages(folder)
    assert (finding.offset, finding.records) == (start, (last, 0))
    done = mended(folder)
    assert done.lost == [f"the changes of records from {last} on, if there were any"]

    async def body(desk: Desk) -> None:
        assert (await desk.send(text="new"))["id"] > IDS_SKIPPED
        fences = [message["fence"] for message in await desk.fetch(max=50)]
        assert min(fences) > last + 100_000

    run(body, folder)


def test_without_tables_the_end_of_a_journal_gives_what_it_has(short: Whole, tmp_path: Path) -> None:
    folder = copy(short, tmp_path / "data")
    begin = examine(folder).survey.first
    assert begin > 1
    (folder / TABLES_FILE).unlink()
    assert f"begins with record {begin}" in said_at_open(folder)
    [finding] = damages(folder)
    assert f"the journal begins with record {begin}; lost: what was settled before" in finding.means
    assert "restore a copy of the whole directory" in finding.next
    done = mended(folder)
    assert any(f"before record {begin}" in what for what in done.lost)
    assert "mailbox 1 is recovered-1 now, owned by local, with default settings" in done.done
    after = answers_of(folder, "recovered-1")
    known = {id for id, message in short.answers["box"]["messages"].items() if id >= 10}
    assert known <= after.keys()
    for id in known:
        assert after[id]["parts"] == short.answers["box"]["messages"][id]["parts"]

    async def body(desk: Desk) -> None:
        assert (await desk.send("recovered-1", text="goes on"))["id"] > IDS_SKIPPED
        assert await desk.fetch("recovered-1", max=100)

    run(body, folder)


def answers_of(folder: Path, mailbox: str) -> dict[int, Any]:
    """The messages of one mailbox."""
    found: dict[int, Any] = {}

    async def body(desk: Desk) -> None:
        found.update({message["id"]: message for message in await desk.query(mailbox, limit=100)})

    run(body, folder)
    return found


def test_tables_that_can_be_read_in_part_are_salvaged(short: Whole, tmp_path: Path) -> None:
    """Damaged blocks one after the other: what is elsewhere, or in the journal, is not lost."""
    size = (short.folder / TABLES_FILE).stat().st_size
    partly = set()
    for number, offset in enumerate(range(20_000, size, max(1, size // (10 * ROUNDS)))):
        folder = copy(short, tmp_path / f"{number}")
        flip(folder / TABLES_FILE, offset)
        found = damages(folder)
        if not found:
            continue  # a block that is free
        table = next(
            (
                word
                for word in ("messages", "deliveries", "groups", "mailboxes")
                if f"table {word} " in found[0].what
            ),
            "",
        )
        done = mended(folder)
        if table and done.lost:
            assert f"rows of {table}" in done.lost[0], (offset, done.lost)
            partly.add(table)
        elif not done.lost:
            assert answers(folder) == short.answers, offset
        shutil.rmtree(folder)
    assert partly, "no damage hit the rows of one table alone"


# -- who may, and what is left alone


def test_the_doctor_refuses_while_a_broker_has_the_directory(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="mine")
        for look in (examine, repair):
            with pytest.raises(Unavailable, match=f"process id {os.getpid()}"):
                look(tmp_path)
        assert texts(await desk.fetch()) == ["mine"]

    run(body, tmp_path, "box")
    assert examine(tmp_path).sound


def test_tables_of_another_directory_are_not_chosen_between(
    folded: Whole, crashed: Whole, tmp_path: Path
) -> None:
    folder = copy(folded, tmp_path / "data")
    shutil.copyfile(crashed.folder.with_name("data-earlier"), folder / TABLES_FILE)
    [finding] = damages(folder)
    assert "is not the same in the tables and in the journal" in finding.what
    assert "do not belong together" in said_at_open(folder)
    before = prints(folder)
    with pytest.raises(Damaged, match="nobody but you knows which one is right"):
        repair(folder)
    assert prints(folder) == before
    (folder / TABLES_FILE).unlink()
    assert answers(folder) == folded.answers


def test_data_of_a_later_version_is_not_touched(
    folded: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy(folded, tmp_path / "data")
    before = prints(folder)
    monkeypatch.setattr(frame_module, "RECORD_VERSION", 0)
    with pytest.raises(Newer, match="record format 1"):
        repair(folder)
    assert prints(folder) == before


@pytest.mark.parametrize("what", ["tables", "journal"])
def test_a_repair_that_ends_half_way_is_done_again(
    what: str, folded: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends before each of its moves in turn; another repair then brings it to a good end."""

    class Ends(Exception):
        pass

    class Interrupted:
        def __init__(self, after: int) -> None:
            self.left = after

        def __getattr__(self, name: str) -> Any:
            if name in ("link", "rename", "replace"):
                if not self.left:
                    raise Ends
                self.left -= 1
            return getattr(os, name)

    finished = False
    for after in range(12):
        folder = copy(folded, tmp_path / f"{after}")
        if what == "tables":
            flip(folder / TABLES_FILE, 5_000)
        else:
            for index in (1, 3):
                start, end, _ = commits(folder, index)[1]
                flip(segments(folder)[index], (start + end) // 2)
        with monkeypatch.context() as patch:
            patch.setattr(repair_module, "os", Interrupted(after))
            try:
                repair(folder)
                finished = True
            except Ends:
                assert not finished
        if not examine(folder).sound:
            assert mended(folder).lost == [], after
        assert answers(folder) == folded.answers, after
        if finished:
            break
    assert finished


def test_nothing_is_repaired_where_nothing_is_wrong(folded: Whole, tmp_path: Path) -> None:
    folder = copy(folded, tmp_path / "data")
    before = prints(folder)
    done = repair(folder)
    assert (done.done, done.lost, done.aside) == ([], [], None)
    assert prints(folder) == before


def test_where_nothing_of_a_broker_is_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    for look in (examine, repair):
        with pytest.raises(FileNotFoundError, match="no data directory"):
            look(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
