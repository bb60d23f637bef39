"""The limits of tasks, each at its edge: accepted, one over it refused by name and nothing changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mq9_mcp.domain import apply_task, task_update
from mq9_mcp.domain.limits import limit
from tests.engine.test_tasks import begin, get, update
from tests.support import Desk, run


def test_follow_ups_max(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        most = limit("follow_ups_max")
        words = [{"task": task, "text": "more"}] * most
        await desk.call("session_reopen", session=message["session"], turns_max=2 * most)
        await desk.call("mailbox_send", "alice", messages=words)
        version = (await get(desk, task))["version"]
        error = await desk.refused("MAILBOX_FULL", "mailbox_send", "alice", **words[0])
        assert error.details["limit"] == "follow_ups_max"
        assert (await get(desk, task))["version"] == version
        reply = await update(desk, message, progress={"done": 1})
        assert len(reply["follow_ups"]) == most
        await update(desk, message, checkpoint="seen")
        await desk.call("mailbox_send", "alice", **words[0])

    run(body, tmp_path, "jobs")


def test_task_artifacts_max(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        most = limit("task_artifacts_max")
        for start in range(0, most, 50):
            await update(desk, message, artifacts=[{"text": "a"}] * min(50, most - start))
        before = await get(desk, task)
        late = {"task": task, "lease": message["lease"], "artifacts": [{"text": "b"}]}
        error = await desk.refused("BATCH_TOO_LARGE", "task_update", "bob", **late)
        assert error.details["task_artifacts_max"] == most
        assert await get(desk, task) == before
        assert len(before["artifacts"]) == most

    run(body, tmp_path, "jobs")


def test_task_artifacts_bytes_max(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    piece = len(b'{"artifact_id":"artifact-1","parts":[{"text":""}]}') + 50
    monkeypatch.setattr(task_update, "ARTIFACTS_BYTES_MAX", 2 * piece)

    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        await update(desk, message, artifacts=[{"text": "a" * 50}])
        before = await get(desk, task)
        late = {"task": task, "lease": message["lease"], "artifacts": [{"text": "b" * 51}]}
        error = await desk.refused("MESSAGE_TOO_LARGE", "task_update", "bob", **late)
        assert error.details["task_artifacts_bytes_max"] == 2 * piece
        assert await get(desk, task) == before
        await update(desk, message, artifacts=[{"text": "b" * 50}])

    run(body, tmp_path, "jobs")


def test_ended_tasks_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply_task, "ENDED_MAX", 2)

    async def body(desk: Desk) -> None:
        ended = []
        for _ in range(4):
            task, message = await begin(desk)
            await update(desk, message, state="completed", message="done")
            ended.append(task)
        assert list(desk.engine.state.ended_tasks) == ended[2:]
        assert {(await get(desk, task))["state"] for task in ended} == {"completed"}

    run(body, tmp_path, "jobs")


def test_a_history_is_given_in_pieces_that_fit_into_a_reply(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        for _ in range(7):
            await update(desk, message, message="x" * 1_000_000)
        version = (await get(desk, task))["version"]
        history = (await get(desk, task, history=100))["history"]
        assert [entry["number"] for entry in history] == list(range(version - 4, version + 1))
        told: list[int] = []
        while not told or told[-1] < version:
            entries = await desk.engine.task_events(task, told[-1] if told else 0, version)
            assert sum(len(str(entry)) for entry in entries) < 256 * 1024 + 1_100_000, "followers hold it"
            told += [entry["number"] for entry in entries]
        assert told == list(range(1, version + 1))

    run(body, tmp_path, "jobs")


def test_checkpoints_count_in_a_fetch_reply(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_send", messages=[{"to": "jobs", "text": "go", "task": True}] * 40)
        for message in await desk.fetch("jobs", max=40):
            await update(desk, message, checkpoint="x" * 250_000)
            await desk.settle(message, "release")
        messages = await desk.fetch("jobs", max=40)
        assert len(messages) == limit("fetch_bytes_max") // 251_000
        rest = await desk.fetch("jobs", max=40)
        assert len(rest) == len(messages)
        assert {one["id"] for one in rest}.isdisjoint(one["id"] for one in messages)

    run(body, tmp_path, "jobs")


def test_a_list_of_tasks_is_given_in_pages_that_fit_into_a_reply(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_send", messages=[{"to": "jobs", "text": "go", "task": True}] * 7)
        for message in await desk.fetch("jobs", max=7):
            piece = {"artifact_id": "a", "text": "x" * 900_000}
            await update(desk, message, artifacts=[piece], message="x" * 1_000_000)
        seen: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = await desk.call("task_list", limit=100, **cursor)
            assert len(page["tasks"]) <= 5
            assert all(task["artifacts"] == [{"artifact_id": "a"}] for task in page["tasks"])
            seen += [task["id"] for task in page["tasks"]]
            assert page["remaining"] == 7 - len(seen)
            if "next_cursor" not in page:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert len({*seen}) == 7

    run(body, tmp_path, "jobs")
