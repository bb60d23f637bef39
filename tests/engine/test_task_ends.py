"""Tasks and their messages end together, and a call says one thing: corners that a model of tasks found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.engine.test_tasks import begin, get, notices, update
from tests.support import Desk, run, texts


@pytest.mark.parametrize("state", ["completed", "working", "submitted"])
@pytest.mark.parametrize("outcome", ["reject", "nack", "release", "ack"])
def test_a_call_says_one_thing_about_a_lease(tmp_path: Path, outcome: str, state: str) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        items = [{"lease": message["lease"], "outcome": outcome}]
        call: dict[str, Any] = {"items": items}
        call["tasks"] = [{"task": task, "lease": message["lease"], "state": state}]
        if outcome == "ack":
            call["send"] = {"in_reply_to": message["id"], "text": "4 kg"}
        before = desk.engine.journal.last_seq
        if (outcome, state) == ("ack", "completed"):
            assert (await desk.call("mailbox_ack", "bob", **call))["tasks"][0]["task"]["state"] == state
            return
        error = await desk.refused("LEASE_LOST", "mailbox_ack", "bob", **call)
        assert f"settles it with {outcome!r}" in error.message
        assert desk.engine.journal.last_seq == before
        await update(desk, message, state="completed")

    run(body, tmp_path, "jobs")


def test_what_a_call_gave_back_it_does_not_settle(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        await desk.send("jobs", "plain")
        [plain] = await desk.fetch("jobs")
        one = {"task": task, "lease": message["lease"]}
        twice = [{**one, "state": "submitted"}, {**one, "state": "completed"}]
        call: dict[str, Any] = {"items": [{"lease": plain["lease"]}], "tasks": twice}
        await desk.refused("LEASE_LOST", "mailbox_ack", "bob", **call)
        assert (await get(desk, task))["state"] == "working"

    run(body, tmp_path, "jobs")


def test_a_reply_in_another_task_is_not_the_last_word_there(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        other = (await desk.send("jobs", "weigh the dog", task=True))["task"]
        send = {"in_reply_to": message["id"], "task": other, "text": "4 kg", "to": "jobs"}
        items = [{"lease": message["lease"]}]
        await desk.call("mailbox_ack", "bob", items=items, send=send)
        assert (await get(desk, task))["state"] == "completed"
        [work] = await desk.fetch("jobs")
        assert work["task"] == other
        assert texts(work["follow_ups"]) == ["4 kg"]
        assert "task_state" not in work["follow_ups"][0]

    run(body, tmp_path, "jobs")


def test_who_holds_a_mere_copy_is_told_nothing(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        [copy] = await desk.fetch("jobs", "dave", group="audit")
        await desk.call("mailbox_send", task=task, text="quickly")
        await desk.call("task_cancel", task=task)
        assert (await desk.settle(copy, "extend", "dave")).keys() == {"id", "outcome", "ok", "leased_until"}
        told = await desk.settle(message, "extend")
        assert told["cancel_requested"] is True
        assert texts(told["follow_ups"]) == ["quickly"]

    run(body, tmp_path, "jobs")


@pytest.mark.parametrize("ending", ["withdrawn", "expired"])
def test_a_task_ends_with_its_group_when_its_message_has_ended(tmp_path: Path, ending: str) -> None:
    async def body(desk: Desk) -> None:
        extra = {"state_key": "k"} if ending == "withdrawn" else {"ttl_s": 5}
        task, _ = await begin(desk, **extra)
        [copy] = await desk.fetch("jobs", "dave", group="audit", lease_s=1000)
        if ending == "withdrawn":
            await desk.send("jobs", "newer", state_key="k")
        await desk.pass_time(5)
        await desk.call("group_delete", mailbox="jobs", group="default")
        assert (await get(desk, task))["state"] == {"withdrawn": "canceled", "expired": "failed"}[ending]
        assert (await desk.settle(copy, agent="dave"))["ok"]
        assert len(await notices(desk)) == 1

    run(body, tmp_path, "jobs")


def test_work_that_waits_for_its_group_is_replaced_by_a_newer_state(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task = (await desk.send("jobs", "old", task=True, state_key="k"))["task"]
        [copy] = await desk.fetch("jobs", "dave", group="audit")
        assert (await desk.settle(copy, agent="dave"))["ok"]
        await desk.send("jobs", "new", state_key="k")
        assert (await get(desk, task))["state"] == "canceled"
        assert texts(await desk.fetch("jobs")) == ["new"]

    run(body, tmp_path, "jobs")


def test_delayed_work_that_is_canceled_comes_to_no_group(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch("jobs")
        await desk.fetch("jobs", "dave", group="audit")
        task = (await desk.send("jobs", "later", task=True, delay_s=5))["task"]
        await desk.call("task_cancel", task=task)
        await desk.pass_time(6)
        assert await desk.fetch("jobs", "dave", group="audit") == []
        [message] = await desk.query("jobs")
        assert [one["state"] for one in message["deliveries"]] == ["withdrawn", "withdrawn"]

    run(body, tmp_path, "jobs")


def test_what_expired_stays_expired_when_its_task_ends(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch("jobs", "dave", group="audit")
        await begin(desk, ttl_s=5, task={"timeout_s": 10})
        await desk.pass_time(20)
        [message] = await desk.query("jobs")
        assert [one["state"] for one in message["deliveries"]] == ["expired", "expired"]

    run(body, tmp_path, "jobs")


def test_checkpoint_and_question_are_found_when_the_journal_has_them_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        await update(desk, message, state="input-required", message="which?", checkpoint={"at": 3})
        await desk.call("mailbox_send", task=task, text="so")
        await desk.engine.folder.reach(desk.engine.journal.durable_seq, stored=True)
        monkeypatch.setattr(desk.engine.journal, "read", lambda *_: None)  # its segment is gone
        [again] = await desk.fetch("jobs")
        assert again["checkpoint"] == {"at": 3}
        assert texts([again["question"]]) == ["which?"]
        assert again["task"] == task

    run(body, tmp_path, "jobs")


def test_tasks_that_time_out_together_are_told_of_in_the_order_of_their_opening(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        tasks = [(await desk.send("jobs", "x", task={"timeout_s": 9 - n}))["task"] for n in range(8)]
        await desk.pass_time(10)
        assert [notice["task"] for notice in await notices(desk)] == tasks

    run(body, tmp_path, "jobs")


def test_a_question_after_cancel_was_asked_for_ends_the_task(tmp_path: Path) -> None:
    """Nobody answers a question about work that was called off; repeating the update changes nothing."""

    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        await desk.call("task_cancel", "alice", task=task)
        for _ in range(2):
            reply = await update(desk, message, state="input-required", message="Which cat?")
            assert reply["task"]["state"] == "canceled"
        assert [one["task_state"] for one in await notices(desk)] == ["input-required", "canceled"]
        assert await desk.fetch("jobs") == []

    run(body, tmp_path, "jobs")


def test_a_notice_joins_the_line_behind_mail_that_was_due_before(tmp_path: Path) -> None:
    """A broker that slept finds a mailbox over and delayed mail due: the order is that of the times."""

    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="brief", settings={"ttl_s": 60})
        await desk.fetch("alice", "alice")
        await desk.send("brief", "work", "alice", task=True)
        await desk.send("alice", "later", delay_s=5)
        await desk.pass_time(3600)
        assert [one.get("task_state") for one in await desk.fetch("alice", "alice")] == [None, "canceled"]

    run(body, tmp_path)
