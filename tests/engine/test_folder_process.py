"""The folder process: everything works with it, its death costs nothing, and it ends with its broker."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
import uvloop

from tests.engine.test_faults import outcome, queried
from tests.support import Desk, opened, run, texts


def test_queries_leases_and_restarts_with_a_folder_process(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for index in range(50):
            await desk.send(text=f"message {index}", tags=["odd"] if index % 2 else [])
        taken = await desk.fetch(max=10)
        await desk.settle(taken[0])
        assert [message["id"] for message in await desk.query(state="leased")] == [
            message["id"] for message in taken[1:]
        ]
        await desk.restart()
        assert len(await desk.query(tags_any=["odd"], limit=100)) == 25
        assert len(await desk.fetch(max=100)) == 40

    run(body, tmp_path, "box", fold_apart=True)


def test_a_folder_process_that_is_killed_is_started_again(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="before")
        assert texts(await desk.query()) == ["before"]
        killed = desk.engine.folder.pid
        os.kill(killed, signal.SIGKILL)
        await desk.send(text="meanwhile")
        assert texts(await desk.fetch()) == ["before", "meanwhile"]
        assert texts(await queried(desk)) == ["before", "meanwhile"]
        assert desk.engine.folder.pid != killed

    run(body, tmp_path, "box", fold_apart=True)


def test_a_folder_process_that_is_killed_again_and_again_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mq9_mcp.engine.embedded.folder_process.RESPAWN_S", 0.01)

    async def body(desk: Desk) -> None:
        sent: list[str] = []
        killed: set[int] = set()
        for number in range(4):
            sent.append(f"{number}")
            await desk.send(text=sent[-1])
            assert texts(await queried(desk)) == sent
            os.kill(desk.engine.folder.pid, signal.SIGKILL)
            killed.add(desk.engine.folder.pid)
            assert texts(await desk.query()) == sent, "the next process is asked"
        assert texts(await queried(desk)) == sent
        assert len({*killed, desk.engine.folder.pid}) == 5
        await desk.restart()
        assert texts(await desk.query()) == sent

    run(body, tmp_path, "box", fold_apart=True)


def test_what_is_stored_is_not_called_unavailable_for_a_lack_of_words(tmp_path: Path) -> None:
    """The update is on disk; the follow-ups that its reply tells are read after that, from the tables."""

    async def body(desk: Desk) -> None:
        task = (await desk.send(text="work", task=True))["task"]
        [held] = await desk.fetch()
        await desk.call("mailbox_send", "alice", task=task, text="faster")
        os.kill(desk.engine.folder.pid, signal.SIGKILL)
        update = {"task": task, "lease": held["lease"], "progress": {"done": 1}}
        reply = await desk.call("task_update", "bob", **update)
        assert texts(reply["follow_ups"]) == ["faster"]
        assert reply["task"]["progress"] == {"done": 1}

    run(body, tmp_path, "box", fold_apart=True)


def test_a_fetch_that_misses_the_folder_process_leaves_no_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The body is in the tables alone, the process that reads them was killed, and no other comes in time."""
    monkeypatch.setattr("mq9_mcp.engine.embedded.folder_process.AGAIN_S", 0)

    async def body(desk: Desk) -> None:
        sent = [f"{number} " + "x" * 2000 for number in range(30)]
        for text in sent:
            await desk.send(text=text)
        first, *others = [message for _ in sent for message in await desk.fetch(max=1)]
        for message in others:
            await desk.settle(message)
        await desk.settle(first, "release")
        await desk.query()
        assert desk.engine.journal.segments[0].number > 1, "the first body is still in the journal"
        await desk.restart()  # memory holds it no more
        for _ in range(20):  # on a busy machine another process may be there before the fetch reads
            os.kill(desk.engine.folder.pid, signal.SIGKILL)
            reply = await outcome(desk, "mailbox_fetch", mailbox="box", max=1)
            assert len(await queried(desk)) == 20
            if reply == "STORAGE_UNAVAILABLE":
                break
            assert isinstance(reply, dict)
            await desk.settle(reply["messages"][0], "release", "alice")
        assert reply == "STORAGE_UNAVAILABLE"
        [again] = await desk.fetch(max=1)
        assert (texts([again]), again["attempt"]) == (sent[:1], 1)

    run(body, tmp_path, "box", fold_apart=True, segment_bytes=16 * 1024, journal_bytes=0)


def test_the_folder_process_ends_with_the_broker(tmp_path: Path) -> None:
    ended: list[int] = []

    async def body(desk: Desk) -> None:
        await desk.send(text="one")
        ended.append(desk.engine.folder.pid)
        await desk.restart()
        assert desk.engine.folder.pid != ended[0]
        with pytest.raises(ProcessLookupError):
            os.kill(ended[0], 0)

    run(body, tmp_path, "box", fold_apart=True)


def test_an_answer_of_megabytes_comes_whole_on_the_servers_loop(tmp_path: Path) -> None:
    async def body() -> None:
        async with opened(tmp_path, "box", fold_apart=True) as desk:
            task = (await desk.send(task=True))["task"]
            [job] = await desk.fetch()
            for number in range(10):
                update = {"task": task, "lease": job["lease"], "checkpoint": [number, "x" * 200_000]}
                await desk.call("task_update", "bob", **update)
            process = desk.engine.folder.pid
            for _ in range(5):
                shown = (await desk.call("task_get", task=task, history=100))["task"]["history"]
                assert [one["checkpoint"][0] for one in shown if "checkpoint" in one] == list(range(10))
            assert desk.engine.folder.pid == process, "it was given up"

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(body())
