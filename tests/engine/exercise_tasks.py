"""The exercise's part about tasks: section 4 of the contract for every engine behind the seam."""

from __future__ import annotations

from typing import Any

from mq9_mcp.domain.push_commands import PushReport
from mq9_mcp.domain.state import Caller
from tests.engine.stage import Promise, Stage
from tests.support import Reply, texts

TASKS: list[Promise] = []
BROKER = Caller("mq9", "mq9.broker", True)


def promise(check: Promise) -> Promise:
    """Make ``check`` part of the exercise."""
    TASKS.append(check)
    return check


async def _begin(stage: Stage, address: str, text: str = "weigh the cat", **arguments: Any) -> Reply:
    """The work message of a new task, leased."""
    await stage.send(address, text, **{"task": True, **arguments})
    [message] = await stage.fetch(address, lease_s=100)
    return message


async def _update(stage: Stage, message: Reply, /, **arguments: Any) -> Reply:
    return await stage.call("task_update", task=message["task"], lease=message["lease"], **arguments)


async def _task(stage: Stage, task: str, **arguments: Any) -> Reply:
    found: Reply = (await stage.call("task_get", task=task, **arguments))["task"]
    return found


async def _heard(stage: Stage) -> list[tuple[str, str]]:
    """What the asker was told of tasks: each task with its state, taken out of its mailbox."""
    found = await stage.fetch("alice", max=50)
    for message in found:
        assert (await stage.settle(message))["ok"]
    return [(message["task"], message["task_state"]) for message in found if "task_state" in message]


@promise
async def a_task_lives_from_submitted_to_its_end(stage: Stage) -> None:
    await stage.box("t-life")
    receipt = await stage.send("t-life", "weigh the cat", task=True, session="cats")
    found = await _task(stage, receipt["task"])
    assert (found["state"], found["version"], found["asker"]) == ("submitted", 1, "alice")
    assert (found["mailbox"], found["session"], found["artifacts"]) == ("t-life", "cats", [])
    [message] = await stage.fetch("t-life")
    assert (message["task"], message["task_state"]) == (receipt["task"], "working")
    pieces = [{"artifact_id": "log", "text": "one"}, {"artifact_id": "log", "text": "two", "append": True}]
    reply = await _update(stage, message, progress={"done": 1, "total": 2}, artifacts=pieces)
    assert (reply["task"]["state"], reply["task"]["progress"]) == ("working", {"done": 1, "total": 2})
    last = await _update(stage, message, state="completed", message="4 kg")
    assert "leased_until" not in last
    assert last["task"]["artifacts"] == [{"artifact_id": "log", "parts": [{"text": "one"}, {"text": "two"}]}]
    await stage.restart()
    found = await _task(stage, receipt["task"], history=50)
    kinds = [entry["kind"] for entry in found.pop("history")]
    assert kinds == ["submitted", "leased", "progress", "artifact", "artifact", "status"]
    assert found == last["task"]
    assert found["version"] == len(kinds)
    assert await stage.states("t-life") == {"weigh the cat": "acked"}
    assert await _heard(stage) == [(receipt["task"], "completed")]
    over: Reply = {"task": receipt["task"], "text": "x"}
    await stage.refused("ILLEGAL_TRANSITION", "mailbox_send", **over)
    await stage.refused("ILLEGAL_TRANSITION", "task_cancel", task=receipt["task"])


@promise
async def work_that_comes_back_is_resumed(stage: Stage) -> None:
    await stage.box("t-back", backoff_first_s=0)
    first = await _begin(stage, "t-back")
    await _update(stage, first, checkpoint={"page": 7}, lease_s=40)
    await stage.restart()
    await stage.pass_time(40)
    assert (await _task(stage, first["task"]))["state"] == "submitted"
    [second] = await stage.fetch("t-back")
    assert (second["attempt"], second["checkpoint"]) == (2, {"page": 7})
    await stage.refused("LEASE_LOST", "task_update", task=first["task"], lease=first["lease"])
    for outcome in ("release", "nack"):
        [message] = [second] if outcome == "release" else await stage.fetch("t-back")
        await stage.settle(message, outcome)
        assert (await _task(stage, first["task"]))["state"] == "submitted"
    [message] = await stage.fetch("t-back")
    given = await _update(stage, message, state="submitted", checkpoint={"page": 8})
    assert given["task"]["state"] == "submitted"
    [message] = await stage.fetch("t-back")
    assert (message["attempt"], message["checkpoint"]) == (3, {"page": 8})


@promise
async def only_who_holds_the_work_updates_it(stage: Stage) -> None:
    await stage.box("t-fence")
    task = (await stage.send("t-fence", "work", task=True))["task"]
    [copy] = await stage.fetch("t-fence", group="audit")
    assert (copy["task"], "task_state" in copy) == (task, False)
    await stage.refused("LEASE_LOST", "task_update", task=task, lease=copy["lease"])
    [message] = await stage.fetch("t-fence")
    await stage.refused("LEASE_LOST", "task_update", task=task, lease="nothing")
    await stage.refused("TASK_NOT_FOUND", "task_get", principal="stranger", task=task)
    version = (await _task(stage, task))["version"]
    stale: Reply = {"task": task, "lease": message["lease"], "expected_version": version + 1}
    await stage.refused("VERSION_CONFLICT", "task_update", **stale)
    done = await _update(stage, message, expected_version=version, state="failed", message="no scales")
    again = await _update(stage, message, state="failed", message="no scales")
    assert again["task"] == done["task"]
    await stage.refused(
        "ILLEGAL_TRANSITION", "task_update", task=task, lease=message["lease"], state="completed"
    )
    assert await _heard(stage) == [(task, "failed")]


@promise
async def a_question_and_its_answer_lose_nothing(stage: Stage) -> None:
    await stage.box("t-ask")
    message = await _begin(stage, "t-ask", priority="urgent")
    await _update(stage, message, state="input-required", message="which cat?", checkpoint=3)
    await stage.restart()
    assert await stage.fetch("t-ask") == []
    [question] = await stage.fetch("alice")
    assert (question["task_state"], texts([question])) == ("input-required", ["which cat?"])
    send = {"in_reply_to": question["id"], "text": "the black one"}
    items = [{"lease": question["lease"]}]
    [receipt] = (await stage.call("mailbox_ack", items=items, send=send))["receipts"]
    assert (receipt["mailbox"], receipt["task"]) == ("t-ask", message["task"])
    await stage.restart()
    [answer] = await stage.fetch("t-ask")
    assert (texts([answer]), answer["priority"], answer["checkpoint"]) == (["the black one"], "urgent", 3)
    assert answer["question"]["parts"] == [{"text": "which cat?"}]
    await _update(stage, answer, state="completed")
    assert await _heard(stage) == [(message["task"], "completed")]


@promise
async def a_follow_up_reaches_the_holder_once_and_whoever_is_next(stage: Stage) -> None:
    await stage.box("t-more")
    message = await _begin(stage, "t-more")
    version = (await _task(stage, message["task"]))["version"]
    await stage.call("mailbox_send", task=message["task"], text="quickly")
    assert (await _task(stage, message["task"]))["version"] == version + 1
    assert await stage.fetch("t-more", group="default", tags_any=["none"]) == []  # tells its news
    assert "follow_ups" not in await _update(stage, message)
    await stage.call("mailbox_send", task=message["task"], text="quietly")
    assert texts((await stage.settle(message, "extend"))["follow_ups"]) == ["quietly"]
    await stage.settle(message, "release")
    await stage.restart()
    [message] = await stage.fetch("t-more")
    assert texts(message["follow_ups"]) == ["quickly", "quietly"]
    await _update(stage, message, checkpoint=1, state="submitted")
    [message] = await stage.fetch("t-more")
    assert "follow_ups" not in message
    await _update(stage, message, state="completed")
    await _heard(stage)


@promise
async def cancel_is_at_once_or_asked_for(stage: Stage) -> None:
    await stage.box("t-cancel")
    idle = (await stage.send("t-cancel", "idle", task=True))["task"]
    canceled = await stage.call("task_cancel", task=idle, reason="rain")
    assert canceled["task"]["state"] == "canceled"
    assert await stage.fetch("t-cancel") == []
    kept, lost = await _begin(stage, "t-cancel"), await _begin(stage, "t-cancel", "other")
    for message in (kept, lost):
        asked = (await stage.call("task_cancel", task=message["task"]))["task"]
        assert (asked["state"], asked["cancel_requested"]) == ("working", True)
    told = await stage.call("mailbox_fetch", mailbox="t-cancel")
    assert told["cancel_requested"] == [kept["task"], lost["task"]]
    await _update(stage, kept, state="completed")
    await stage.settle(lost, "release")
    assert await stage.fetch("t-cancel") == []
    expected = [(idle, "canceled"), (kept["task"], "completed"), (lost["task"], "canceled")]
    assert await _heard(stage) == expected


@promise
async def an_ack_of_work_needs_its_reply(stage: Stage) -> None:
    await stage.box("t-ack")
    message = await _begin(stage, "t-ack")
    assert (await stage.settle(message))["error"]["code"] == "ILLEGAL_TRANSITION"
    call: Reply = {
        "items": [{"lease": message["lease"]}],
        "send": {"in_reply_to": message["id"], "text": "4 kg"},
    }
    first = await stage.call("mailbox_ack", **call)
    assert await stage.call("mailbox_ack", **call) == first
    assert (await _task(stage, message["task"]))["status_message"]["parts"] == [{"text": "4 kg"}]
    assert await _heard(stage) == [(message["task"], "completed")]


@promise
async def updates_commit_with_an_ack_all_or_none(stage: Stage) -> None:
    await stage.box("t-both")
    work = await _begin(stage, "t-both")
    await stage.send("t-both", "plain")
    [plain] = await stage.fetch("t-both")
    done = {"task": work["task"], "lease": work["lease"], "state": "completed"}
    items = [{"lease": plain["lease"]}]
    bad: Reply = {"items": items, "tasks": [{**done, "expected_version": 99}]}
    await stage.refused("VERSION_CONFLICT", "mailbox_ack", **bad)
    assert await stage.states("t-both") == {"weigh the cat": "leased", "plain": "leased"}
    contrary: Reply = {"items": [{"lease": work["lease"], "outcome": "reject"}], "tasks": [done]}
    await stage.refused("LEASE_LOST", "mailbox_ack", **contrary)
    good: Reply = {"items": [*items, {"lease": work["lease"]}], "tasks": [done]}
    first = await stage.call("mailbox_ack", **good)
    assert first["tasks"][0]["task"]["state"] == "completed"
    await stage.restart()
    assert await stage.call("mailbox_ack", **good) == first
    assert await _heard(stage) == [(work["task"], "completed")]


@promise
async def a_task_and_its_message_end_together(stage: Stage) -> None:
    await stage.box("t-end", max_attempts=1)
    await stage.box("t-drop")
    await stage.fetch("t-end")
    tasks = [
        (await stage.send(address, text, **{"task": True, **more}))["task"]
        for address, text, more in (
            ("t-end", "deleted", {}),
            ("t-end", "replaced", {"state_key": "k"}),
            ("t-end", "expired", {"ttl_s": 5}),
            ("t-end", "late", {"task": {"timeout_s": 6}, "delay_s": 60}),
            ("t-end", "rejected", {"priority": "critical"}),
            ("t-end", "dead", {"priority": "urgent"}),
            ("t-drop", "dropped", {}),
        )
    ]
    rejected, dead = await stage.fetch("t-end", max=2)
    await stage.settle(rejected, "reject", reason="no")
    await stage.settle(dead, "nack")
    [first] = (await stage.call("mailbox_query", mailbox="t-end", limit=1))["messages"]
    await stage.call("mailbox_delete", mailbox="t-end", ids=[first["id"]])
    await stage.send("t-end", "newer", state_key="k")
    await stage.call("mailbox_drop", address="t-drop")
    await stage.pass_time(5)
    await stage.pass_time(1)
    await stage.restart()
    ends = ("canceled", "canceled", "failed", "failed", "rejected", "failed", "canceled")
    assert [(await _task(stage, task))["state"] for task in tasks] == list(ends)
    told = dict(await _heard(stage))
    assert told == dict(zip(tasks, ends, strict=True))
    codes = [(await _task(stage, tasks[n], history=1))["history"][0]["reason"] for n in (0, 2, 3, 5)]
    assert codes == ["CANCELED", "EXPIRED", "TIMEOUT", "DEAD_LETTERED"]


@promise
async def tasks_are_listed_newest_first_in_pages(stage: Stage) -> None:
    await stage.box("t-list")
    tasks = [(await stage.send("t-list", f"{n}", task=True, session=f"s{n % 2}"))["task"] for n in range(5)]
    page = await stage.call("task_list", mailbox="t-list", limit=2)
    assert page["remaining"] == 3
    rest = await stage.call("task_list", mailbox="t-list", limit=100, cursor=page["next_cursor"])
    assert [task["id"] for task in [*page["tasks"], *rest["tasks"]]] == tasks[::-1]
    assert "next_cursor" not in rest
    odd = await stage.call("task_list", mailbox="t-list", session="s1", state="submitted")
    assert [task["id"] for task in odd["tasks"]] == [tasks[3], tasks[1]]
    assert (await stage.call("task_list", principal="stranger"))["tasks"] == []


@promise
async def a_repeated_send_opens_no_second_task(stage: Stage) -> None:
    await stage.box("t-key")
    first = await stage.send("t-key", "work", task=True, dedup_key="k")
    await stage.restart()
    assert await stage.send("t-key", "work", task=True, dedup_key="k") == {**first, "duplicate": True}
    assert len(await stage.fetch("t-key")) == 1


@promise
async def push_targets_stay_with_their_task(stage: Stage) -> None:
    await stage.box("t-push")
    task = (await stage.send("t-push", "work", task=True))["task"]
    engine = stage.broker.engine
    push = (await stage.call("push_set", task=task, url="https://8.8.8.8/a"))["push"]
    await stage.call("push_set", task=task, url="https://8.8.8.8/b", id="b")
    [first, second] = engine.pushes(task)
    report = PushReport(task=task, id=push["id"], made=first.made, number=1)
    assert await engine.execute(BROKER, report, stage.broker.ask()) == {"live": True}
    assert await stage.call("push_delete", task=task, id="b") == {"deleted": True}
    await stage.restart()
    engine = stage.broker.engine
    assert [(one.id, one.number, one.made) for one in engine.pushes()] == [(push["id"], 1, first.made)]
    late = PushReport(task=task, id="b", made=second.made, number=1)
    assert await engine.execute(BROKER, late, stage.broker.ask()) == {"live": False}
    await stage.call("task_cancel", task=task)
    assert [one.id for one in engine.pushes(task)] == [push["id"]], "its end is still to be posted"
    end = PushReport(task=task, id=push["id"], made=first.made, number=2, done=True)
    await engine.execute(BROKER, end, stage.broker.ask())
    assert engine.pushes() == []
    [listed] = (await stage.call("push_list", task=task))["pushes"]
    assert (listed["state"], listed["delivered"]) == ("done", 2)
