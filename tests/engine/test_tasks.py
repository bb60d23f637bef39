"""Section 4: a task from its opening to its end, sentence by sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import Desk, Reply, run, texts


async def begin(desk: Desk, **arguments: Any) -> tuple[str, Reply]:
    """A task that bob works on: its id and the leased message."""
    task: str = (await desk.send("jobs", "weigh the cat", **{"task": True, **arguments}))["task"]
    [message] = await desk.fetch("jobs")
    return task, message


async def update(desk: Desk, message: Reply, agent: str = "bob", /, **arguments: Any) -> Reply:
    """An update under the lease of ``message``."""
    return await desk.call("task_update", agent, task=message["task"], lease=message["lease"], **arguments)


async def get(desk: Desk, task: str, **arguments: Any) -> Reply:
    """The task as it stands."""
    found: Reply = (await desk.call("task_get", task=task, **arguments))["task"]
    return found


async def notices(desk: Desk) -> list[Reply]:
    """What lies in the asker's mailbox, taken out."""
    found = await desk.fetch("alice", "alice", max=50)
    for message in found:
        assert (await desk.settle(message, agent="alice"))["ok"]
    return found


def test_leasing_makes_it_working_and_a_lease_that_ends_makes_it_submitted(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        assert message["task_state"] == "working"
        for outcome in ("nack", "release", "lapse"):
            assert (await get(desk, task))["state"] == "working"
            assert (await get(desk, task))["worker"] == "bob"
            if outcome == "lapse":
                await desk.pass_time(300)
            else:
                fields: Reply = {"delay_s": 0} if outcome == "nack" else {}
                await desk.settle(message, outcome, **fields)
            assert (await get(desk, task))["state"] == "submitted"
            [message] = await desk.fetch("jobs")
        assert message["attempt"] == 3
        await desk.restart()
        assert (await get(desk, task))["state"] == "working"

    run(body, tmp_path, "jobs")


def test_the_next_lease_brings_attempt_and_checkpoint(tmp_path: Path) -> None:
    """kill -9 of a worker: the next one resumes, and the first one's late update is LEASE_LOST."""

    async def body(desk: Desk) -> None:
        _, message = await begin(desk)
        assert "checkpoint" not in message
        await update(desk, message, checkpoint={"page": 7}, lease_s=5)
        await desk.restart()
        await desk.pass_time(40)
        [again] = await desk.fetch("jobs", "carol")
        assert (again["attempt"], again["checkpoint"]) == (2, {"page": 7})
        late: dict[str, Any] = {"task": message["task"], "lease": message["lease"], "state": "completed"}
        error = await desk.refused("LEASE_LOST", "task_update", "bob", **late)
        assert error.details["attempt"] == 2
        assert (await update(desk, again, "carol", state="completed"))["task"]["state"] == "completed"

    run(body, tmp_path, "jobs")


def test_an_update_renews_the_lease(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        await desk.pass_time(250)
        reply = await update(desk, message, progress={"done": 1, "total": 3, "note": "looking"})
        assert reply["leased_until"] > message["leased_until"]
        assert reply["task"]["progress"] == {"done": 1, "total": 3, "note": "looking"}
        await desk.pass_time(299)
        assert (await get(desk, task))["state"] == "working"

    run(body, tmp_path, "jobs")


@pytest.mark.parametrize("state", ["completed", "failed", "rejected", "canceled", "input-required"])
def test_the_last_word_settles_the_message_and_tells_the_asker_in_one_commit(
    tmp_path: Path, state: str
) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk, session="s")
        records = desk.engine.journal.last_seq
        reply = await update(desk, message, state=state, message="4 kg", artifacts=[{"text": "scales"}])
        assert desk.engine.journal.last_seq == records + 1
        assert reply["task"]["state"] == state
        assert "leased_until" not in reply
        assert reply["task"]["artifacts"] == [{"artifact_id": "artifact-1", "parts": [{"text": "scales"}]}]
        [settled] = await desk.query("jobs")
        assert [one["state"] for one in settled["deliveries"]] == ["acked"]
        await desk.restart()
        [notice] = await notices(desk)
        assert (notice["task"], notice["task_state"]) == (task, state)
        assert (notice["in_reply_to"], notice["session"]) == (message["id"], "s")
        assert texts([notice]) == ["4 kg"]
        found = await get(desk, task)
        assert found["status_message"]["parts"] == [{"text": "4 kg"}]
        assert found["artifacts"] == reply["task"]["artifacts"]

    run(body, tmp_path, "jobs")


def test_the_same_word_under_the_same_lease_succeeds_again(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for state in ("completed", "input-required"):
            _, message = await begin(desk)
            first = await update(desk, message, state=state, message="done")
            await desk.restart()
            again = await update(desk, message, state=state, message="done")
            assert again["task"] == first["task"]
        assert len(await notices(desk)) == 2

    run(body, tmp_path, "jobs")


def test_an_ack_of_an_open_task_is_refused_unless_it_sends_the_reply(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        result = await desk.settle(message)
        assert result["error"]["code"] == "ILLEGAL_TRANSITION"
        assert 'task_update(state="completed")' in result["error"]["hint"]
        assert (await get(desk, task))["state"] == "working"
        call: dict[str, Any] = {
            "items": [{"lease": message["lease"]}],
            "send": {"in_reply_to": message["id"], "text": "4 kg"},
        }
        first = await desk.call("mailbox_ack", "bob", **call)
        assert first["receipts"][0]["task"] == task
        assert await desk.call("mailbox_ack", "bob", **call) == first
        found = await get(desk, task)
        assert (found["state"], found["status_message"]["parts"]) == ("completed", [{"text": "4 kg"}])
        [reply] = await notices(desk)  # the bare message and nothing else
        assert (reply["id"], reply["task_state"]) == (first["receipts"][0]["id"], "completed")

    run(body, tmp_path, "jobs")


def test_only_the_lease_in_default_is_the_right_to_work(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task = (await desk.send("jobs", "work", task=True))["task"]
        [copy] = await desk.fetch("jobs", "dave", group="audit")
        assert copy["task"] == task
        assert "task_state" not in copy
        await desk.refused(
            "LEASE_LOST", "task_update", "dave", task=task, lease=copy["lease"], state="completed"
        )
        assert (await desk.settle(copy, agent="dave"))["ok"]
        assert (await get(desk, task))["state"] == "submitted"
        await desk.restart()
        [message] = await desk.fetch("jobs")  # audit has settled it, and default was not there yet
        assert message["task"] == task
        assert (await update(desk, message, state="completed"))["task"]["state"] == "completed"

    run(body, tmp_path, "jobs")


def test_the_answer_becomes_work_with_checkpoint_and_question(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk, priority="urgent")
        await update(desk, message, checkpoint={"at": 3}, state="input-required", message="which cat?")
        await desk.restart()
        [question] = await notices(desk)
        receipt = await desk.call("mailbox_send", in_reply_to=question["id"], text="the black one")
        assert receipt["receipts"][0] | {"task": task, "mailbox": "jobs"} == receipt["receipts"][0]
        assert (await get(desk, task))["state"] == "submitted"
        await desk.restart()
        [answer] = await desk.fetch("jobs", "carol")
        assert texts([answer]) == ["the black one"]
        assert (answer["priority"], answer["checkpoint"], answer["task"]) == ("urgent", {"at": 3}, task)
        assert answer["question"]["parts"] == [{"text": "which cat?"}]
        assert (await update(desk, answer, "carol", state="completed"))["task"]["worker"] == "carol"

    run(body, tmp_path, "jobs")


def test_a_follow_up_raises_the_version_and_reaches_the_holder_once(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        before = (await get(desk, task))["version"]
        await desk.call("mailbox_send", task=task, text="quickly")
        assert (await get(desk, task))["version"] == before + 1
        assert await desk.fetch("jobs", "carol") == []
        known: dict[str, Any] = {"expected_version": before, "state": "completed"}
        error = await desk.refused(
            "VERSION_CONFLICT", "task_update", "bob", task=task, lease=message["lease"], **known
        )
        assert error.details["version"] == before + 1
        assert texts((await update(desk, message))["follow_ups"]) == ["quickly"]
        assert "follow_ups" not in await update(desk, message)
        await desk.call("mailbox_send", task=task, text="quietly")
        assert texts((await desk.settle(message, "extend"))["follow_ups"]) == ["quietly"]
        await desk.call("mailbox_send", task=task, text="now")
        fetched = await desk.call("mailbox_fetch", "bob", mailbox="jobs")
        assert (fetched["messages"], texts(fetched["follow_ups"])) == ([], ["now"])
        await desk.settle(message, "release")
        [again] = await desk.fetch("jobs")  # none of them is in a checkpoint
        assert texts(again["follow_ups"]) == ["quickly", "quietly", "now"]
        await update(desk, again, checkpoint=1)
        await desk.restart()
        await desk.settle(again, "release")
        assert "follow_ups" not in (await desk.fetch("jobs"))[0]

    run(body, tmp_path, "jobs")


def test_cancel_of_what_nobody_holds_is_at_once(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task = (await desk.send("jobs", "work", task=True))["task"]
        assert (await desk.call("task_cancel", task=task, reason="rain"))["task"]["state"] == "canceled"
        assert await desk.fetch("jobs") == []
        _, message = await begin(desk)
        await update(desk, message, state="input-required")
        assert (await desk.call("task_cancel", task=message["task"]))["task"]["state"] == "canceled"
        states = [one["task_state"] for one in await notices(desk)]
        assert states == ["canceled", "input-required", "canceled"]

    run(body, tmp_path, "jobs")


@pytest.mark.parametrize("ends", ["nack", "release", "lapse", "completed", "submitted"])
def test_cancel_of_leased_work_is_asked_for(tmp_path: Path, ends: str) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        reply = await desk.call("task_cancel", task=task)
        assert (reply["task"]["state"], reply["task"]["cancel_requested"]) == ("working", True)
        await desk.restart()
        fetched = await desk.call("mailbox_fetch", "bob", mailbox="jobs")
        assert fetched["cancel_requested"] == [task]
        assert (await desk.call("mailbox_fetch", "carol", mailbox="jobs"))["cancel_requested"] == []
        assert (await desk.settle(message, "extend"))["cancel_requested"] is True
        if ends in ("completed", "submitted"):
            assert (await update(desk, message))["task"]["cancel_requested"]
            await update(desk, message, state=ends)
        elif ends == "lapse":
            await desk.pass_time(300)
        else:
            await desk.settle(message, ends)
        assert (await get(desk, task))["state"] == ("completed" if ends == "completed" else "canceled")
        await desk.pass_time(1000)
        assert await desk.fetch("jobs") == []

    run(body, tmp_path, "jobs")


ENDS = {
    "deleted": ("canceled", "CANCELED"),
    "withdrawn": ("canceled", "CANCELED"),
    "dropped": ("canceled", "CANCELED"),
    "mailbox expired": ("canceled", "CANCELED"),
    "skipped": ("canceled", "CANCELED"),
    "reset": ("canceled", "CANCELED"),
    "expired": ("failed", "EXPIRED"),
    "exhausted": ("failed", "DEAD_LETTERED"),
    "timeout": ("failed", "TIMEOUT"),
    "rejected": ("rejected", None),
}


async def end_message(desk: Desk, how: str, lease: Reply | None) -> None:
    """Let the message of the task end."""
    if how == "deleted":
        await desk.call("mailbox_delete", mailbox="jobs", ids=[1])
    elif how == "withdrawn":
        await desk.send("jobs", "newer", state_key="k")
        if lease is not None:
            await desk.settle(lease, "release")
    elif how == "dropped":
        await desk.call("mailbox_drop", address="jobs")
    elif how == "skipped":
        await desk.fetch("jobs", deliver="latest")
    elif how == "reset":
        await desk.fetch("jobs", tags_any=["none"])
        await desk.call("group_reset", mailbox="jobs", group="default", to="latest")
    elif how == "exhausted":
        message = lease or (await desk.fetch("jobs"))[0]
        await desk.settle(message, "nack")
    elif how == "rejected":
        message = lease or (await desk.fetch("jobs"))[0]
        await desk.settle(message, "reject", reason="no_scales", description="no scales here")
    else:
        await desk.pass_time({"mailbox expired": 90, "expired": 30, "timeout": 60}[how])
        if lease is not None and how == "expired":
            await desk.settle(lease, "release")


@pytest.mark.parametrize("leased", [False, True])
@pytest.mark.parametrize("how", ENDS)
def test_a_task_and_its_message_end_together(tmp_path: Path, how: str, leased: bool) -> None:
    async def body(desk: Desk) -> None:
        settings = {"max_attempts": 1, **({"ttl_s": 90} if how == "mailbox expired" else {})}
        await desk.call("mailbox_create", address="jobs", settings=settings)
        extras: dict[str, dict[str, Any]] = {
            "withdrawn": {"state_key": "k"},
            "expired": {"ttl_s": 30},
            "timeout": {"task": {"timeout_s": 60}},
        }
        task = (await desk.send("jobs", "work", **{"task": True, **extras.get(how, {})}))["task"]
        lease = (await desk.fetch("jobs", lease_s=1000))[0] if leased else None
        before = desk.engine.journal.last_seq
        await end_message(desk, how, lease)
        state, code = ENDS[how]
        await _in_one_commit(desk, before, task, state)
        await desk.restart()
        found = await get(desk, task, history=1)
        assert found["state"] == state
        if code is not None:
            assert found["status_message"]["parts"][1]["data"]["code"] == code
            assert found["history"][0]["reason"] == code
        [notice] = await notices(desk)
        assert (notice["task"], notice["task_state"]) == (task, state)
        assert task not in desk.engine.state.tasks
        assert 1 not in desk.engine.state.mails

    if how == "skipped" and leased:
        pytest.skip("a group that is made finds no leases")
    run(body, tmp_path)


async def _in_one_commit(desk: Desk, before: int, task: str, state: str) -> None:
    """The record that ends the task also stores the notice, and what ends the message."""
    await desk.engine.durable()
    async for record in desk.engine.follow(before):
        moves = [one for one in record.events if getattr(one, "task", None) == task]
        if moves and getattr(moves[-1], "state", None) == state:
            kinds = {type(one).__name__ for one in record.events}
            assert "Sent" in kinds
            ended = any(1 in getattr(one, "withdrawn", ()) for one in record.events)
            assert ended or kinds & {
                *("Deleted", "Due", "MailboxDropped", "GroupMade", "Expired", "Died", "Closed"),
            }
            return


def test_the_mailbox_of_an_interrupted_task_takes_it_along(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        await update(desk, message, state="input-required")
        await desk.call("mailbox_drop", address="jobs")
        assert (await get(desk, task))["state"] == "canceled"

    run(body, tmp_path, "jobs")


def test_a_dedup_key_returns_the_first_receipt_task_included(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        first = await desk.send("jobs", "work", task=True, dedup_key="k")
        await desk.restart()
        again = await desk.send("jobs", "work", task=True, dedup_key="k")
        assert again == {**first, "duplicate": True}
        assert len(await desk.fetch("jobs", max=10)) == 1

    run(body, tmp_path, "jobs")


def test_a_fan_out_gives_each_copy_its_own_task(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        reply = await desk.call("mailbox_send", to=["jobs", "more"], text="work", task=True)
        one, other = (receipt["task"] for receipt in reply["receipts"])
        assert one != other
        [message] = await desk.fetch("more")
        assert message["task"] == other
        await update(desk, message, state="completed")
        assert (await get(desk, one))["state"] == "submitted"

    run(body, tmp_path, "jobs", "more")


def test_strangers_find_no_task(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        for name, arguments in (
            ("task_get", {"task": task}),
            ("task_cancel", {"task": task}),
            ("task_update", {"task": task, "lease": message["lease"]}),
            ("mailbox_send", {"task": task, "text": "x"}),
            ("task_get", {"task": "task-none"}),
        ):
            principal = "local" if arguments["task"] == "task-none" else "stranger"
            with pytest.raises(Exception, match="TASK_NOT_FOUND"):
                await desk.call(name, "eve", principal, **arguments)
        assert (await desk.call("task_list", "eve", "stranger"))["tasks"] == []

    run(body, tmp_path, "jobs")


def test_artifacts_are_appended_piece_by_piece(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        await update(desk, message, artifacts=[{"artifact_id": "log", "name": "Log", "text": "one"}])
        await update(desk, message, artifacts=[{"artifact_id": "log", "text": "two", "append": True}])
        last = {"artifact_id": "log", "data": {"n": 3}, "append": True, "last_chunk": True}
        await update(desk, message, artifacts=[last, {"text": "other"}])
        parts = [{"text": "one"}, {"text": "two"}, {"data": {"n": 3}}]
        expected = [
            {"artifact_id": "log", "name": "Log", "parts": parts, "last_chunk": True},
            {"artifact_id": "artifact-4", "parts": [{"text": "other"}]},
        ]
        assert (await get(desk, task))["artifacts"] == expected
        await desk.restart()
        assert (await get(desk, task))["artifacts"] == expected
        await update(desk, message, state="completed")
        desk.engine.state.ended_tasks.clear()
        assert (await get(desk, task))["artifacts"] == expected
        numbers = [one["number"] for one in (await get(desk, task, history=50))["history"]]
        assert numbers == list(range(1, len(numbers) + 1))

    run(body, tmp_path, "jobs")


def test_a_checkpoint_over_its_limit_is_refused_by_name(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        before = await get(desk, task)
        big: dict[str, Any] = {"task": task, "lease": message["lease"], "checkpoint": "x" * 256 * 1024}
        error = await desk.refused("MESSAGE_TOO_LARGE", "task_update", "bob", **big)
        assert "checkpoint_bytes_max" in error.message
        assert await get(desk, task) == before
        big["checkpoint"] = "x" * (256 * 1024 - 2)
        await desk.call("task_update", "bob", **big)

    run(body, tmp_path, "jobs")


def test_task_list_filters_and_pages(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        tasks = [(await desk.send("jobs", f"{n}", task=True, session=f"s{n % 2}"))["task"] for n in range(5)]
        other = (await desk.send("more", "x", "carol", task=True))["task"]
        [message] = await desk.fetch("jobs", max=1)
        await desk.pass_time(10)
        since = "2027-01-15T08:00:05.000Z"
        await update(desk, message, state="failed", artifacts=[{"name": "log", "text": "x"}])

        async def found(**arguments: Any) -> list[str]:
            reply = await desk.call("task_list", **arguments)
            return [one["id"] for one in reply["tasks"]]

        assert await found() == [other, *reversed(tasks)]
        assert await found(mailbox="more") == [other]
        assert await found(asker="carol") == [other]
        assert await found(session="s1") == [tasks[3], tasks[1]]
        assert await found(state="failed") == await found(worker="bob") == await found(since=since)
        assert await found(state="failed") == [tasks[0]]
        page = await desk.call("task_list", mailbox="jobs", limit=2)
        assert page["remaining"] == 3
        rest = await desk.call("task_list", mailbox="jobs", limit=100, cursor=page["next_cursor"])
        assert [one["id"] for one in [*page["tasks"], *rest["tasks"]]] == list(reversed(tasks))
        assert "next_cursor" not in rest
        assert rest["tasks"][-1]["artifacts"] == [{"artifact_id": "artifact-1", "name": "log"}]

    run(body, tmp_path, "jobs", "more")


def test_terminal_tasks_stay_for_task_retention_s(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        await update(desk, message, state="completed")
        await desk.pass_time(604_799)
        await desk.restart()
        assert (await get(desk, task))["state"] == "completed"
        await desk.pass_time(1)
        await desk.refused("TASK_NOT_FOUND", "task_get", task=task)
        assert (await desk.call("task_list"))["tasks"] == []
        kept = (await desk.send("jobs", "an open task", task=True))["task"]
        await desk.pass_time(2 * 604_800)
        assert (await get(desk, kept))["state"] == "submitted"

    run(body, tmp_path, "jobs")


def test_task_updates_commit_with_an_ack_all_or_none(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        await desk.send("jobs", "plain")
        [plain] = await desk.fetch("jobs")
        done = {"task": task, "lease": message["lease"], "state": "completed", "message": "ok"}
        bad = {**done, "expected_version": 99}
        items = [{"lease": plain["lease"]}]
        before = desk.engine.journal.last_seq
        await desk.refused("VERSION_CONFLICT", "mailbox_ack", "bob", items=items, tasks=[bad])
        assert desk.engine.journal.last_seq == before
        call: dict[str, Any] = {"items": [*items, {"lease": message["lease"]}], "tasks": [done]}
        first = await desk.call("mailbox_ack", "bob", **call)
        assert desk.engine.journal.last_seq == before + 1
        assert [one["ok"] for one in first["results"]] == [True, True]
        assert first["tasks"][0]["task"]["state"] == "completed"
        assert await desk.call("mailbox_ack", "bob", **call) == first
        assert len(await notices(desk)) == 1

    run(body, tmp_path, "jobs")


def test_an_expired_lease_updates_while_nobody_else_has_the_message(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task, message = await begin(desk)
        await desk.pass_time(300)
        assert (await get(desk, task))["state"] == "submitted"
        assert (await update(desk, message))["task"]["state"] == "working"
        await desk.call("mailbox_create", address="once", settings={"exactly_once": True})
        await desk.send("once", "work", task=True, dedup_key="k")
        [strict] = await desk.fetch("once")
        await desk.pass_time(300)
        await desk.refused("LEASE_LOST", "task_update", "bob", task=strict["task"], lease=strict["lease"])

    run(body, tmp_path, "jobs")


def test_a_task_of_an_ordered_session_keeps_the_order_over_a_question(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="line", settings={"ordered_by": "session"})
        await desk.send("line", "one", task=True, session="s")
        await desk.send("line", "two", task=True, session="s")
        [one] = await desk.fetch("line", max=1)
        assert await desk.fetch("line") == []
        await update(desk, one, state="input-required", message="?")
        [two] = await desk.fetch("line")
        await desk.call("mailbox_send", task=one["task"], text="!")
        assert await desk.fetch("line") == []
        await update(desk, two, state="completed")
        assert texts(await desk.fetch("line")) == ["!"]

    run(body, tmp_path)
