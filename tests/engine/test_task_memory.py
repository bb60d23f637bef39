"""What tasks cost in memory, and their words where the journal has them no more."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

from mq9_mcp.engine.embedded.journal import RECENT_BYTES
from tests.engine.test_tasks import begin, get, notices, update
from tests.support import Desk, run, texts

TASKS = 4_000
TASK_BYTES = 1_024  # with its message
KIB = 1024


async def forget(desk: Desk) -> None:
    """Let the journal go on until it has no more of what was said so far."""
    first = desk.engine.journal.segments[-1].number
    while desk.engine.journal.segments[0].number <= first:
        await desk.send("filler", "x" * 8 * KIB)
        await desk.query("filler", limit=1)


def held_bytes() -> int:
    """What Python objects hold now."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def test_a_lease_brings_words_that_the_journal_has_no_more(tmp_path: Path) -> None:
    """The checkpoint, the question and the follow-ups, without a restart and after one."""

    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        await update(desk, message, checkpoint={"page": 7}, state="input-required", message="which cat?")
        [question] = await notices(desk)
        await desk.call("mailbox_send", in_reply_to=question["id"], text="the black one")
        await desk.call("mailbox_send", task=task, text="quickly")
        await forget(desk)
        for attempt in (1, 2):
            [answer] = await desk.fetch("jobs", "carol")
            assert (answer["attempt"], answer["checkpoint"]) == (attempt, {"page": 7})
            assert answer["question"]["parts"] == [{"text": "which cat?"}]
            assert texts(answer["follow_ups"]) == ["quickly"]
            await desk.settle(answer, "nack", "carol", delay_s=0)
            await desk.restart()

    run(body, tmp_path, "jobs", "filler", segment_bytes=16 * KIB, journal_bytes=0)


async def opening_bytes(desk: Desk) -> int:
    """What a broker's objects hold after a start."""
    await desk.broker.close()
    tracemalloc.start()
    try:
        await desk.open()
        return held_bytes()
    finally:
        tracemalloc.stop()


def test_an_open_task_is_small_in_memory(tmp_path: Path) -> None:
    """Measured after a start: what stays for good, without the bodies that were stored last."""

    async def body(desk: Desk) -> None:
        before = await opening_bytes(desk)
        messages = [{"to": "jobs", "text": "weigh the cat", "task": True} for _ in range(500)]
        for _ in range(TASKS // 500):
            await desk.call("mailbox_send", messages=messages)
        await desk.query("jobs", limit=1)  # all of it is folded
        each = (await opening_bytes(desk) - before) / TASKS
        assert len(desk.engine.state.tasks) == TASKS
        assert each < TASK_BYTES, f"{each:.0f} bytes for each open task"

    run(body, tmp_path, "jobs", fold_apart=True)


def test_checkpoints_and_artifacts_do_not_stay_in_memory(tmp_path: Path) -> None:
    """Twelve megabytes of them pass through; what stays is places and numbers."""

    async def body(desk: Desk) -> None:
        work = [await begin(desk) for _ in range(3)]
        tracemalloc.start()
        try:
            before = held_bytes()
            for step in range(16):
                for _, message in work:
                    words = f"{step:04}" * 32 * KIB
                    artifact = {"artifact_id": f"piece-{step}", "text": words}
                    await update(desk, message, checkpoint=words, artifacts=[artifact])
            await forget(desk)
            kept = held_bytes() - before
        finally:
            tracemalloc.stop()
        assert kept < RECENT_BYTES + 1024 * KIB, f"{kept:,} bytes stay"
        for task, _ in work:
            found = await get(desk, task)
            assert [len(one["parts"][0]["text"]) for one in found["artifacts"]] == [128 * KIB] * 16

    run(body, tmp_path, "jobs", "filler", segment_bytes=64 * KIB, journal_bytes=0)
