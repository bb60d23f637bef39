"""Requests of clients that know their messages by names of their own: sent again, they are one task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.state import Caller
from mq9_mcp.domain.task_commands import TaskPage
from mq9_mcp.domain.task_request import TaskRequest
from tests.support import Desk, Reply, run

ASKER = Caller("local", "alice")


async def request(
    desk: Desk, message_id: str = "m1", text: str = "hello", caller: Caller = ASKER, **arguments: Any
) -> Reply:
    arguments = {"to": "box", "task": True, **arguments}
    command = TaskRequest(
        parts=[{"text": text}], message_id=message_id, a2a={"messageId": message_id}, **arguments
    )
    reply = await desk.broker.execute(caller, command)
    receipt: Reply = reply["receipts"][0]
    return receipt


def test_a_repeated_request_is_one_task(tmp_path: Path) -> None:
    async def test(desk: Desk) -> None:
        first = await request(desk)
        again = await request(desk)
        assert again == {**first, "duplicate": True}
        assert len(await desk.fetch()) == 1
        assert (await request(desk))["task"] == first["task"], "it is worked on by now"
        await desk.restart()
        assert (await request(desk))["task"] == first["task"]

    run(test, tmp_path, "box")


def test_another_asker_other_parts_or_another_name_is_another_task(tmp_path: Path) -> None:
    async def test(desk: Desk) -> None:
        tasks = [
            (await request(desk))["task"],
            (await request(desk, caller=Caller("local", "carol")))["task"],
            (await request(desk, text="other"))["task"],
            (await request(desk, "m2"))["task"],
        ]
        assert len(set(tasks)) == 4

    run(test, tmp_path, "box")


@pytest.mark.parametrize("state", ["completed", "input-required"])
def test_a_task_that_is_over_or_waits_is_not_meant(tmp_path: Path, state: str) -> None:
    async def test(desk: Desk) -> None:
        first = await request(desk)
        [message] = await desk.fetch()
        task = first["task"]
        await desk.call("task_update", "bob", task=task, lease=message["lease"], state=state)
        assert (await request(desk))["task"] != task
        assert desk.engine.state.requests == {
            key: id for key, id in desk.engine.state.requests.items() if id != task
        }

    run(test, tmp_path, "box")


def test_a_repeated_answer_and_follow_up_join_once(tmp_path: Path) -> None:
    async def test(desk: Desk) -> None:
        task = (await request(desk))["task"]
        [message] = await desk.fetch()
        await desk.call("task_update", "bob", task=task, lease=message["lease"], state="input-required")
        assert not (await request(desk, "answer", task=task))["duplicate"]
        assert (await request(desk, "answer", task=task))["duplicate"]
        assert not (await request(desk, "more", task=task))["duplicate"]
        assert (await request(desk, "more", task=task))["duplicate"]
        known = (await desk.call("task_get", task=task, history=100))["task"]["history"]
        assert [one["kind"] for one in known if one["kind"] in ("answer", "follow_up")] == [
            "answer",
            "follow_up",
        ]

    run(test, tmp_path, "box")


def test_what_stands_around_the_parts_is_kept(tmp_path: Path) -> None:
    async def test(desk: Desk) -> None:
        task = (await request(desk, metadata={"n": 2**60}))["task"]
        [message] = await desk.fetch()
        assert message["a2a"] == {"messageId": "m1"}
        page = await desk.broker.execute(ASKER, TaskPage(mailbox="box", task=task, said=10))
        [said] = page["tasks"][0]["said"]
        assert (said["a2a"], said["metadata"]) == ({"messageId": "m1"}, {"n": 2**60})
        await desk.call("task_update", "bob", task=task, lease=message["lease"], state="completed")

    run(test, tmp_path, "box")


def test_an_exactly_once_mailbox_takes_the_name_as_its_key(tmp_path: Path) -> None:
    async def test(desk: Desk) -> None:
        await desk.call("mailbox_create", address="once", settings={"exactly_once": True})
        first = await request(desk, to="once")
        [message] = await desk.fetch("once")
        await desk.call("task_update", "bob", task=first["task"], lease=message["lease"], state="completed")
        assert (await request(desk, to="once"))["task"] == first["task"]
        with pytest.raises(Refused, match="DEDUP_CONFLICT"):
            await request(desk, text="other", to="once")

    run(test, tmp_path, "box")


def test_a_page_shows_the_last_changed_first(tmp_path: Path) -> None:
    async def test(desk: Desk) -> None:
        tasks = []
        for number in range(3):
            tasks.append((await request(desk, f"m{number}"))["task"])
            await desk.pass_time(1)
        [message] = await desk.fetch(max=1)
        await desk.call("task_update", "bob", task=tasks[0], lease=message["lease"], state="completed")
        page = await desk.broker.execute(ASKER, TaskPage(mailbox="box", limit=2))
        assert [one["id"] for one in page["tasks"]] == [tasks[0], tasks[2]]
        assert (page["total"], page["more"]) == (3, True)
        at = desk.engine.state.tasks[tasks[2]].updated_at
        rest = await desk.broker.execute(ASKER, TaskPage(mailbox="box", before=(at, tasks[2]), limit=2))
        assert [one["id"] for one in rest["tasks"]] == [tasks[1]]
        assert (await desk.broker.execute(ASKER, TaskPage(mailbox="other")))["total"] == 0
        mallory = await desk.broker.execute(Caller("mallory"), TaskPage(mailbox="box"))
        assert mallory == {"tasks": [], "total": 0, "more": False}

    run(test, tmp_path, "box")
