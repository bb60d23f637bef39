"""mailbox_redrive: letters go back to their mailbox and group only, anew, at a rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import Desk, run, texts


async def dead(desk: Desk, *words: str, group: str = "default", **fields: Any) -> list[int]:
    """Messages of ``m`` that died in ``group``; returns the ids of their letters."""
    before = {letter["id"] for letter in await letters(desk)}
    for text in words:
        await desk.send("m", text, **fields)
    while messages := await desk.fetch("m", group=group, max=1000):
        for message in messages:
            await desk.settle(message, "reject", reason="test")
    return [letter["id"] for letter in await letters(desk) if letter["id"] not in before]


async def letters(desk: Desk) -> list[dict[str, Any]]:
    """All letters there are."""
    found = await desk.call("mailbox_list", prefix="m.dead")
    return await desk.query("m.dead", limit=100) if found["mailboxes"] else []


@pytest.mark.parametrize("restart", [False, True])
def test_letters_go_back_to_their_mailbox_with_attempts_from_0(tmp_path: Path, restart: bool) -> None:
    """New ids, the old content; the letter is gone."""

    async def body(desk: Desk) -> None:
        ids = await dead(desk, "one", "two", tags=["t"], session="s", priority="urgent")
        reply = await desk.call("mailbox_redrive", mailbox="m.dead")
        assert (reply["skipped"], reply["remaining"]) == ([], 0)
        assert [one["letter"] for one in reply["redriven"]] == ids
        assert {one["mailbox"] for one in reply["redriven"]} == {"m"}
        if restart:
            await desk.restart()
        assert await letters(desk) == []
        got = await desk.fetch("m")
        assert texts(got) == ["one", "two"]
        assert [message["id"] for message in got] == [one["id"] for one in reply["redriven"]]
        assert all(one["id"] > max(ids) for one in reply["redriven"])
        for message in got:
            assert (message["attempt"], message["tags"], message["session"]) == (1, ["t"], "s")
            assert (message["priority"], "dead_letter" in message) == ("urgent", False)
            assert (await desk.settle(message))["ok"]

    run(body, tmp_path, "m")


@pytest.mark.parametrize("restart", [False, True])
def test_redriven_mail_goes_to_its_group_only(tmp_path: Path, restart: bool) -> None:
    """Neither the groups there are nor those that come later see it."""

    async def body(desk: Desk) -> None:
        await desk.fetch("m", group="g")
        await dead(desk, "one", group="g")
        assert len(await desk.fetch("m", group="default")) == 1
        await desk.call("mailbox_redrive", mailbox="m.dead")
        if restart:
            await desk.restart()
        assert await desk.fetch("m") == []
        assert texts(await desk.fetch("m", group="new")) == ["one"]  # the original, not the copy
        [message] = await desk.fetch("m", group="g")
        await desk.settle(message)
        found = (await desk.query("m", ids=[message["id"]]))[0]["deliveries"]
        assert [(one["group"], one["state"]) for one in found] == [("g", "acked")]

    run(body, tmp_path, "m")


def test_redriven_mail_dies_again_after_as_many_attempts(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_update", address="m", settings={"max_attempts": 3})
        await dead(desk, "one")
        await desk.call("mailbox_redrive", mailbox="m.dead")
        for attempt in (1, 2, 3):
            [message] = await desk.fetch("m")
            assert message["attempt"] == attempt
            await desk.settle(message, "nack", delay_s=0)
        [letter] = await letters(desk)
        assert letter["dead_letter"]["attempts"] == 3
        assert letter["dead_letter"]["id"] == message["id"]

    run(body, tmp_path, "m")


def test_redriven_mail_passes_the_dedup_window(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await dead(desk, "one", dedup_key="k")
        await desk.call("mailbox_redrive", mailbox="m.dead")
        assert texts(await desk.fetch("m")) == ["one"]
        assert (await desk.send("m", "one", dedup_key="k"))["duplicate"]

    run(body, tmp_path, "m")


def test_redriven_mail_past_its_ttl_is_delivered(tmp_path: Path) -> None:
    """Whoever gives it back wants it handled."""

    async def body(desk: Desk) -> None:
        await dead(desk, "one", ttl_s=10)
        await desk.pass_time(60)
        await desk.call("mailbox_redrive", mailbox="m.dead")
        await desk.restart()
        [message] = await desk.fetch("m")
        assert "expires_at" not in message

    run(body, tmp_path, "m")


@pytest.mark.parametrize("restart", [False, True])
def test_rate_staggers_what_goes_back(tmp_path: Path, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        await dead(desk, *(str(number) for number in range(6)))
        reply = await desk.call("mailbox_redrive", mailbox="m.dead", rate=2)
        assert len(reply["redriven"]) == 6
        if restart:
            await desk.restart()
        got = []
        for _ in range(6):
            got.append(texts(await desk.fetch("m")))
            await desk.pass_time(0.5)
        assert got == [[str(number)] for number in range(6)]

    run(body, tmp_path, "m")


def test_limit_takes_the_oldest_and_says_how_many_remain(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await dead(desk, "1", "2", "3", "4", "5")
        reply = await desk.call("mailbox_redrive", mailbox="m.dead", limit=2)
        assert (len(reply["redriven"]), reply["remaining"]) == (2, 3)
        assert texts(await desk.fetch("m")) == ["1", "2"]
        assert texts(await letters(desk)) == ["3", "4", "5"]

    run(body, tmp_path, "m")


def test_ids_take_exactly_those(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        ids = await dead(desk, "1", "2", "3")
        await desk.call("mailbox_redrive", mailbox="m.dead", ids=[ids[2], ids[0], ids[2]])
        assert sorted(texts(await desk.fetch("m"))) == ["1", "3"]
        assert texts(await letters(desk)) == ["2"]

    run(body, tmp_path, "m")


def test_an_id_that_is_no_letter_refuses_the_call(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        ids = await dead(desk, "1")
        note = await desk.send("m.dead", "a note")
        for wrong in (note["id"], 10**9):
            await desk.refused("MESSAGE_NOT_FOUND", "mailbox_redrive", mailbox="m.dead", ids=[ids[0], wrong])
        reply = await desk.call("mailbox_redrive", mailbox="m.dead")
        assert len(reply["redriven"]) == 1
        assert texts(await letters(desk)) == ["a note"]  # other mail stays

    run(body, tmp_path, "m")


def test_a_letter_that_somebody_holds_stays(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        ids = await dead(desk, "held", "free")
        [held] = await desk.fetch("m.dead", max=1)
        await desk.refused("LEASE_LOST", "mailbox_redrive", mailbox="m.dead", ids=[ids[0]])
        await desk.call("mailbox_redrive", mailbox="m.dead")
        assert texts(await desk.fetch("m")) == ["free"]
        assert (await desk.settle(held))["ok"]

    run(body, tmp_path, "m")


@pytest.mark.parametrize("why", ["no group", "full", "no mailbox"])
def test_a_letter_that_cannot_go_back_stays_and_says_why(tmp_path: Path, why: str) -> None:
    async def body(desk: Desk) -> None:
        await dead(desk, "1", "2")
        if why == "no group":
            await desk.call("group_delete", mailbox="m", group="default")
        elif why == "full":
            await desk.call("mailbox_update", address="m", settings={"messages_max": 1})
        else:
            await desk.call("mailbox_drop", address="m")
        reply = await desk.call("mailbox_redrive", mailbox="m.dead")
        codes = [one["error"]["code"] for one in reply["skipped"]]
        expected = {
            "no group": ["INVALID_ARGUMENT"] * 2,
            "full": ["MAILBOX_FULL"],
            "no mailbox": ["MAILBOX_NOT_FOUND"] * 2,
        }
        assert codes == expected[why]
        assert texts(await letters(desk)) == (["2"] if why == "full" else ["1", "2"])

    run(body, tmp_path, "m")


def test_in_an_ordered_mailbox_it_comes_at_the_end_of_its_session(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_update", address="m", settings={"ordered_by": "session"})
        await dead(desk, "first", session="s")
        await desk.send("m", "second", session="s")
        await desk.call("mailbox_redrive", mailbox="m.dead")
        await desk.restart()
        assert texts(await desk.fetch("m")) == ["second", "first"]

    run(body, tmp_path, "m")
