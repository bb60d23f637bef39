"""Who may do what with a task of others: nothing, but answer a message in it that one holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mq9_mcp.domain.errors import Mq9Error
from tests.support import Desk, Reply, run


async def three(desk: Desk) -> tuple[str, Reply]:
    """A task that ``asker`` gave ``worker``, and whose notices go to ``helper``; each is a principal."""
    for name in ("asker", "worker", "helper"):
        card = {"name": name, "description": "A party."}
        await desk.call("agent_register", name, principal=name, card=card)
    sent: dict[str, Any] = {"to": "worker", "text": "weigh", "task": True, "reply_to": "helper"}
    await desk.call("mailbox_send", "asker", principal="asker", session="scales", **sent)
    [message] = (await desk.call("mailbox_fetch", "worker", principal="worker"))["messages"]
    return message["task"], message


async def code(desk: Desk, name: str, **arguments: Any) -> str:
    """The code with which ``helper`` is refused."""
    try:
        await desk.call(name, "helper", principal="helper", **arguments)
    except Mq9Error as error:
        return error.code
    return "allowed"


def test_who_holds_a_question_answers_it(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, message = await three(desk)
        lease = {"task": task, "lease": message["lease"]}
        asked = {**lease, "state": "input-required", "message": "which cat?"}
        await desk.call("task_update", "worker", principal="worker", **asked)
        [question] = (await desk.call("mailbox_fetch", "helper", principal="helper"))["messages"]
        answer = {"in_reply_to": question["id"], "text": "the black one"}
        [receipt] = (await desk.call("mailbox_send", "helper", principal="helper", **answer))["receipts"]
        assert receipt["task"] == task
        [work] = (await desk.call("mailbox_fetch", "worker", principal="worker"))["messages"]
        assert (work["id"], work["task"]) == (receipt["id"], task)
        assert work["question"]["parts"] == [{"text": "which cat?"}]
        assert await code(desk, "task_get", task=task) == "TASK_NOT_FOUND"

    run(body, tmp_path)


def test_strangers_find_no_task(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, message = await three(desk)
        before = await desk.call("task_get", "asker", principal="asker", task=task, history=100)
        item = {"task": task, "lease": message["lease"], "state": "completed"}
        assert await code(desk, "task_get", task=task) == "TASK_NOT_FOUND"
        assert await code(desk, "task_cancel", task=task) == "TASK_NOT_FOUND"
        assert await code(desk, "task_update", **item) == "TASK_NOT_FOUND"
        assert await code(desk, "mailbox_send", to="worker", text="x", task=task) == "TASK_NOT_FOUND"
        assert await code(desk, "session_get", session="scales") == "SESSION_NOT_FOUND"
        mine = await desk.call("task_list", "helper", principal="helper", session="scales")
        assert mine["tasks"] == []
        guess = {"to": "worker", "text": "x", "in_reply_to": message["id"]}
        [receipt] = (await desk.call("mailbox_send", "helper", principal="helper", **guess))["receipts"]
        assert "task" not in receipt
        after = await desk.call("task_get", "asker", principal="asker", task=task, history=100)
        assert after == before

    run(body, tmp_path)
