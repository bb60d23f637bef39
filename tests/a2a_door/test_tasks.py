"""Messages become tasks, tasks are looked at, listed, answered and canceled; the same over both bindings."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.a2a_door.site import BOX, Peer, both, run_peer, update, working
from tests.support import Desk, Reply

BIG = 2**53 + 1


@both
def test_a_message_becomes_a_durable_task(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        part = {"data": {"n": BIG, "one": 1, "x": 1.5, "none": None}, "mediaType": "application/json"}
        fields: dict[str, Any] = {
            "parts": [part, {"raw": "AAEC", "filename": "a.bin", "metadata": {"k": [BIG]}}],
            "metadata": {"big": BIG},
            "extensions": ["urn:x"],
            "referenceTaskIds": ["t0"],
            "contextId": "talk",
        }
        task = await peer.send(**fields)
        assert (task["contextId"], task["status"]["state"]) == ("talk", "TASK_STATE_SUBMITTED")
        said = {"messageId": "m1", "role": "ROLE_USER", "taskId": task["id"], **fields}
        assert task["history"] == [said]
        assert await peer.call("GetTask", id=task["id"]) == task
        [message] = await peer.desk.fetch()
        assert message["parts"] == fields["parts"]
        assert message["a2a"] == {
            name: said[name] for name in ("messageId", "role", "extensions", "referenceTaskIds")
        }

    run_peer(test, tmp_path, binding)


@both
def test_a_blocking_call_waits_for_the_end(tmp_path: Path, binding: str) -> None:
    async def work(desk: Desk, message: Reply) -> None:
        await update(desk, message, artifacts=[{"text": "half"}])
        await update(desk, message, "completed", message="done")

    async def test(peer: Peer) -> None:
        async with working(peer.desk, work):
            task = await peer.send(wait=True)
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"
        assert task["status"]["message"]["role"] == "ROLE_AGENT"
        assert task["status"]["message"]["parts"] == [{"text": "done"}]
        assert task["artifacts"] == [{"artifactId": "artifact-1", "parts": [{"text": "half"}]}]
        assert [one["messageId"] for one in task["history"]] == ["m1"]
        assert await peer.call("GetTask", id=task["id"]) == task

    run_peer(test, tmp_path, binding)


@both
def test_a_direct_reply_is_a_bare_message(tmp_path: Path, binding: str) -> None:
    async def work(desk: Desk, message: Reply) -> None:
        send = {"in_reply_to": message["id"], "text": "four", "to": "bob"}
        await desk.call("mailbox_ack", "bob", items=[{"lease": message["lease"]}], send=send)

    async def test(peer: Peer) -> None:
        async with working(peer.desk, work):
            message = await peer.send("2 + 2", wait=True, contextId="talk")
        assert (message["role"], message["parts"]) == ("ROLE_AGENT", [{"text": "four"}])
        assert message["contextId"] == "talk"
        assert "taskId" not in message

    run_peer(test, tmp_path, binding)


@both
def test_a_question_is_answered_in_the_same_task(tmp_path: Path, binding: str) -> None:
    async def work(desk: Desk, message: Reply) -> None:
        if "question" in message:
            await update(desk, message, "completed", message=message["parts"][0]["text"])
        else:
            await update(desk, message, "input-required", message="which year?")

    async def test(peer: Peer) -> None:
        async with working(peer.desk, work):
            asked = await peer.send("report", wait=True)
            assert asked["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
            assert asked["status"]["message"]["parts"] == [{"text": "which year?"}]
            failed = await peer.failure(
                "SendMessage",
                message={
                    "messageId": "m2",
                    "role": "ROLE_USER",
                    "parts": [{"text": "x"}],
                    "taskId": asked["id"],
                    "contextId": "other",
                },
            )
            assert failed.info["reason"] == "INVALID_PARAMS"
            done = await peer.send("2026", "m2", wait=True, taskId=asked["id"])
        assert done["id"] == asked["id"]
        assert done["contextId"] == asked["contextId"], "taskId alone is enough"
        assert done["status"]["message"]["parts"] == [{"text": "2026"}]
        said = [one["parts"][0]["text"] for one in done["history"]]
        assert said == ["report", "which year?", "2026"]
        assert done["history"][1] == asked["status"]["message"], "the same message wherever it stands"
        short = await peer.call("GetTask", id=done["id"], historyLength=1)
        assert [one["messageId"] for one in short["history"]] == ["m2"]
        assert "history" not in await peer.call("GetTask", id=done["id"], historyLength=0)

    run_peer(test, tmp_path, binding)


@both
def test_what_is_sent_again_while_the_task_is_open_is_that_task(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        first = await peer.send()
        assert await peer.send() == first
        assert (await Peer(peer.site, binding, agent="carol").send())["id"] != first["id"]
        for message in await peer.desk.fetch():
            await update(peer.desk, message, "completed")
        assert (await peer.send())["id"] != first["id"]

    run_peer(test, tmp_path, binding)


@both
def test_a_task_nobody_works_on_is_canceled_at_once(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        task = await peer.send()
        canceled = await peer.call("CancelTask", id=task["id"])
        assert canceled["status"]["state"] == "TASK_STATE_CANCELED"
        failed = await peer.failure("CancelTask", id=task["id"])
        assert failed.info["reason"] == "TASK_NOT_CANCELABLE"
        over = await peer.failure(
            "SendMessage",
            message={"messageId": "x", "role": "ROLE_USER", "parts": [{"text": "x"}], "taskId": task["id"]},
        )
        assert over.info["reason"] == "UNSUPPORTED_OPERATION"

    run_peer(test, tmp_path, binding)


@both
def test_a_worker_is_asked_to_let_go(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        task = await peer.send()
        [message] = await peer.desk.fetch()
        canceling = asyncio.create_task(peer.call("CancelTask", id=task["id"]))
        told = await peer.desk.call("mailbox_fetch", "bob", mailbox=BOX, wait_s=50)
        assert told["cancel_requested"] == [task["id"]]
        await update(peer.desk, message, "canceled", message="stopped")
        assert (await canceling)["status"]["state"] == "TASK_STATE_CANCELED"

    run_peer(test, tmp_path, binding)


@both
def test_tasks_are_listed_by_every_filter_and_page(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        tasks = []
        for number in range(5):
            tasks.append(await peer.send(id=f"m{number}", contextId="odd" if number % 2 else "even"))
            await peer.desk.pass_time(1)
        [message] = await peer.desk.fetch(max=1)
        await update(peer.desk, message, "completed", artifacts=[{"text": "a"}])
        await peer.desk.send("other", "not for this list", task=True)
        order = [tasks[number]["id"] for number in (0, 4, 3, 2, 1)]
        whole = await peer.call("ListTasks")
        assert [one["id"] for one in whole["tasks"]] == order
        assert {name: whole[name] for name in ("totalSize", "pageSize", "nextPageToken")} == {
            "totalSize": 5,
            "pageSize": 50,
            "nextPageToken": "",
        }
        assert all("artifacts" not in one for one in whole["tasks"])
        full = await peer.call("ListTasks", includeArtifacts=True, historyLength=0)
        assert [len(one["artifacts"]) for one in full["tasks"]] == [1, 0, 0, 0, 0]
        assert all("history" not in one for one in full["tasks"])
        found: list[str] = []
        token = ""
        for expected in (2, 2, 1):
            page = await peer.call("ListTasks", pageSize=2, pageToken=token)
            assert (len(page["tasks"]), page["totalSize"]) == (expected, 5)
            found += [one["id"] for one in page["tasks"]]
            token = page["nextPageToken"]
        assert (found, token) == (order, "")
        odd = await peer.call("ListTasks", contextId="odd")
        assert [one["id"] for one in odd["tasks"]] == [order[2], order[4]]
        done = await peer.call("ListTasks", status="TASK_STATE_COMPLETED")
        assert [one["id"] for one in done["tasks"]] == order[:1]
        since = await peer.call("ListTasks", statusTimestampAfter=tasks[3]["status"]["timestamp"])
        assert [one["id"] for one in since["tasks"]] == order[:3]

    run_peer(test, tmp_path, binding, BOX, "other")


@pytest.mark.parametrize(
    "wrong",
    [
        {"pageSize": 0},
        {"pageSize": 101},
        {"pageToken": "zzz"},
        {"status": "TASK_STATE_NOPE"},
        {"historyLength": -1},
        {"statusTimestampAfter": "yesterday"},
    ],
)
@both
def test_a_wrong_filter_is_refused(tmp_path: Path, binding: str, wrong: Reply) -> None:
    async def test(peer: Peer) -> None:
        assert (await peer.failure("ListTasks", **wrong)).info["reason"] == "INVALID_PARAMS"

    run_peer(test, tmp_path, binding)


@both
def test_a_context_of_strangers_is_replaced(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        await peer.desk.call("mailbox_create", "eve", principal="eve", address="eves")
        await peer.desk.call("mailbox_send", "eve", principal="eve", to="eves", text="x", session="secret")
        task = await peer.send(contextId="secret")
        assert task["contextId"] != "secret"

    run_peer(test, tmp_path, binding)


@both
def test_tasks_of_others_look_like_none(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        elsewhere = (await peer.desk.send("other", "x", task=True))["task"]
        for task in ("task-none", elsewhere, "é" * 10, "x" * 200):
            for method in ("GetTask", "CancelTask", "SubscribeToTask"):
                assert (await peer.failure(method, id=task)).info["reason"] == "TASK_NOT_FOUND"

    run_peer(test, tmp_path, binding, BOX, "other")


@both
def test_a_task_of_strangers_is_as_one_that_is_not_there(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        await peer.desk.call("mailbox_create", "eve", principal="eve", address="eves")
        sent = await peer.desk.call("mailbox_send", "eve", principal="eve", to="eves", text="x", task=True)
        hidden, none = sent["receipts"][0]["task"], "task-" + "0" * 24
        eves = Peer(peer.site, binding, "eves")
        for mailbox in (peer, eves):
            for method in ("GetTask", "CancelTask", "SubscribeToTask", "SendMessage"):
                answers = []
                for task in (hidden, none):
                    message = {
                        "messageId": "m",
                        "role": "ROLE_USER",
                        "parts": [{"text": "x"}],
                        "taskId": task,
                    }
                    params = {"message": message} if method == "SendMessage" else {"id": task}
                    failure = await mailbox.failure(method, **params)
                    answers.append((failure.code, failure.info, failure.message.replace(task, "it")))
                assert answers[0] == answers[1]
        mine = await peer.send()
        for method in ("GetTask", "CancelTask", "SubscribeToTask"):
            wrong = await eves.failure(method, id=mine["id"])
            assert wrong.info["reason"] == "TASK_NOT_FOUND", "it is a task of another mailbox"

    run_peer(test, tmp_path, binding)
