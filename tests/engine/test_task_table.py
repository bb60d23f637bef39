"""The table of tasks: every pair of state and move, and that the broker keeps to it."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.task import TABLE, TERMINAL, UPDATES, Move, TaskState, allowed, next_task_state
from tests.support import Desk, Reply, run

PAIRS = list(product(TaskState, Move))
WORK = {
    "lease": "working",
    "progress": "working",
    "ask_input": "input-required",
    "ask_auth": "auth-required",
    "complete": "completed",
    "fail": "failed",
    "cancel": "canceled",
    "reject": "rejected",
}
WAIT = {"answer": "submitted", "fail": "failed", "cancel": "canceled", "reject": "rejected"}
# What each state allows, written down a second time on purpose: a change of the table must be meant.
EXPECTED: dict[str, dict[str, str]] = {
    "submitted": {**WORK, "follow_up": "submitted", "message": "submitted"},
    "working": {
        **WORK,
        **{"give_back": "submitted", "follow_up": "working", "message": "working", "ask_cancel": "working"},
    },
    "input-required": {**WAIT, "message": "input-required"},
    "auth-required": {**WAIT, "message": "auth-required"},
    "completed": {},
    "failed": {},
    "canceled": {},
    "rejected": {},
}
# The contract's own table: what may become what, a message that changes nothing aside.
CONTRACT = {
    "submitted": set(TaskState) - {"submitted"},
    "working": set(TaskState),
    "input-required": {"submitted", "canceled", "failed", "rejected"},
    "auth-required": {"submitted", "canceled", "failed", "rejected"},
}


@pytest.mark.parametrize(("state", "move"), PAIRS, ids=[f"{state}-{move}" for state, move in PAIRS])
def test_every_pair_leads_where_it_should_or_is_refused(state: TaskState, move: Move) -> None:
    after = EXPECTED[state].get(move)
    if after is not None:
        assert next_task_state(state, move) == after
        return
    with pytest.raises(Refused) as caught:
        next_task_state(state, move)
    assert caught.value.code == "ILLEGAL_TRANSITION"
    assert caught.value.details["allowed"] == [str(one) for one in allowed(state)]


def test_the_table_is_the_contract_s() -> None:
    for state in TaskState:
        moves = EXPECTED[state].items()
        changes = {after for move, after in moves if move not in ("message", "follow_up")}
        assert changes == CONTRACT.get(state, set()) == {*allowed(state)}
    assert {state for state in TaskState if not allowed(state)} == TERMINAL


async def stand(desk: Desk, at: str) -> tuple[str, str]:
    """A task that stands in ``at``, and the last lease on it."""
    task: str = (await desk.send("jobs", "work", task=True))["task"]
    if at == "submitted":
        [other] = await desk.fetch("jobs", lease_s=1)
        await desk.pass_time(1)
        return task, other["lease"]
    [message] = await desk.fetch("jobs", lease_s=1000)
    if at != "working":
        await desk.call("task_update", "bob", task=task, lease=message["lease"], state=at)
    return task, message["lease"]


def comparable(task: Reply) -> Reply:
    return {name: value for name, value in task.items() if name != "updated_at"}


@pytest.mark.parametrize(("at", "wanted"), list(product(TaskState, UPDATES)))
def test_an_update_to_every_state_from_every_state(tmp_path: Path, at: str, wanted: str) -> None:
    """Anything that the table has not is refused with the allowed set, and changes nothing."""

    async def body(desk: Desk) -> None:
        task, lease = await stand(desk, at)
        before = (await desk.call("task_get", task=task))["task"]
        assert before["state"] == at
        asked: dict[str, Any] = {"task": task, "lease": lease, "state": wanted}
        legal = (TaskState(at), UPDATES[wanted]) in TABLE
        if at in ("submitted", "working") and legal:
            after = (await desk.call("task_update", "bob", **asked))["task"]
            assert after["state"] == wanted
        elif at == wanted and at != "submitted":  # the same word again, as after a lost reply
            after = (await desk.call("task_update", "bob", **asked))["task"]
            assert comparable(after) == comparable(before)
        else:
            code = "LEASE_LOST" if legal else "ILLEGAL_TRANSITION"
            error = await desk.refused(code, "task_update", "bob", **asked)
            assert legal or error.details["allowed"] == [str(one) for one in allowed(TaskState(at))]
            assert (await desk.call("task_get", task=task))["task"] == before

    run(body, tmp_path, "jobs")


@pytest.mark.parametrize("at", sorted(TERMINAL))
def test_nothing_moves_a_task_that_is_over(tmp_path: Path, at: str) -> None:
    async def body(desk: Desk) -> None:
        task, _ = await stand(desk, at)
        before = (await desk.call("task_get", task=task, history=50))["task"]
        error = await desk.refused("ILLEGAL_TRANSITION", "task_cancel", task=task)
        assert error.details["allowed"] == []
        await desk.refused("ILLEGAL_TRANSITION", "mailbox_send", task=task, text="more")
        await desk.refused("ILLEGAL_TRANSITION", "mailbox_send", in_reply_to=1, to="jobs", text="more")
        assert (await desk.call("task_get", task=task, history=50))["task"] == before

    run(body, tmp_path, "jobs")


@pytest.mark.parametrize("move", Move)
def test_a_refused_move_is_told_in_words(move: Move) -> None:
    with pytest.raises(Refused) as refused:
        next_task_state(TaskState.COMPLETED, move)
    said = refused.value.message.removeprefix("a task that is completed cannot ")
    assert said.startswith(("be ", "become ", "take a message", "take an answer", "take a follow-up"))
    assert said.endswith("; it may become: nothing, it is over")
