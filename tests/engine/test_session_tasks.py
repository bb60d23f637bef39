"""Sections 4 and 5 together: the states of tasks in a conversation, and what its end leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from mq9_mcp.domain import session_memory
from tests.engine.test_tasks import begin, get, notices, update
from tests.support import Desk, Reply, run


def told(reply: Reply) -> list[str]:
    """A view in short: texts of messages, and states of tasks."""
    return [
        one["parts"][0]["text"] if one["kind"] == "message" else f"({one['state']})"
        for one in reply["entries"]
    ]


async def view(
    desk: Desk, name: str, agent: str = "alice", principal: str = "local", **more: object
) -> Reply:
    """The reply of session_get."""
    return await desk.call("session_get", agent, principal, session=name, **more)


async def round_trip(desk: Desk, **where: str) -> str:
    """A task with a question, an answer and an end; its id."""
    task, message = await begin(desk, **where)
    await update(desk, message, progress={"done": 1})
    await update(desk, message, state="input-required", message="Which cat?")
    await desk.call("mailbox_send", "alice", task=task, text="The old one")
    [message] = await desk.fetch("jobs")
    await update(desk, message, state="completed", message="4 kg")
    return task


STORY = [
    *("weigh the cat", "(submitted)", "(working)", "Which cat?", "(input-required)"),
    *("The old one", "(submitted)", "(working)", "4 kg", "(completed)"),
]


@pytest.mark.parametrize("named", [True, False], ids=["named", "its own"])
def test_task_states_stand_between_the_messages(tmp_path: Path, named: bool) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch("alice", "alice")
        task = await round_trip(desk, **({"session": "s"} if named else {}))
        session = (await get(desk, task))["session"]
        for _ in range(2):
            reply = await view(desk, session)
            assert told(reply) == STORY
            assert reply["session"] == {
                "id": session,
                "state": "open",
                "mailboxes": ["alice", "jobs"],
                "turns": 4,
            }
            states = [one for one in reply["entries"] if one["kind"] == "task"]
            assert {one["task"] for one in states} == {task}
            history = {one["number"]: one for one in (await get(desk, task, history=50))["history"]}
            assert all(history[one["number"]]["state"] == one["state"] for one in states)
            assert [one["from"] for one in states] == ["alice", "bob", "bob", "alice", "bob", "bob"]
            await desk.restart()

    run(body, tmp_path, "jobs")


def test_pages_break_anywhere(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch("alice", "alice")
        session = (await get(desk, await round_trip(desk)))["session"]
        for limit in (1, 2, 3, 7):
            pages, after = list[str](), dict[str, str]()
            while True:
                reply = await view(desk, session, limit=limit, **after)
                pages += told(reply)
                if "next_after" not in reply:
                    break
                after = {"after": reply["next_after"]}
            assert pages == STORY
        [first] = (await view(desk, session, limit=1))["entries"]
        assert told(await view(desk, session, after=first["id"])) == STORY[1:]
        for bad in ("1.2", "1.2.task-0", "1.2.task-0.x", "x", "-1"):
            await desk.refused("INVALID_ARGUMENT", "session_get", session=session, after=bad)

    run(body, tmp_path, "jobs")


def test_a_stranger_to_the_task_sees_no_states(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_fetch", "eve", "other", mailbox="eve")
        await begin(desk, session="s")
        await desk.call("mailbox_send", to="eve", session="s", text="hello")
        assert told(await view(desk, "s", "eve", "other")) == ["hello"]

    run(body, tmp_path, "jobs")


def test_a_closed_session_takes_no_answer_and_lets_the_task_go_on(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch("alice", "alice")
        task, message = await begin(desk, session="s")
        await desk.call("session_close", session="s")
        await desk.refused("SESSION_CLOSED", "mailbox_send", "alice", task=task, text="hurry")
        await update(desk, message, progress={"done": 1})
        await update(desk, message, state="completed", message="done")
        assert [one["task_state"] for one in await notices(desk)] == ["completed"]
        assert (await view(desk, "s"))["session"]["state"] == "closed"

    run(body, tmp_path, "jobs")


def test_a_halted_session_refuses_messages_and_lets_the_task_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for room in ("mq9_mcp.domain.session_memory", "mq9_mcp.domain.session"):
        monkeypatch.setattr(f"{room}.TURNS_MAX", 2)
    assert session_memory.TURNS_MAX == 2

    async def body(desk: Desk) -> None:
        await desk.fetch("alice", "alice")
        task, message = await begin(desk)
        await update(desk, message, state="input-required", message="Which?")
        assert (await view(desk, (await get(desk, task))["session"]))["session"]["turns"] == 2
        await desk.refused("LOOP_GUARD", "mailbox_send", "alice", task=task, text="that one")
        await desk.call("session_reopen", session=(await get(desk, task))["session"], turns_max=9)
        await desk.call("mailbox_send", "alice", task=task, text="that one")
        [message] = await desk.fetch("jobs")
        await update(desk, message, state="completed")
        assert len(await notices(desk)) == 2

    run(body, tmp_path, "jobs")


def test_a_task_is_in_its_session_after_its_first_message_was_removed(tmp_path: Path) -> None:
    """Retention took the work message; whoever may write to the task may still join its session."""

    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="brief", settings={"retention": {"age_s": 1, "bytes": 0}})
        task = (await desk.send("brief", "weigh", task=True))["task"]
        [message] = await desk.fetch("brief")
        await update(desk, message, state="input-required", message="Which?")
        await desk.pass_time(60)
        assert await desk.query("brief") == []
        await desk.call("mailbox_send", "alice", task=task, text="this")
        [again] = await desk.fetch("brief")
        assert again["task"] == task
        assert again["session"] == message["session"]

    run(body, tmp_path)


def test_tasks_of_an_ordered_session_are_worked_one_after_the_other(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="line", settings={"ordered_by": "session"})
        one, two = [
            (await desk.send("line", text, task=True, session="s"))["task"] for text in ("one", "two")
        ]
        [first] = await desk.fetch("line", max=1)
        assert first["task"] == one
        assert await desk.fetch("line") == []
        await update(desk, first, state="input-required", message="?")
        [second] = await desk.fetch("line", max=1)
        assert second["task"] == two
        await desk.call("mailbox_send", "alice", task=one, text="!")
        assert await desk.fetch("line") == []
        await update(desk, second, state="completed")
        [answer] = await desk.fetch("line")
        assert answer["task"] == one
        await update(desk, answer, state="completed")

    run(body, tmp_path)
