"""Tasks of which a repair lost a part of the history: what is left is shown, worked on and ended."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import closing
from pathlib import Path

import duckdb

from mq9_mcp.engine.embedded.repair import repair
from mq9_mcp.engine.embedded.salvage import Memory, mend
from mq9_mcp.engine.embedded.segments import JOURNAL_FOLDER
from mq9_mcp.engine.embedded.tables import TABLES_FILE, Tables
from tests.support import START_MS, opened, texts


async def _with_words(folder: Path) -> tuple[str, str]:
    """A task in work and one that asks, with all the words that a task has; both are in the tables."""
    async with opened(folder, "box") as desk:
        for text in ("asks", "works"):
            await desk.send(text=text, task=True)
        asking, working = await desk.fetch()
        for job in (asking, working):
            update = {"task": job["task"], "lease": job["lease"]}
            await desk.call("task_update", "bob", **update, progress={"done": 1}, checkpoint={"at": 1})
            await desk.call("task_update", "bob", **update, artifacts=[{"text": "a piece"}], message="begun")
        await desk.call(
            "task_update",
            "bob",
            task=asking["task"],
            lease=asking["lease"],
            state="input-required",
            message="which?",
        )
    return asking["task"], working["task"]


def test_a_message_is_the_work_of_its_task_also_when_a_repair_lost_which_one(tmp_path: Path) -> None:
    asking, working = asyncio.run(_with_words(tmp_path))
    with closing(Tables(tmp_path / TABLES_FILE)) as tables:
        tables.con.execute("delete from task_messages")
        mend(tables, Memory(), tables.meta("folded_seq"), START_MS, "local")

    async def body() -> None:
        async with opened(tmp_path) as desk:
            await desk.call("mailbox_send", task=asking, text="this one")
            await desk.pass_time(400)
            jobs = await desk.fetch()
            assert {job["task"] for job in jobs} == {asking, working}
            for job in jobs:
                assert not (await desk.settle(job))["ok"], "an open task's message is not acked"
                update = {"task": job["task"], "lease": job["lease"], "state": "completed"}
                await desk.call("task_update", "bob", **update)

    asyncio.run(body())


def test_tasks_whose_words_are_lost_are_shown_and_worked_on(tmp_path: Path) -> None:
    asking, working = asyncio.run(_with_words(tmp_path))
    with closing(duckdb.connect(str(tmp_path / TABLES_FILE))) as con:
        con.execute("delete from task_events where number > 1")
    shutil.rmtree(tmp_path / JOURNAL_FOLDER)
    assert repair(tmp_path).after.sound

    async def body() -> None:
        async with opened(tmp_path) as desk:
            listed = (await desk.call("task_list"))["tasks"]
            assert {one["id"]: one["state"] for one in listed} == {
                asking: "input-required",
                working: "working",
            }
            for task in (asking, working):
                shown = (await desk.call("task_get", task=task, history=100))["task"]
                assert "progress" not in shown
                assert "status_message" not in shown
                assert [one["number"] for one in shown["history"]] == [1]
            await desk.call("mailbox_send", task=asking, text="this one")
            await desk.pass_time(400)
            jobs = await desk.fetch()
            assert sorted(texts(jobs)) == ["this one", "works"]
            for job in jobs:
                assert "checkpoint" not in job
                assert "question" not in job
                update = {"task": job["task"], "lease": job["lease"], "state": "completed"}
                await desk.call("task_update", "bob", **update)

    asyncio.run(body())
