"""``kill -9`` of the broker, its folder process or both while clients ask for tasks and work on them.

``MQ9_CRASH_ROUNDS`` makes it longer: ``make crash``.
"""

from __future__ import annotations

import os
import random
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.crash.chain import commits
from tests.crash.line import FileLog, Line
from tests.crash.processes import BrokerProcess, Process, deadline, working_in
from tests.crash.task_check import TasksTold, check_tasks, retry_tasks

ROUNDS = int(os.environ.get("MQ9_CRASH_ROUNDS", "2"))
ROUNDS_OF_A_LIFE = 4  # then a new data directory: each check looks at everything
CLIENTS = 5
CHANGES = 150  # acknowledged ones in every round
WAYS = ("broker", "folder first", "both")
LOGS = Path("logs")


def round_of(rng: random.Random, number: int, way: str) -> int:
    """Load, kill, check; the number of changes that were acknowledged."""
    before = TasksTold.of(LOGS).answers
    with ExitStack() as stack:
        broker = BrokerProcess()
        stack.callback(broker.kill)
        broker.ready()
        make_mailbox()
        clients = [Process("tests.crash.task_client", f"r{number}-c{i}") for i in range(CLIENTS)]
        for client in clients:
            stack.callback(client.kill)
        load_for(broker, before + CHANGES, rng.uniform(0.0, 0.5))
        if way == "folder first":
            os.kill(broker.folder_pid(), signal.SIGKILL)
            load_for(broker, TasksTold.of(LOGS).answers + 50, rng.uniform(0.0, 1.0))
        folder = broker.folder_pid() if way == "both" else None
        if folder is not None:
            os.kill(folder, signal.SIGKILL)
        broker.kill()
        assert [client.end() for client in clients] == [0] * CLIENTS
    told = TasksTold.of(LOGS)
    assert len(told.open) == CLIENTS, "each client has a call in flight"
    check(number)
    return told.answers - before


def check(number: int) -> None:
    """What a broker makes of what is on disk, against what the clients were told."""
    commits(Path("data/journal"))
    broker = BrokerProcess()
    try:
        broker.ready()
        line, log = Line("harness"), FileLog(LOGS / f"r{number}-harness.log")
        check_tasks(line, TasksTold.of(LOGS))
        retry_tasks(TasksTold.of(LOGS), log)
        assert not TasksTold.of(LOGS).open, "every call was looked at again"
        check_tasks(line, TasksTold.of(LOGS))
        line.close()
        log.close()
        assert broker.end() == 0, "it stops in order"
    finally:
        broker.kill()


def make_mailbox() -> None:
    """Equal settings each time: nothing changes where it exists."""
    line = Line("harness")
    line.call("mailbox_create", address="jobs", settings={"max_attempts": 0})
    line.close()


def load_for(broker: BrokerProcess, answers: int, more_s: float) -> None:
    """Let the clients work until so many changes are acknowledged, and somewhat longer."""
    for _ in deadline(60):
        assert broker.lives_for(0.05), "the broker ended by itself"
        if TasksTold.of(LOGS).answers >= answers:
            break
    assert broker.lives_for(more_s), "the broker ended by itself"


def test_nothing_acknowledged_about_a_task_is_lost_by_a_kill(tmp_path: Path) -> None:
    rng, changes = random.Random(int(os.environ.get("MQ9_CRASH_SEED", "4"))), 0
    for number in range(ROUNDS):
        with working_in(tmp_path / f"life-{number // ROUNDS_OF_A_LIFE}"):
            LOGS.mkdir(exist_ok=True)
            changes += round_of(rng, number, WAYS[number % len(WAYS)])
            print(f"round {number + 1} of {ROUNDS}: {changes} acknowledged changes checked", flush=True)


def test_the_logs_of_tasks_are_read_as_they_are_written(tmp_path: Path) -> None:
    """A call without an answer is seen; what was refused is no change; two calls at a time are an error."""
    log = FileLog(tmp_path / "one.log")
    for kind in ("update", "refused", None):
        log.tries("update", mark=kind, state=None)
        if kind is not None:
            log.told(kind, task="t", version=2, after="working")
    log.close()
    told = TasksTold.of(tmp_path)
    assert [(change.call["mark"], change.answer is None) for change in told.changes] == [
        ("update", False),
        (None, True),
    ]
    assert told.answers == 1
    twice = {"kind": "try", "what": "update", "at": 1.0}
    with pytest.raises(AssertionError, match="one call at a time"):
        TasksTold({"one": [twice, twice]})
