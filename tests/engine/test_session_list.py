"""Section 5: the sessions that there are, and those that memory has no room for."""

from __future__ import annotations

import asyncio
import tarfile
from pathlib import Path

import pytest

from mq9_mcp.domain import session, session_memory
from mq9_mcp.domain.clock import wire_time
from mq9_mcp.domain.session_memory import IDLE_MS
from mq9_mcp.engine.embedded import session as tables_session
from tests.engine.versions import DATA, FOLDER, OPENED_MS
from tests.support import Desk, Reply, run

IDLE_S = IDLE_MS // 1000


async def names(desk: Desk, agent: str = "alice", principal: str = "local", **wish: object) -> list[str]:
    """The sessions of a list."""
    reply: Reply = await desk.call("session_list", agent, principal, **wish)
    assert (reply["remaining"] > 0) == ("next_cursor" in reply)
    return [one["id"] for one in reply["sessions"]]


def test_sessions_are_listed_by_name_with_what_operators_ask_for(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send("box", session="b")
        await desk.send("other", session="a")
        await desk.send("box", session="a")
        await desk.send("box", "alone")
        [a, b] = (await desk.call("session_list"))["sessions"]
        assert a == {
            "id": "a",
            "state": "open",
            "mailboxes": ["box", "other"],
            "turns": 2,
            "turns_max": 1_000,
            "changed_at": wire_time(desk.time.now),
        }
        assert (b["id"], b["turns"]) == ("b", 1)

    run(body, tmp_path, "box", "other")


def test_a_list_can_be_filtered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for room in (session, session_memory, tables_session):
        monkeypatch.setattr(room, "TURNS_MAX", 2)

    async def body(desk: Desk) -> None:
        await desk.send("box", session="idle")
        await desk.pass_time(IDLE_S)
        await desk.send("box", session="open", agent="bob")
        await desk.send("box", session="full")
        await desk.send("other", session="full")
        await desk.send("box", session="over")
        await desk.call("session_close", session="over")
        assert await names(desk) == ["full", "idle", "open", "over"]
        assert await names(desk, state="open") == ["open"]
        assert await names(desk, state="halted") == ["full"]
        assert await names(desk, state="closed") == ["idle", "over"]
        assert await names(desk, mailbox="other") == ["full"]
        assert await names(desk, sender="bob") == ["open"]
        assert await names(desk, since=wire_time(desk.time.now)) == ["full", "open", "over"]
        assert await names(desk, state="open", sender="alice") == []
        await desk.refused("MAILBOX_NOT_FOUND", "session_list", mailbox="none")

    run(body, tmp_path, "box", "other")


def test_a_list_has_pages(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for number in range(5):
            await desk.send(session=f"s{number}")
        reply = await desk.call("session_list", limit=2)
        assert ([one["id"] for one in reply["sessions"]], reply["remaining"]) == (["s0", "s1"], 3)
        assert await names(desk, limit=2, cursor=reply["next_cursor"]) == ["s2", "s3"]
        assert await names(desk, limit=2, cursor="s3") == ["s4"]

    run(body, tmp_path, "box")


def test_a_caller_sees_the_sessions_that_he_takes_part_in(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_fetch", "alice")
        await desk.call("mailbox_send", "eve", "guest", to="alice", text="hers", session="hers")
        await desk.send("box", session="ours")
        assert await names(desk) == ["hers", "ours"]
        assert await names(desk, "eve", "guest") == ["hers"]
        [one] = (await desk.call("session_list", "eve", "guest"))["sessions"]
        assert one["mailboxes"] == [], "she reads none of them"

    run(body, tmp_path, "box")


# -- more than memory holds


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory for three sessions of one mailbox and one sender."""
    for room in (session_memory, tables_session):
        monkeypatch.setattr(room, "PLACES_MAX", 9)
    for room in (session, session_memory):
        monkeypatch.setattr(room, "TURNS_MAX", 4)


@pytest.mark.usefixtures("little_room")
@pytest.mark.parametrize("restarts", [False, True])
def test_sessions_that_left_memory_are_what_they_were(restarts: bool, tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for name in ("full", "full", "full", "full", "over"):
            await desk.send(session=name)
        await desk.call("session_close", session="over")
        for number in range(5):
            await desk.send(session=f"s{number}")
        if restarts:
            await desk.restart()
        known = desk.engine.state.sessions
        assert list(known.known) == ["s2", "s3", "s4"], "the last that changed"
        assert known.spilled
        with pytest.raises(Exception, match="SESSION_NOT_FOUND"):
            await desk.call("mailbox_send", "mal", "other", to="alice", text="x", session="s0")
        await desk.refused("LOOP_GUARD", "mailbox_send", to="box", text="x", session="full")
        await desk.refused("SESSION_CLOSED", "mailbox_send", to="box", text="x", session="over")
        await desk.send(session="s0")
        assert list(known.known) == ["s3", "s4", "s0"]
        for name, turns in (("s0", 2), ("s1", 1), ("full", 4)):
            reply = await desk.call("session_get", session=name)
            assert reply["session"]["turns"] == len(reply["entries"]) == turns
        await desk.call("session_close", session="s1")
        assert (await desk.call("session_get", session="s1"))["session"]["state"] == "closed"
        await desk.call("session_reopen", session="full")
        await desk.send(session="full")
        assert len(await names(desk)) == 7
        if restarts:
            await desk.restart()
        assert list(desk.engine.state.sessions.known) == ["s0", "s1", "full"]
        assert (await desk.call("session_get", session="full"))["session"]["turns"] == 5

    async def setup(desk: Desk) -> None:
        await desk.call("mailbox_fetch", "alice")
        await body(desk)

    run(setup, tmp_path, "box")


@pytest.mark.usefixtures("little_room")
def test_an_answer_finds_its_session_in_the_tables(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        first = await desk.send(session="talk")
        await desk.send("box", "a", agent="bob", in_reply_to=(await desk.send())["id"])  # joins mq9.2
        for number in range(4):
            await desk.send(session=f"s{number}")
        for original, name, turns in ((first["id"], "talk", 2), (2, "mq9.2", 3)):
            assert desk.engine.state.sessions.get(name) is None
            await desk.send("box", "b", agent="bob", in_reply_to=original)
            assert (await desk.call("session_get", session=name))["session"]["turns"] == turns
        [message] = await desk.fetch(max=1)
        for number in range(4):
            await desk.send(session=f"s{number}")
        send = {"in_reply_to": first["id"], "to": "box", "text": "c"}
        await desk.call("mailbox_ack", "bob", items=[{"lease": message["lease"]}], send=send)
        assert (await desk.call("session_get", session="talk"))["session"]["turns"] == 3

    run(body, tmp_path, "box")


@pytest.mark.usefixtures("little_room")
def test_what_is_gone_leaves_memory_and_tables(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for number in range(3):
            await desk.send(session=f"s{number}")
        await desk.pass_time(2 * IDLE_S)
        await desk.send(session="new")
        assert list(desk.engine.state.sessions.known) == ["new"]
        assert not desk.engine.state.sessions.spilled
        assert await desk.engine.read_row("count_sessions", []) == (1,)

    run(body, tmp_path, "box")


# -- data of the version before


def test_sessions_of_data_from_before_there_were_any_are_found(tmp_path: Path) -> None:
    with tarfile.open(FOLDER / "v1.tar.gz") as file:
        file.extractall(tmp_path, filter="data")

    async def body() -> None:
        desk = Desk(tmp_path / DATA)
        desk.time.now = OPENED_MS
        await desk.open()
        try:
            listed = (await desk.call("session_list"))["sessions"]
            assert len(listed) > 1
            for one in listed:
                reply = await desk.call("session_get", session=one["id"])
                sent = [entry for entry in reply["entries"] if "dead_letter" not in entry]
                assert reply["session"]["turns"] >= len(sent) > 0
                assert reply["session"]["state"] == "open"
        finally:
            await desk.broker.close()

    asyncio.run(body())
