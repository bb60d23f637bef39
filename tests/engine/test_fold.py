"""Folding: what fails is said and done again, once; rows come out the same however records are grouped."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import duckdb
import pytest

from mq9_mcp.engine.embedded.fold import Fold
from mq9_mcp.engine.embedded.replay import Entry
from tests.engine.test_faults import outcome, queried
from tests.support import Desk, run, texts

MINUTE = 60


def test_folding_that_fails_for_a_while_stops_no_send(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    working = Fold.fold
    broken = threading.Event()

    def fold(self: Fold, entries: list[Entry], digest: bytes = b"") -> None:
        if broken.is_set():
            self.tables.con.execute("select no_such_column from meta")
        working(self, entries, digest)

    monkeypatch.setattr(Fold, "fold", fold)
    monkeypatch.setattr("mq9_mcp.engine.embedded.folder_child.RETRY_S", 0.01)

    async def body(desk: Desk) -> None:
        await desk.send(text="one")
        broken.set()
        await desk.send(text="two")
        assert texts(await desk.fetch()) == ["one", "two"]
        refusal = await desk.refused("STORAGE_UNAVAILABLE", "mailbox_query", mailbox="box")
        assert "no_such_column" in refusal.message
        broken.clear()
        assert texts(await queried(desk)) == ["one", "two"]
        await desk.restart()
        assert texts(await desk.query()) == ["one", "two"]

    run(body, tmp_path, "box")


def counts(con: duckdb.DuckDBPyConnection) -> tuple[int, ...]:
    """Messages, different ones among them, failed attempts, dedup keys."""
    row = con.execute(
        "select (select count(*) from messages), (select count(distinct id) from messages),"
        " (select sum(attempts) from open_deliveries)::integer, (select count(*) from dedup_keys)"
    ).fetchone()
    assert row is not None
    return row


def test_a_fold_that_fails_half_way_is_done_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of a transaction that was rolled back are written by the next, and only once."""
    working = Fold.write
    failures = iter([True, False, True, True, False])

    def write(self: Fold) -> None:
        working(self)
        if next(failures, False):
            raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(Fold, "write", write)
    monkeypatch.setattr("mq9_mcp.engine.embedded.folder_child.RETRY_S", 0.01)

    async def body(desk: Desk) -> None:
        for text in ("one", "two", "three"):
            await desk.send(text=text, dedup_key=text)
            [message] = await desk.fetch(max=1)
            await desk.settle(message, "nack", delay_s=0)
            await outcome(desk, "mailbox_query", mailbox="box")
        await queried(desk)
        assert await desk.engine.folder.read(0, counts) == (3, 3, 3, 3)
        await desk.restart()
        assert sorted(message["attempt"] for message in await desk.fetch()) == [1, 1, 4]

    run(body, tmp_path, "box")


def test_keys_that_cannot_be_forgotten_do_not_fold_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    working = Fold.forget_keys
    failures = iter([True])

    def forget(self: Fold) -> None:
        if next(failures, False):
            raise OSError(errno.ENOSPC, "no room")
        working(self)

    monkeypatch.setattr(Fold, "forget_keys", forget)
    monkeypatch.setattr("mq9_mcp.engine.embedded.folder_child.RETRY_S", 0.01)

    async def body(desk: Desk) -> None:
        desk.time.now += 2 * MINUTE * 1000
        await desk.send(text="one")
        assert texts(await queried(desk)) == ["one"]

    run(body, tmp_path, "box")


def test_a_copy_of_a_copy_in_one_transaction_keeps_its_body(tmp_path: Path) -> None:
    """A dead letter that is redriven, and one that dies again, before either is folded."""

    async def body(desk: Desk) -> None:
        await desk.call("mailbox_update", address="box", settings={"max_attempts": 1})
        for text in ("back", "dies twice"):
            await desk.send(text=text)
        for message in await desk.fetch():
            await desk.settle(message, "reject", reason="bad")
        letters = await desk.fetch("box.dead")
        await desk.settle(letters[1], "reject", reason="worse")
        await desk.settle(letters[0], "release")
        await desk.call("mailbox_redrive", mailbox="box.dead")
        assert texts(await desk.query("box.dead.dead")) == ["dies twice"]
        assert texts(await desk.query())[-1] == "back"
        await desk.restart()
        assert texts(await desk.fetch("box.dead.dead")) == ["dies twice"]
        assert texts(await desk.fetch()) == ["back"]

    run(body, tmp_path, "box")


def test_retention_that_looks_twice_at_once_removes_once(tmp_path: Path) -> None:
    """The second look comes before the first removal is on disk, and in the tables."""

    async def body(desk: Desk) -> None:
        settings = {"retention": {"age_s": 5, "bytes": 1_000_000}}
        await desk.call("mailbox_update", address="box", settings=settings)
        for text in ("one", "two"):
            await desk.send(text=text)
        for message in await desk.fetch():
            await desk.settle(message)
        await desk.send(text="three", ttl_s=2 * MINUTE + 6)
        for passed in (2 * MINUTE, 6):
            desk.time.now += passed * 1000
            desk.engine.house.swept_at = 0
            await desk.engine.tick(desk.broker.ask())
        counts = (await desk.call("mailbox_get", address="box"))["mailbox"]["counts"]
        assert (counts["settled"], counts["unsettled"]) == (1, 0)
        assert [message["parts"] for message in await desk.query()] == [[{"text": "three"}]]

    run(body, tmp_path, "box")
