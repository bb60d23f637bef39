"""``kill -9`` of a worker mid-task, and of the broker at every point of a question's round trip."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.crash.check import everything
from tests.crash.line import Gone, Line, Reply, Said
from tests.crash.processes import BrokerProcess, Process, working_in

SPEED = 40.0  # broker time: a lease that nobody holds any more is over in a second
LEASE_S = 40
DELAYS = (0.0, 0.0005, 0.001, 0.002, 0.004)  # seconds from the calls to the kill
KILLS = max(4, int(os.environ.get("MQ9_CRASH_ROUNDS", "0")))


def test_a_worker_that_is_killed_mid_task_is_followed_by_one_that_goes_on(tmp_path: Path) -> None:
    with working_in(tmp_path):
        broker = BrokerProcess(began=time.time(), speed=SPEED)
        worker: Process | None = None
        try:
            broker.ready()
            asker, second, stale = Line("asker"), Line("second"), Line("first")
            asker.call("mailbox_create", address="jobs")
            [receipt] = asker.call("mailbox_send", to="jobs", text="read", task=True)["receipts"]
            worker = Process("tests.crash.task_worker", "first")
            assert worker.process.stdout is not None
            first = json.loads(worker.process.stdout.readline())
            worker.kill()
            [again] = second.call("mailbox_fetch", mailbox="jobs", wait_s=50, lease_s=3600)["messages"]
            assert (again["id"], again["task"]) == (receipt["id"], receipt["task"])
            assert (again["attempt"], again["checkpoint"]) == (2, {"page": 7})
            with pytest.raises(Said) as late:
                stale.call("task_update", **first, state="completed")
            assert late.value.code == "LEASE_LOST"
            work = {"task": again["task"], "lease": again["lease"]}
            done = second.call("task_update", **work, state="completed")["task"]
            assert (done["state"], done["worker"]) == ("completed", "second")
            for line in (asker, second, stale):
                line.close()
        finally:
            broker.kill()
            if worker is not None:
                worker.kill()


class Trip:
    """One task from its opening over a question to its end; each step is one call."""

    STEPS = ("submit", "lease", "ask", "read notice", "answer", "lease again", "complete")

    def __init__(self, number: int) -> None:
        self.name = f"trip-{number}"
        self.done: list[Reply] = []
        self.line: Line

    def call(self) -> tuple[str, str, dict[str, Any]]:
        """Who makes the next call, which one, and with what."""
        step = len(self.done)
        jobs, asker, worker = f"{self.name}-jobs", f"{self.name}-asker", f"{self.name}-worker"
        take: dict[str, Any] = {"lease_s": LEASE_S, "wait_s": 50}
        if step == 0:
            arguments = {"to": jobs, "text": "weigh", "task": True, "dedup_key": "open"}
            return asker, "mailbox_send", arguments
        if step in (1, 5):
            return worker, "mailbox_fetch", {"mailbox": jobs, **take}
        if step == 2:
            asks = {"state": "input-required", "message": "which?", "checkpoint": {"page": 7}}
            return worker, "task_update", {**self.held(1), **asks}
        if step == 3:
            return asker, "mailbox_fetch", {"mailbox": asker, **take}
        if step == 4:
            notice = self.done[3]["messages"][0]["id"]
            return asker, "mailbox_send", {"in_reply_to": notice, "text": "both", "dedup_key": "answer"}
        artifact = {"artifact_id": "weight", "text": "4 kg"}
        ends = {"state": "completed", "message": "done", "artifacts": [artifact]}
        return worker, "task_update", {**self.held(5), **ends}

    def held(self, step: int) -> dict[str, str]:
        """The task and the lease that a fetch brought."""
        [message] = self.done[step]["messages"]
        return {"task": message["task"], "lease": message["lease"]}

    def begin(self) -> None:
        """Make the next call and do not wait for its answer."""
        agent, name, arguments = self.call()
        self.line = Line(agent)
        self.line.begin(name, **arguments)

    def finish(self) -> bool:
        """Take the answer, if it came; the broker may be gone."""
        try:
            self.done.append(self.line.answer())
        except Gone:
            return False
        finally:
            self.line.close()
        return True

    def go_to(self, step: int) -> None:
        """Make calls until so many are answered."""
        while len(self.done) < step:
            self.begin()
            assert self.finish()

    def check(self, line: Line) -> None:
        """Everything happened, each thing once."""
        [receipt] = self.done[0]["receipts"]
        task = line.call("task_get", task=receipt["task"], history=100)["task"]
        kinds = [entry["kind"] for entry in task["history"] if entry["kind"] not in ("leased", "returned")]
        assert kinds == ["submitted", "checkpoint", "status", "answer", "artifact", "status"]
        assert task["state"] == "completed"
        assert [one["parts"] for one in task["artifacts"]] == [[{"text": "4 kg"}]]
        notices = everything(line, f"{self.name}-asker")
        assert [one["task_state"] for one in notices] == ["input-required", "completed"]
        [first], [again] = self.done[1]["messages"], self.done[5]["messages"]
        assert (first["id"], first["task"]) == (receipt["id"], task["id"])
        assert again["id"] == self.done[4]["receipts"][0]["id"]
        assert (again["checkpoint"], again["question"]["parts"]) == ({"page": 7}, [{"text": "which?"}])
        work = everything(line, f"{self.name}-jobs")
        assert [one["deliveries"][0]["state"] for one in work] == ["acked", "acked"]


def test_a_broker_killed_at_any_point_of_a_question_loses_nothing(tmp_path: Path) -> None:
    """One kill meets a trip at each of its points: with its call in flight or, in turns, between calls."""
    lost = 0
    with working_in(tmp_path):
        began = time.time()
        for kill in range(KILLS):
            trips = [Trip(kill * len(Trip.STEPS) + step) for step in range(len(Trip.STEPS))]
            broker = BrokerProcess(began=began, speed=SPEED)
            try:
                broker.ready()
                harness = Line("harness")
                for step, trip in enumerate(trips):
                    harness.call("mailbox_create", address=f"{trip.name}-jobs", settings={"max_attempts": 0})
                    trip.go_to(step)
                if kill % 4:
                    for trip in trips:
                        trip.begin()
                    broker.lives_for(DELAYS[kill % len(DELAYS)])
            finally:
                broker.kill()
                harness.close()
            if kill % 4:
                lost += sum(not trip.finish() for trip in trips)
            finish_trips(trips, began)
    assert lost > 0, "no call was in flight at any kill"


def finish_trips(trips: list[Trip], began: float) -> None:
    """After a kill: each goes on with the call that had no answer, and comes to its end."""
    broker = BrokerProcess(began=began, speed=SPEED)
    try:
        broker.ready()
        harness = Line("harness")
        for trip in trips:
            trip.go_to(len(Trip.STEPS))
            trip.check(harness)
        harness.close()
        assert broker.end() == 0, "it stops in order"
    finally:
        broker.kill()
