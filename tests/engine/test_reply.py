"""Section 2: session, in_reply_to, reply_to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support import Desk, Reply, run, texts


async def asked(desk: Desk, **arguments: Any) -> Reply:
    """Alice asks in ``box``; bob holds the question."""
    await desk.send(agent="alice", **arguments)
    [message] = await desk.fetch()
    return message


def test_in_reply_to_alone_is_enough_it_goes_to_the_senders_mailbox(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        question = await asked(desk, text="?")
        reply = await desk.call("mailbox_send", "bob", in_reply_to=question["id"], text="!")
        assert reply["receipts"][0]["mailbox"] == "alice"
        [answer] = await desk.fetch("alice", "alice")
        assert (answer["in_reply_to"], texts([answer])) == (question["id"], ["!"])

    run(body, tmp_path, "box")


def test_to_defaults_to_the_messages_reply_to_first(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        question = await asked(desk, reply_to="answers")
        reply = await desk.call("mailbox_send", "bob", in_reply_to=question["id"], text="!")
        assert reply["receipts"][0]["mailbox"] == "answers"
        await desk.restart()
        reply = await desk.call("mailbox_send", "bob", in_reply_to=question["id"], text="again")
        assert reply["receipts"][0]["mailbox"] == "answers"

    run(body, tmp_path, "box", "answers")


def test_a_reply_goes_where_to_says_if_it_says_so(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        question = await asked(desk)
        reply = await desk.call("mailbox_send", "bob", to="other", in_reply_to=question["id"], text="!")
        assert reply["receipts"][0]["mailbox"] == "other"

    run(body, tmp_path, "box", "other")


def test_the_reply_inherits_the_session(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for session in ("talk", None):
            arguments = {"session": session} if session else {}
            question = await asked(desk, **arguments)
            reply = await desk.call("mailbox_send", "bob", in_reply_to=question["id"], text="!")
            assert reply["receipts"][0]["session"] == question["session"]
        found = await desk.query("alice", session="talk")
        assert len(found) == 1

    run(body, tmp_path, "box")


def test_a_message_of_its_own_has_a_session_of_its_own(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        first, second = await desk.send(), await desk.send()
        assert first["session"] != second["session"]
        assert (await desk.send(session=first["session"]))["session"] == first["session"]
        assert len(await desk.query(session=first["session"])) == 2

    run(body, tmp_path, "box")


def test_a_session_that_the_broker_would_name_must_exist(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        error = await desk.refused("SESSION_NOT_FOUND", "mailbox_send", to="box", text="x", session="mq9.999")
        assert "mq9.999" in error.message
        assert await desk.query() == []

    run(body, tmp_path, "box")


def test_a_reply_to_what_nobody_sent_is_message_not_found(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        error = await desk.refused("MESSAGE_NOT_FOUND", "mailbox_send", in_reply_to=77, text="x")
        assert "77" in error.message
        await desk.refused("MESSAGE_NOT_FOUND", "mailbox_send", to="box", in_reply_to=77, text="x")
        assert await desk.query() == []

    run(body, tmp_path, "box")


def test_a_sender_without_a_mailbox_cannot_be_answered_without_to(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(agent=None)
        [message] = await desk.fetch()
        error = await desk.refused(
            "MAILBOX_NOT_FOUND", "mailbox_send", agent="bob", in_reply_to=message["id"], text="x"
        )
        assert "to" in error.message

    run(body, tmp_path, "box")


def test_holding_a_message_is_the_grant_to_reply_to_it(tmp_path: Path) -> None:
    """The asker's ``reply_to`` is a private mailbox of another principal: only the answer may go there."""

    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", "ann", "asker", address="private")
        await desk.call("mailbox_fetch", "worker", "server")
        await desk.call("mailbox_send", "ann", "asker", to="worker", text="?", reply_to="private")
        reply = await desk.call("mailbox_fetch", "worker", "server")
        [question] = reply["messages"]
        refusal = {"agent": "worker", "principal": "server"}
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_send", **refusal, to="private", text="spam")
        for arguments in ({}, {"to": "private"}):
            sent = await desk.call(
                "mailbox_send", "worker", "server", in_reply_to=question["id"], text="!", **arguments
            )
            assert sent["receipts"][0]["mailbox"] == "private"
        stranger = {"agent": "eve", "principal": "stranger"}
        await desk.refused(
            "MESSAGE_NOT_FOUND", "mailbox_send", **stranger, in_reply_to=question["id"], text="x"
        )

    run(body, tmp_path)


def test_a_stranger_who_guesses_an_id_does_not_answer_it(tmp_path: Path) -> None:
    """ "A receipt never claims more than is true": nobody but holder and sender replies to a message."""

    async def body(desk: Desk) -> None:
        asking = await desk.call("mailbox_send", "ann", "asker", to="ann", text="?")
        id = asking["receipts"][0]["id"]
        await desk.call("mailbox_send", "eve", "stranger", to="eve", in_reply_to=id, text="fake", session="s")
        again = await desk.call(
            "mailbox_send", "ann", "asker", to="ann", text="?", dedup_key="k", wait_for="replied"
        )
        assert again["receipts"][0]["reached"] == "stored"
        standing = await desk.engine.standing(id)
        assert standing[1] == 0

    run(body, tmp_path)


def test_a_reply_whose_question_was_removed_still_goes_where_to_says(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        question = await asked(desk)
        await desk.settle(question)
        await desk.call("mailbox_delete", mailbox="box", ids=[question["id"]])
        sent = await desk.call("mailbox_send", "bob", to="alice", in_reply_to=question["id"], text="!")
        assert sent["receipts"][0]["mailbox"] == "alice"

    run(body, tmp_path, "box")
