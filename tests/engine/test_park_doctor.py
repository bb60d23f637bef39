"""The doctor and parked messages: none is lost with the tables, and what cannot be kept is told."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import duckdb

from mq9_mcp.domain.names import PARKED
from mq9_mcp.engine.embedded.doctor import TABLES, examine, survey_tables
from mq9_mcp.engine.embedded.repair import repair
from mq9_mcp.engine.embedded.salvage import salvage_rows
from mq9_mcp.engine.embedded.segments import JOURNAL_FOLDER
from mq9_mcp.engine.embedded.tables import TABLES_FILE, Tables
from tests.engine.cards import short
from tests.support import Desk

INTENT = {"text": "zither lessons"}


async def _meet(desk: Desk, name: str) -> list[int]:
    """An agent comes; what it is given."""
    await desk.call("agent_register", name=name, card=short(name, description="zither lessons"))
    await desk.broker.parking.settled()
    await desk.pass_time(0.001)
    return [message["id"] for message in await desk.fetch(name, agent=name, max=10)]


def make(folder: Path) -> list[int]:
    """One message that an agent was given, and two that wait; their ids."""

    async def body() -> list[int]:
        desk = Desk(folder)
        await desk.open()
        receipt = (await desk.call("mailbox_send", intent=INTENT, park=True, task=True))["receipts"][0]
        assert await _meet(desk, "first") == [receipt["id"]]
        await desk.call("agent_report", "first", status="offline")
        await desk.call("mailbox_send", messages=[{"intent": INTENT, "park": True, "task": True}] * 2)
        waiting = list(desk.engine.state.parked)
        await desk.engine.folder.reach(desk.engine.journal.durable_seq)
        await desk.broker.close()
        return [receipt["id"], *waiting]

    return asyncio.run(body())


def given(folder: Path, name: str = "second") -> list[int]:
    """What the next agent is given."""

    async def body() -> list[int]:
        desk = Desk(folder)
        await desk.open()
        try:
            await desk.broker.parking.settled()
            return await _meet(desk, name)
        finally:
            await desk.broker.close()

    return asyncio.run(body())


def test_tables_that_are_built_anew_know_what_waits(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    ids = make(folder)
    (folder / TABLES_FILE).write_bytes(b"damaged")
    assert not examine(folder).sound
    repair(folder)
    assert examine(folder).sound
    assert given(folder) == ids[1:]
    assert given(folder, "third") == []


def test_a_message_that_lost_what_it_waits_for_is_found_and_withdrawn(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    ids = make(folder)
    with duckdb.connect(str(folder / TABLES_FILE)) as con:
        con.execute("delete from parked where message = ?", [ids[1]])
    report = examine(folder)
    assert [finding.what for finding in report.findings if "without what they wait for" in finding.what]
    for path in (folder / JOURNAL_FOLDER).glob("*.mq9"):
        path.unlink()
    repair(folder)
    assert examine(folder).sound
    assert given(folder) == ids[2:]


def test_the_mailbox_is_the_brokers_after_a_repair_too(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    make(folder)
    (folder / TABLES_FILE).unlink()
    with duckdb.connect(str(folder / TABLES_FILE)) as con:
        con.execute("create table nothing (one bigint)")
    repair(folder)

    async def body() -> None:
        desk = Desk(folder)
        await desk.open()
        try:
            await desk.refused("MAILBOX_NOT_FOUND", "mailbox_fetch", mailbox=PARKED)
            assert len((await desk.call("mailbox_query", mailbox=PARKED))["messages"]) == 2
        finally:
            await desk.broker.close()

    asyncio.run(body())


def test_what_a_table_lost_comes_from_the_journal(tmp_path: Path) -> None:
    """Every table but ``meta``, without which nothing in the file can be trusted."""
    make(tmp_path / "data")
    broken, whole = tmp_path / "data" / TABLES_FILE, tmp_path / "whole"
    shutil.copy(broken, whole)
    names = [name for name in TABLES if name != "meta"]
    found = survey_tables(broken)
    with duckdb.connect(str(broken)) as con:
        for name in names:
            con.execute(f"delete from {name}")
            found.unreadable[name] = "a damaged block"
    made = Tables(tmp_path / "made")
    salvage_rows(broken, found, made, whole)
    for name in names:
        [(count,)] = made.con.execute(f"select count(*) from {name}").fetchall()
        assert count == found.rows[name], name
    assert found.rows["parked"] == 2
    made.close()
