"""Section 5: a session is one view across mailboxes, costs nothing alone, and ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from mq9_mcp.domain import session, session_memory
from mq9_mcp.domain.session_memory import IDLE_MS
from tests.support import Desk, Reply, run

DAY = 86_400
IDLE_S = IDLE_MS // 1000


async def view(
    desk: Desk, name: str, agent: str = "alice", principal: str = "local", **more: object
) -> Reply:
    """The reply of session_get."""
    return await desk.call("session_get", agent, principal, session=name, **more)


def said(reply: Reply) -> list[str]:
    """The texts of a view's messages."""
    return [entry["parts"][0]["text"] for entry in reply["entries"]]


async def last_seq(desk: Desk) -> int:
    """How far the journal has come."""
    return desk.engine.journal.last_seq


# -- the view


def test_messages_come_in_store_order_whatever_mailbox_they_were_in(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for number, to in enumerate(("box", "other", "box", "other")):
            await desk.send(to, str(number), session="talk")
        await desk.send("box", "elsewhere", session="another")
        await desk.settle((await desk.fetch(max=1))[0])  # settled mail stays in the view
        reply = await view(desk, "talk")
        assert said(reply) == ["0", "1", "2", "3"]
        assert [entry["mailbox"] for entry in reply["entries"]] == ["box", "other"] * 2
        assert {entry["kind"] for entry in reply["entries"]} == {"message"}
        assert {entry["session"] for entry in reply["entries"]} == {"talk"}
        mailboxes = ["box", "other"]
        assert reply["session"] == {"id": "talk", "state": "open", "mailboxes": mailboxes, "turns": 4}
        assert "next_after" not in reply

    run(body, tmp_path, "box", "other")


def test_a_view_has_pages(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call(
            "mailbox_send", messages=[{"to": "box", "text": str(n), "session": "talk"} for n in range(55)]
        )
        first = await view(desk, "talk")
        assert said(first) == [str(n) for n in range(50)], "limit=50"
        second = await view(desk, "talk", after=first["next_after"], limit=3)
        assert said(second) == ["50", "51", "52"]
        third = await view(desk, "talk", after=second["entries"][-1]["id"])
        assert said(third) == ["53", "54"]
        assert "next_after" not in third
        assert said(await view(desk, "talk", after=2**52)) == []

    run(body, tmp_path, "box")


def test_a_page_of_large_messages_is_short(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for number in range(6):
            await desk.send(text=str(number) * 1_000_000, session="talk")
        first = await view(desk, "talk")
        assert len(first["entries"]) == 4, "4 MiB, as a fetch"
        rest = await view(desk, "talk", after=first["next_after"])
        assert [text[:1] for text in said(rest)] == ["4", "5"]

    run(body, tmp_path, "box")


def test_only_what_the_caller_may_read_is_shown(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send("alice", "from eve", agent="eve", session="talk")
        await desk.call("mailbox_fetch", "eve", "guest")  # her own mailbox, of another principal
        [message] = await desk.fetch("alice", "alice")
        await desk.call("mailbox_send", "alice", in_reply_to=message["id"], text="an answer")
        await desk.call("mailbox_send", "alice", to="box", session="talk", text="among us")
        assert said(await view(desk, "talk")) == ["from eve", "an answer", "among us"]
        hers = await view(desk, "talk", "eve", "guest")
        assert said(hers) == ["from eve", "an answer"], "what she sent, and what came to her mailbox"
        assert hers["session"]["mailboxes"] == ["alice", "eve"], "where she sent to, and what she reads"
        assert hers["session"]["turns"] == 3

    async def setup(desk: Desk) -> None:
        await desk.call("mailbox_fetch", "alice")
        await desk.call("mailbox_fetch", "eve", "guest")
        await body(desk)

    run(setup, tmp_path, "box")


@pytest.mark.parametrize("name", ["talk", "none", "mq9.1", "mq9.99", "mq9.none", "mq9.9007199254740993"])
def test_a_stranger_is_told_what_is_told_of_nothing(name: str, tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="alone")
        await desk.send(text="one", session="talk")
        before = await last_seq(desk)
        for command in ("session_get", "session_close", "session_reopen"):
            with pytest.raises(Exception, match="SESSION_NOT_FOUND") as caught:
                await desk.call(command, "eve", "guest", session=name)
            assert str(caught.value).replace(name, "S") == str(
                await desk.refused("SESSION_NOT_FOUND", command, session="S")
            )
        assert await last_seq(desk) == before
        assert (await desk.call("session_list", "eve", "guest"))["sessions"] == []

    run(body, tmp_path, "box")


def test_a_message_that_names_none_has_a_session_of_its_own_that_costs_nothing(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        first, second = [await desk.send(text=text) for text in ("one", "two")]
        assert first["session"] == f"mq9.{first['id']}"
        assert first["session"] != second["session"]
        assert not desk.engine.state.sessions.known, "nothing in memory"
        reply = await view(desk, first["session"])
        assert said(reply) == ["one"]
        assert reply["session"] == {"id": "mq9.1", "state": "open", "mailboxes": ["box"], "turns": 1}
        assert (await desk.call("session_list"))["sessions"] == []
        [message] = await desk.fetch(max=1)
        await desk.send(text="an answer", agent="bob", in_reply_to=message["id"])
        assert list(desk.engine.state.sessions.known) == ["mq9.1"], "a second message joined"
        reply = await view(desk, "mq9.1")
        assert said(reply) == ["one", "an answer"]
        assert reply["session"]["turns"] == 2

    run(body, tmp_path, "box")


def test_a_fan_out_without_a_session_has_one_for_each_copy_and_with_one_counts_each_copy(
    tmp_path: Path,
) -> None:
    async def body(desk: Desk) -> None:
        reply = await desk.call("mailbox_send", to=["box", "other"], text="all")
        assert [one["session"] for one in reply["receipts"]] == ["mq9.1", "mq9.2"]
        await desk.call("mailbox_send", to=["box", "other"], text="all", session="talk")
        assert (await view(desk, "talk"))["session"]["turns"] == 2

    run(body, tmp_path, "box", "other")


# -- who joins


def test_naming_an_unknown_id_opens_it(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        assert (await desk.send(session="talk"))["session"] == "talk"
        assert (await view(desk, "talk"))["session"]["state"] == "open"

    run(body, tmp_path, "box")


def test_joining_needs_a_participant(tmp_path: Path) -> None:
    """A participant sent a message of it, or reads a mailbox in it."""

    async def body(desk: Desk) -> None:
        await desk.call("mailbox_fetch", "alice")
        await desk.call("mailbox_fetch", "eve", "guest")
        await desk.call("mailbox_send", "eve", "guest", to="alice", text="hers", session="talk")
        await desk.send("alice", "of a reader", session="talk", agent="bob")
        await desk.call("mailbox_send", "eve", "guest", to="alice", text="of a sender", session="talk")
        before = await last_seq(desk)
        for who in ("mal", None):
            with pytest.raises(Exception, match="SESSION_NOT_FOUND"):
                await desk.call(
                    "mailbox_send", who, "other", to="alice", text="of a stranger", session="talk"
                )
        await desk.call("mailbox_send", "mal", "other", to="alice", text="x", session="another")
        assert await last_seq(desk) > before, "a name that nobody uses is anybody's"
        assert said(await view(desk, "talk")) == ["hers", "of a reader", "of a sender"]

    run(body, tmp_path)


def test_a_stranger_does_not_join_the_own_session_of_a_message(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_fetch", "alice")
        receipt = await desk.send("box", "one")
        with pytest.raises(Exception, match="SESSION_NOT_FOUND"):
            await desk.call("mailbox_send", "mal", "other", to="alice", text="x", session=receipt["session"])
        await desk.send("box", "two", agent="bob", session=receipt["session"])
        assert said(await view(desk, receipt["session"])) == ["one", "two"]

    run(body, tmp_path, "box")


def test_holding_a_message_is_the_grant_to_reply_in_its_session(tmp_path: Path) -> None:
    """Even where the record of the session knows nothing of the holder: a dead letter is answered."""

    async def body(desk: Desk) -> None:
        receipt = await desk.send("box", "one")
        await desk.settle((await desk.fetch())[0], "reject")
        await desk.call("mailbox_delete", mailbox="box", ids=[receipt["id"]])
        [letter] = await desk.fetch("box.dead")
        assert letter["session"] == "mq9.1"
        answer = await desk.send("box", "what was wrong?", agent="bob", in_reply_to=letter["id"])
        assert answer["session"] == "mq9.1"
        reply = await view(desk, "mq9.1")
        assert [entry["mailbox"] for entry in reply["entries"]] == ["box.dead", "box"]
        assert reply["session"]["turns"] == 2

    run(body, tmp_path, "box")


def test_letters_and_redrives_are_shown_and_are_no_turns(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send("box", "one", session="talk")
        await desk.settle((await desk.fetch())[0], "reject", reason="broken")
        reply = await view(desk, "talk")
        assert [entry["mailbox"] for entry in reply["entries"]] == ["box", "box.dead"]
        assert reply["entries"][1]["dead_letter"]["reason"] == "broken"
        assert reply["session"]["turns"] == 1
        await desk.call("mailbox_redrive", mailbox="box.dead")
        reply = await view(desk, "talk")
        assert [entry["mailbox"] for entry in reply["entries"]] == ["box", "box"]
        assert reply["session"]["turns"] == 1
        [again] = await desk.fetch()
        assert again["session"] == "talk"

    run(body, tmp_path, "box")


# -- closing


def test_a_closed_session_refuses_sends_and_goes_on_with_delivery_and_settlement(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="one", session="talk")
        await desk.send(text="two", session="talk", delay_s=60)
        reply = await desk.call("session_close", session="talk")
        assert reply["session"]["state"] == "closed"
        before = await last_seq(desk)
        error = await desk.refused("SESSION_CLOSED", "mailbox_send", to="box", text="x", session="talk")
        assert "talk" in error.message
        assert error.hint
        assert await last_seq(desk) == before, "nothing stored"
        [first] = await desk.fetch()
        await desk.refused("SESSION_CLOSED", "mailbox_send", text="x", in_reply_to=first["id"])
        assert (await desk.settle(first, "extend"))["ok"]
        assert (await desk.settle(first))["ok"]
        await desk.pass_time(60)
        [second] = await desk.fetch()
        assert (await desk.settle(second, "reject"))["ok"], "its letter is no send"
        assert len((await view(desk, "talk"))["entries"]) == 3
        assert (await view(desk, "talk"))["session"]["state"] == "closed"

    run(body, tmp_path, "box")


def test_an_answer_goes_on_in_another_session(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        first = await desk.send(session="talk")
        await desk.call("session_close", session="talk")
        answer = await desk.send(agent="bob", in_reply_to=first["id"], session="next")
        assert answer["session"] == "next"

    run(body, tmp_path, "box")


def test_a_session_of_one_message_can_be_closed(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        first = await desk.send()
        assert (await desk.call("session_close", session="mq9.1"))["session"]["turns"] == 1
        assert (await view(desk, "mq9.1"))["session"]["state"] == "closed"
        await desk.refused("SESSION_CLOSED", "mailbox_send", text="x", to="box", in_reply_to=first["id"])
        await desk.call("session_reopen", session="mq9.1")
        await desk.send(in_reply_to=first["id"])

    run(body, tmp_path, "box")


def test_ack_and_send_into_a_closed_session_refuses_the_whole_call(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(session="talk")
        [message] = await desk.fetch()
        await desk.call("session_close", session="talk")
        items = [{"lease": message["lease"]}]
        before = await last_seq(desk)
        send = {"to": "box", "text": "x", "session": "talk"}
        await desk.refused("SESSION_CLOSED", "mailbox_ack", "bob", items=items, send=send)
        assert await last_seq(desk) == before
        assert (await desk.settle(message))["ok"]

    run(body, tmp_path, "box")


def test_a_batch_with_one_message_into_a_closed_session_stores_nothing(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(session="talk")
        await desk.call("session_close", session="talk")
        messages = [{"to": "box", "text": "a"}, {"to": "box", "text": "b", "session": "talk"}]
        before = await last_seq(desk)
        error = await desk.refused("SESSION_CLOSED", "mailbox_send", messages=messages)
        assert error.details["index"] == 1
        assert await last_seq(desk) == before

    run(body, tmp_path, "box")


def test_a_repeated_send_into_a_closed_session_gets_its_first_receipt(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        first = await desk.send(session="talk", dedup_key="k")
        await desk.call("session_close", session="talk")
        again = await desk.send(session="talk", dedup_key="k")
        assert again == {**first, "duplicate": True}
        await desk.refused(
            "SESSION_CLOSED", "mailbox_send", to=["box", "other"], text="hello", session="talk", dedup_key="k"
        )

    run(body, tmp_path, "box", "other")


def test_an_ack_repeated_after_the_close_gets_its_first_receipts(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(session="talk")
        [message] = await desk.fetch()
        call: Reply = {
            "items": [{"lease": message["lease"]}],
            "send": {"to": "box", "text": "x", "session": "talk"},
        }
        first = await desk.call("mailbox_ack", "bob", **call)
        await desk.call("session_close", session="talk")
        assert await desk.call("mailbox_ack", "bob", **call) == first

    run(body, tmp_path, "box")


def test_closing_twice_changes_nothing(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(session="talk")
        first = await desk.call("session_close", session="talk")
        before = await last_seq(desk)
        await desk.pass_time(5)
        assert await desk.call("session_close", session="talk") == first
        assert await last_seq(desk) == before

    run(body, tmp_path, "box")


def test_who_only_sent_may_not_end_a_session_for_others(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_fetch", "alice")
        await desk.call("mailbox_send", "eve", "guest", to="alice", text="hers", session="talk")
        before = await last_seq(desk)
        for command in ("session_close", "session_reopen"):
            with pytest.raises(Exception, match="FORBIDDEN"):
                await desk.call(command, "eve", "guest", session="talk")
        assert await last_seq(desk) == before

    run(body, tmp_path)


# -- the idle end


def test_a_session_that_rests_for_30_days_is_closed_and_its_name_is_free_30_days_later(
    tmp_path: Path,
) -> None:
    async def body(desk: Desk) -> None:
        assert IDLE_S == 30 * DAY
        await desk.send(text="one", session="talk")
        await desk.pass_time(IDLE_S - 0.001)
        await desk.send(text="two", session="talk")
        await desk.pass_time(IDLE_S - 0.001)
        assert (await view(desk, "talk"))["session"]["state"] == "open"
        await desk.pass_time(0.001)
        assert (await view(desk, "talk"))["session"]["state"] == "closed"
        await desk.refused("SESSION_CLOSED", "mailbox_send", to="box", text="x", session="talk")
        assert len(await desk.fetch()) == 2, "delivery goes on"
        await desk.pass_time(IDLE_S)
        assert (await view(desk, "talk"))["session"] == {
            "id": "talk",
            "state": "closed",
            "mailboxes": ["box"],
            "turns": 2,
        }
        assert (await desk.call("session_list"))["sessions"] == []
        await desk.refused("SESSION_NOT_FOUND", "session_reopen", session="talk")
        await desk.send(text="three", session="talk")
        session = (await view(desk, "talk"))["session"]
        assert (session["state"], session["turns"]) == ("open", 1), "a new one"

    run(body, tmp_path, "box")


def test_a_session_closed_by_hand_is_known_for_30_days(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(session="talk")
        await desk.call("session_close", session="talk")
        await desk.pass_time(IDLE_S - 0.001)
        await desk.refused("SESSION_CLOSED", "mailbox_send", to="box", text="x", session="talk")
        await desk.pass_time(0.001)
        await desk.send(session="talk")

    run(body, tmp_path, "box")


def test_the_answer_to_a_message_that_waited_for_months_opens_its_session(tmp_path: Path) -> None:
    """A message alone has nothing that could become idle: whoever was away may still answer."""

    async def body(desk: Desk) -> None:
        await desk.send(text="one")
        await desk.pass_time(90 * DAY)
        [message] = await desk.fetch()
        await desk.send(text="an answer", agent="bob", in_reply_to=message["id"])
        assert said(await view(desk, "mq9.1")) == ["one", "an answer"]

    run(body, tmp_path, "box")


# -- the loop guard


@pytest.fixture
def few_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five messages a session."""
    for room in (session, session_memory):
        monkeypatch.setattr(room, "TURNS_MAX", 5)


def test_the_loop_guard_stops_the_message_after_the_thousandth(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        messages = [{"to": "box", "text": "x", "session": "talk"} for _ in range(1_000)]
        await desk.call("mailbox_send", messages=messages)
        before = await last_seq(desk)
        error = await desk.refused("LOOP_GUARD", "mailbox_send", to="box", text="x", session="talk")
        assert error.message.endswith("holds 1000 messages, turns_max is 1000; it is halted")
        assert (error.details["turns"], error.details["turns_max"]) == (1000, 1000)
        assert "session_reopen" in error.hint
        assert await last_seq(desk) == before

    run(body, tmp_path, "box")


@pytest.mark.usefixtures("few_turns")
def test_a_halted_session_refuses_sends_and_lets_settlements_pass(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for number in range(5):
            await desk.send(text=str(number), session="talk")
        assert (await view(desk, "talk"))["session"]["state"] == "halted"
        first, second, third = await desk.fetch(max=3)
        await desk.refused("LOOP_GUARD", "mailbox_send", text="x", in_reply_to=first["id"])
        items = [{"lease": second["lease"]}]
        send = {"to": "box", "text": "x", "session": "talk"}
        await desk.refused("LOOP_GUARD", "mailbox_ack", "bob", items=items, send=send)
        for message, outcome in ((first, "ack"), (second, "nack"), (third, "reject")):
            assert (await desk.settle(message, outcome))["ok"]
        await desk.send(text="elsewhere", session="next")
        await desk.call("session_close", session="talk")
        await desk.refused("SESSION_CLOSED", "mailbox_send", **send)

    run(body, tmp_path, "box")


@pytest.mark.usefixtures("few_turns")
def test_a_batch_that_goes_over_turns_max_is_refused_whole(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        messages = [{"to": "box", "text": "x", "session": "talk"} for _ in range(6)]
        before = await last_seq(desk)
        error = await desk.refused("LOOP_GUARD", "mailbox_send", messages=messages)
        assert error.message.endswith(
            "holds 0 messages, turns_max is 5; the call has more than the 5 that it still takes"
        )
        assert await last_seq(desk) == before
        await desk.call("mailbox_send", messages=messages[:4])
        copies: Reply = {"to": ["box", "other"], "text": "x", "session": "talk"}
        error = await desk.refused("LOOP_GUARD", "mailbox_send", **copies)
        assert "holds 4 messages, turns_max is 5; the call has more than the 1 " in error.message
        await desk.call("mailbox_send", messages=messages[:1])

    run(body, tmp_path, "box", "other")


@pytest.mark.usefixtures("few_turns")
def test_the_guard_of_a_session_that_is_inherited_stops_two_agents_that_answer_each_other(
    tmp_path: Path,
) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_fetch", "bob")
        await desk.send("bob", "hello")
        for turn in range(4):
            speaker = ("bob", "alice")[turn % 2]
            [message] = await desk.fetch(speaker, speaker)
            await desk.call("mailbox_send", speaker, in_reply_to=message["id"], text="and you?")
        [message] = await desk.fetch("bob", "bob")
        error = await desk.refused("LOOP_GUARD", "mailbox_send", "bob", in_reply_to=message["id"], text="x")
        assert error.details["session"] == "mq9.1"

    run(body, tmp_path)


@pytest.mark.usefixtures("few_turns")
def test_session_reopen_raises_the_limit(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for _ in range(5):
            await desk.send(session="talk")
        error = await desk.refused("INVALID_ARGUMENT", "session_reopen", session="talk", turns_max=5)
        assert "5" in error.message
        reply = await desk.call("session_reopen", session="talk", turns_max=6)
        assert (reply["session"]["state"], reply["session"]["turns_max"]) == ("open", 6)
        await desk.send(session="talk")
        await desk.refused("LOOP_GUARD", "mailbox_send", to="box", text="x", session="talk")
        reply = await desk.call("session_reopen", session="talk")
        assert reply["session"]["turns_max"] == 6 + 5, "as much again"
        await desk.send(session="talk")

    run(body, tmp_path, "box")


def test_session_reopen_opens_what_was_closed(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(session="talk")
        await desk.call("session_close", session="talk")
        await desk.call("session_reopen", session="talk")
        await desk.send(session="talk")
        await desk.pass_time(IDLE_S)
        await desk.call("session_reopen", session="talk")
        await desk.send(session="talk")

    run(body, tmp_path, "box")


# -- together with the rest


def test_an_ordered_mailbox_delivers_a_closed_session_in_order(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="line", settings={"ordered_by": "session"})
        for number in range(3):
            await desk.send("line", str(number), session="talk")
        await desk.call("session_close", session="talk")
        for number in range(3):
            [message] = await desk.fetch("line", max=1)
            assert message["parts"][0]["text"] == str(number)
            assert await desk.fetch("line") == [], "the session is busy"
            await desk.settle(message)

    run(body, tmp_path)


def test_what_retention_removed_is_not_in_the_view_and_still_counted(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="brief", settings={"retention": {"age_s": 60, "bytes": 0}})
        await desk.send("brief", "one", session="talk")
        await desk.send("brief", "two", session="talk")
        await desk.settle((await desk.fetch("brief", max=1))[0])
        await desk.pass_time(120)
        reply = await view(desk, "talk")
        assert said(reply) == ["two"]
        assert reply["session"] == {"id": "talk", "state": "open", "mailboxes": ["brief"], "turns": 2}
        await desk.settle((await desk.fetch("brief", max=1))[0])
        await desk.pass_time(120)
        reply = await view(desk, "talk")
        assert (reply["entries"], reply["session"]["turns"]) == ([], 2)
        assert reply["session"]["mailboxes"] == ["brief"]

    run(body, tmp_path)


def test_a_dropped_mailbox_leaves_the_session_and_its_count(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send("box", "one", session="talk")
        await desk.send("other", "two", session="talk")
        await desk.call("mailbox_drop", address="box")
        reply = await view(desk, "talk")
        assert said(reply) == ["two"]
        assert reply["session"] == {"id": "talk", "state": "open", "mailboxes": ["other"], "turns": 2}
        await desk.call("mailbox_drop", address="other")
        assert said(await view(desk, "talk", "alice")) == [], "she sent to it"
        await desk.refused("SESSION_NOT_FOUND", "session_get", "bob", session="talk")
        await desk.call("mailbox_create", address="box")
        await desk.refused("SESSION_NOT_FOUND", "session_get", "bob", session="talk")

    run(body, tmp_path, "box", "other")


@pytest.mark.usefixtures("few_turns")
def test_everything_about_a_session_survives_a_restart(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for _ in range(5):
            await desk.send(session="full")
        await desk.send(session="over")
        await desk.call("session_close", session="over")
        first = await desk.send("other")
        await desk.send("other", in_reply_to=first["id"])
        before = [await view(desk, name) for name in ("full", "over", first["session"])]
        listed = await desk.call("session_list")
        assert [one["id"] for one in listed["sessions"]] == ["full", "mq9.7", "over"]
        for _ in range(2):
            await desk.restart()
            assert [await view(desk, name) for name in ("full", "over", first["session"])] == before
            assert await desk.call("session_list") == listed
            for code, name in (("LOOP_GUARD", "full"), ("SESSION_CLOSED", "over")):
                await desk.refused(code, "mailbox_send", to="box", text="x", session=name)
        with pytest.raises(Exception, match="SESSION_NOT_FOUND"):
            await desk.call("mailbox_send", "mal", "other", to="alice", text="x", session="full")

    async def setup(desk: Desk) -> None:
        await desk.call("mailbox_fetch", "alice")
        await body(desk)

    run(setup, tmp_path, "box", "other")
