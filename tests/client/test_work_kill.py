"""Workers of tasks and kill -9: of the worker, and of the broker at every step of a question's round trip."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.client import Job, Mq9Client, Refused
from tests.client.serving import ENVIRONMENT, ROOT, Server, serving
from tests.client.test_work import reached, submit


def test_the_next_worker_goes_on_where_a_killed_one_was(tmp_path: Path) -> None:
    """It gets message, attempt and checkpoint; the dead one's late update is refused."""

    async def test(server: Server) -> None:
        async with asyncio.timeout(120), Mq9Client(server.url, agent="boss") as boss:
            await boss.call("mailbox_create", {"address": "jobs", "settings": {"backoff_first_s": 0}})
            task = await submit(boss, "jobs", "weigh all cats")
            command = [sys.executable, "-m", "tests.client.work_process", server.url]
            with subprocess.Popen(
                command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
            ) as first:
                assert first.stdout is not None
                lease = (await asyncio.to_thread(first.stdout.readline)).strip()
                first.kill()
            got: list[Any] = []
            refused: list[Refused] = []

            async def handle(job: Job) -> str:
                got.append((job.text, job.attempt, job.checkpoint_value, job.task))
                with pytest.raises(Refused) as caught:
                    await boss.task_update(task=task, lease=lease, state="completed", message="late")
                refused.append(caught.value)
                return "done"

            async with Mq9Client(server.url, agent="ben") as ben, ben.work("jobs", handle):
                found = await reached(boss, task, "completed")
            assert got == [("weigh all cats", 2, {"weighed": ["Tom"]}, task)]
            assert [error.code for error in refused] == ["LEASE_LOST"]
            assert (found["worker"], found["status_message"]["parts"]) == ("ben", [{"text": "done"}])

    with serving(tmp_path / "data") as server:
        asyncio.run(test(server))


def test_a_worker_outlives_a_broker_that_is_killed_at_every_step(tmp_path: Path) -> None:
    """One handler, one question, one artifact of each step: nothing is lost, nothing is there twice."""

    async def test(server: Server) -> None:
        begun: list[str] = []

        async def restart() -> None:
            server.kill()
            await asyncio.to_thread(server.start)

        async def handle(job: Job) -> str:
            begun.append(job.task)
            await restart()
            await job.artifact("one", artifact_id="a")
            answer = await job.ask("which?")
            await restart()
            await job.artifact("two", artifact_id="a", append=True)
            return str(answer["parts"][0]["text"])

        async with (
            asyncio.timeout(180),
            Mq9Client(server.url, agent="boss") as boss,
            Mq9Client(server.url, agent="anna") as anna,
        ):
            await boss.mailbox_create(address="jobs")
            await boss.mailbox_create(address="boss")
            task = await submit(boss, "jobs")
            async with anna.work("jobs", handle, wait_s=1) as worker:
                await reached(boss, task, "input-required")
                await restart()
                await boss.mailbox_send(task=task, text="that one")
                found = await reached(boss, task, "completed")
            assert (begun, worker.processed_count) == ([task], 1)
            assert found["artifacts"][0]["parts"] == [{"text": "one"}, {"text": "two"}]
            assert found["status_message"]["parts"] == [{"text": "that one"}]
            history = (await boss.task_get(task=task, history=50))["task"]["history"]
            expected = ["submitted", "leased", "artifact", "status", "answer", "leased", "artifact", "status"]
            assert [entry["kind"] for entry in history] == expected
            notices = (await boss.mailbox_fetch(wait_s=5))["messages"]
            assert [one["task_state"] for one in notices] == ["input-required", "completed"]

    with serving(tmp_path / "data") as server:
        asyncio.run(test(server))
