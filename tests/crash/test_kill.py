"""``kill -9`` of the broker, its folder process or both, with a send, a lease and an ack in flight.

``MQ9_CRASH_ROUNDS`` makes it longer: ``make crash``.
"""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.crash.chain import commits
from tests.crash.check import MAILBOXES, check_all, retry_in_flight, retry_sample
from tests.crash.line import FileLog, Line
from tests.crash.processes import BrokerProcess, Process, deadline, working_in
from tests.crash.told import Told, kinds

ROUNDS = int(os.environ.get("MQ9_CRASH_ROUNDS", "3"))
ROUNDS_OF_A_LIFE = 6  # then a new data directory: each check looks at everything
CLIENTS = 6
CHANGES = 200  # acknowledged ones in every round
WAYS = ("broker", "folder first", "both")
ALL_KINDS = {"send", "fetch", "ack"}
READ_S = 0.2  # a client on a busy machine has read by then the answer that was out
LOGS = Path("logs")
JOURNAL = Path("data/journal")


class Life:
    """One data directory and its rounds; ``chain`` are the commits that were seen before."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.chain: dict[int, bytes] = {}
        LOGS.mkdir()
        self.kill_a_start()  # before there is anything

    def kill_a_start(self) -> None:
        """Kill a broker somewhere between its start and its being ready."""
        broker = BrokerProcess()
        broker.lives_for(self.rng.uniform(0.1, 1.2))
        broker.kill()

    def round(self, number: int, way: str) -> int:
        """Load, kill, check; the number of changes that were acknowledged."""
        before = Told.of(LOGS).answers
        with ExitStack() as stack:
            broker = BrokerProcess()
            stack.callback(broker.kill)
            broker.ready()
            make_mailboxes()
            begin = time.monotonic()
            clients = [Process("tests.crash.client_process", f"r{number}-c{i}") for i in range(CLIENTS)]
            for client in clients:
                stack.callback(client.kill)
            load_for(broker, before + CHANGES, self.rng.uniform(0.0, 0.5))
            if way == "folder first":
                os.kill(broker.folder_pid(), signal.SIGKILL)
                load_for(broker, Told.of(LOGS).answers + 50, self.rng.uniform(0.0, 1.0))
            folder = broker.folder_pid() if way == "both" else None
            stopped_at = stop_in_flight(broker, clients, begin)
            if folder is not None:
                os.kill(folder, signal.SIGKILL)
            broker.kill()
            assert [client.end() for client in clients] == [0] * CLIENTS
        told = Told.of(LOGS)
        assert kinds(told.in_flight(begin, stopped_at)) >= ALL_KINDS
        assert told.answers - before >= CHANGES
        self.check(number)
        return told.answers - before

    def check(self, number: int) -> None:
        """What is on disk, and what a broker makes of it, against what the clients were told."""
        self.check_chain()
        if self.rng.random() < 0.4:
            self.kill_a_start()
            self.check_chain()
        broker = BrokerProcess()
        try:
            broker.ready()
            line, log = Line("harness"), FileLog(LOGS / f"r{number}-harness.log")
            check_all(line, Told.of(LOGS))
            retry_in_flight(line, Told.of(LOGS), log)
            assert not Told.of(LOGS).open, "every call was made again"
            retry_sample(line, Told.of(LOGS), log, self.rng)
            check_all(line, Told.of(LOGS))
            line.close()
            log.close()
            assert broker.end() == 0, "it stops in order"
        finally:
            broker.kill()
        self.check_chain()

    def check_chain(self) -> None:
        """The chain is whole, and what was seen of it before is unchanged."""
        now = commits(JOURNAL)
        common = now.keys() & self.chain.keys()
        assert all(now[first] == self.chain[first] for first in common), "history was written anew"
        assert now or not self.chain
        self.chain = now


def make_mailboxes() -> None:
    """Equal settings each time: nothing changes where they exist."""
    line = Line("harness")
    for address in MAILBOXES:
        line.call("mailbox_create", address=address, settings={"max_attempts": 0})
    line.close()


def load_for(broker: BrokerProcess, answers: int, more_s: float) -> None:
    """Let the clients work until so many changes are acknowledged, and somewhat longer."""
    for _ in deadline(60):
        assert broker.lives_for(0.05), "the broker ended by itself"
        if Told.of(LOGS).answers >= answers:
            break
    assert broker.lives_for(more_s), "the broker ended by itself"


def stop_in_flight(broker: BrokerProcess, clients: list[Process], begin: float) -> float:
    """Stop the broker where calls of all kinds are in flight; when that was.

    A stopped process goes no further: killing it later is killing it at that moment. Meanwhile the clients
    read the answers that were out and try their next call, so that the logs say what had none.
    """
    for _ in deadline(30):
        at = time.monotonic()
        broker.stop()
        for _ in deadline(30):
            told = Told.of(LOGS)
            waiting = told.in_flight(begin)
            if len(waiting) == len(clients):
                break
            assert clients[0].lives_for(0.005)
        if kinds(told.in_flight(begin, at)) >= ALL_KINDS:
            assert clients[0].lives_for(READ_S)
            if kinds(Told.of(LOGS).in_flight(begin, at)) >= ALL_KINDS:
                return at
        broker.go_on()
        assert broker.lives_for(0.02)
    raise AssertionError


def test_nothing_acknowledged_is_lost_by_a_kill(tmp_path: Path) -> None:
    seed = int(os.environ.get("MQ9_CRASH_SEED", "4"))
    rng, changes = random.Random(seed), 0
    life: Life
    for number in range(ROUNDS):
        with working_in(tmp_path / f"life-{number // ROUNDS_OF_A_LIFE}"):
            if number % ROUNDS_OF_A_LIFE == 0:
                life = Life(rng)
            changes += life.round(number, WAYS[number % len(WAYS)])
            print(f"round {number + 1} of {ROUNDS}: {changes} acknowledged changes checked", flush=True)


def test_the_clients_logs_are_read_as_they_are_written(tmp_path: Path) -> None:
    """A call without an answer is seen, with its kind; a second receipt is an error."""
    log = FileLog(tmp_path / "one.log")
    log.tries("send", places=[["box", "k", "text"]])
    log.told("sent", places=[["box", "k", "text", 7]])
    log.tries("ack", outcome="nack", ids=[7], leases=["x"], answer=None)
    log.close()
    told = Told.of(tmp_path)
    assert told.sent == {("box", "k"): (7, "text")}
    assert kinds(told.in_flight()) == set()
    assert len(told.in_flight()) == 1
    with pytest.raises(AssertionError, match="two receipts"):
        Told({"one": [{"kind": "sent", "at": 1.0, "places": [["box", "k", "text", id]]} for id in (7, 8)]})
