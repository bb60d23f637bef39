"""Exactly once: a ledger over three mailboxes, with broker and workers killed and replies lost.

``MQ9_CRASH_ROUNDS`` makes it longer: ``make crash``.
"""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.crash.ledger import (
    ACCOUNTS,
    OPENING,
    account_message,
    check_books,
    everything,
    make_mailboxes,
    money,
    transfer_message,
)
from tests.crash.ledger_process import Stubborn, transfers
from tests.crash.line import Reply
from tests.crash.processes import BrokerProcess, Process, deadline, working_in

KILLS = max(9, int(os.environ.get("MQ9_CRASH_ROUNDS", "0")))
TRANSFERS = 15 * KILLS
LOSE = 0.02  # of the replies
SPEED = 40.0  # broker time: a lease of a worker that was killed is over in a second or two
TOTAL = ACCOUNTS * OPENING
TARGETS = ("broker", "debit", "credit", "folder", "feed", "broker", "debit", "credit", "broker and worker")
WORKERS = {"feed": 1, "debit": 2, "credit": 2}


class Bank:
    """The processes of one run; each is started again when it was killed."""

    def __init__(self, rng: random.Random, stack: ExitStack) -> None:
        self.rng = rng
        self.began = time.time()
        self.lost = 0
        self.started = 0
        self.broker: BrokerProcess
        self.workers: list[tuple[str, Process]] = []
        self.line = Stubborn("harness")
        stack.callback(self.end)
        self.start_broker()
        self.open_accounts()
        for role, count in WORKERS.items():
            for _ in range(count):
                self.start_worker(role)

    def start_broker(self) -> None:
        """Start it and return when it serves."""
        self.broker = BrokerProcess(lose=LOSE, began=self.began, speed=SPEED)
        self.broker.ready()

    def start_worker(self, role: str) -> None:
        """One more of this role."""
        self.started += 1
        arguments = (role, f"{role}-{self.started}", str(TRANSFERS))
        self.workers.append((role, Process("tests.crash.ledger_process", *arguments)))

    def open_accounts(self) -> None:
        """Each with the same sum."""
        make_mailboxes(self.line)
        for account in range(ACCOUNTS):
            self.line.call("mailbox_send", **account_message(account, 0, OPENING, "opening"))

    def applied(self) -> int:
        """How many transfers have reached their second account."""
        settled: int = self.line.call("mailbox_get", address="transit")["mailbox"]["counts"]["settled"]
        return settled

    def wait_for(self, count: int) -> None:
        """Until so many are applied."""
        for _ in deadline(120):
            if self.applied() >= count:
                return
            assert self.broker.lives_for(0.02)
            self.check_workers()

    def check_workers(self) -> None:
        """None ended by itself, but the feeder when it was done."""
        for role, worker in self.workers:
            assert worker.alive or (role == "feed" and worker.end() == 0), f"a {role} worker failed"

    def kill(self, target: str) -> None:
        """Kill it, start it again; after a broker look at the money while nobody moves it."""
        if target == "folder":
            os.kill(self.broker.folder_pid(), signal.SIGKILL)
            return
        if target in WORKERS or target == "broker and worker":
            self.kill_worker(target)
        if target.startswith("broker"):
            self.lost += self.line.call("lost")["lost"]
            living = [worker for _, worker in self.workers if worker.alive]
            self.broker.kill()
            self.line.close()
            for worker in living:
                worker.stop()
            self.start_broker()
            assert money(self.line) == TOTAL
            for worker in living:
                worker.go_on()

    def kill_worker(self, target: str) -> None:
        """One of the role, or any."""
        found = [one for one in self.workers if target in (one[0], "broker and worker")]
        role, worker = self.rng.choice(found)
        worker.kill()
        self.workers.remove((role, worker))
        self.start_worker(role)

    def end(self) -> None:
        """End what is left."""
        self.line.close()
        for _, worker in self.workers:
            worker.kill()
        self.broker.kill()


def test_each_transfer_is_applied_exactly_once(tmp_path: Path) -> None:
    rng = random.Random(int(os.environ.get("MQ9_CRASH_SEED", "4")))
    with working_in(tmp_path), ExitStack() as stack:
        bank = Bank(rng, stack)
        for number in range(KILLS):
            bank.wait_for(number * TRANSFERS // KILLS)
            assert bank.broker.lives_for(rng.uniform(0.0, 0.1))
            bank.kill(TARGETS[number % len(TARGETS)])
            print(f"kill {number + 1} of {KILLS}: {bank.applied()} transfers applied", flush=True)
        bank.wait_for(TRANSFERS)
        bank.lost += bank.line.call("lost")["lost"]
        assert money(bank.line) == TOTAL
        check_books(bank.line, transfers(TRANSFERS))
        assert bank.lost, "no reply was lost"
        again = [one["attempt"] for m in everything(bank.line, "transit") for one in m["deliveries"]]
        assert max(again) > 1, "no transfer was given to a second worker"


# -- the checks bite


class Shown:
    """A broker that only shows messages."""

    def __init__(self, messages: list[Any]) -> None:
        self.messages = messages

    def call(self, name: str, **arguments: Any) -> Reply:
        """A query."""
        assert name == "mailbox_query"
        found = [message for message in self.messages if message["to"] == arguments["mailbox"]]
        return {"messages": found}


def books() -> list[Any]:
    """One transfer of 7 from account 0 to account 1, applied, and the openings of all accounts."""
    transfer = {"number": 0, "from": 0, "to": 1, "amount": 7}
    settled = [account_message(account, 0, OPENING, "opening") for account in (0, 1)]
    settled.append(transfer_message("transit", transfer))
    last = [account_message(account, 0, OPENING, "opening") for account in range(2, ACCOUNTS)]
    last.append(account_message(0, 1, OPENING - 7, "debit-0"))
    last.append(account_message(1, 1, OPENING + 7, "credit-0"))
    done = [{"group": "default", "state": "acked", "attempt": 1}]
    return [
        *({**message, "deliveries": done} for message in settled),
        *({**message, "deliveries": []} for message in last),
    ]


TRANSFER = {"number": 0, "from": 0, "to": 1, "amount": 7}


def test_right_books_pass() -> None:
    line = Shown(books())
    assert money(line) == TOTAL
    check_books(line, [TRANSFER])


@pytest.mark.parametrize("place", [2, -1, -2])
@pytest.mark.parametrize("times", [0, 2])
def test_wrong_books_are_found(place: int, times: int) -> None:
    """A transfer that was passed on, debited or credited not at all or twice."""
    wrong = books()
    wrong[place : len(wrong) + place + 1 if place < 0 else place + 1] = [wrong[place]] * times
    with pytest.raises(AssertionError):
        check_books(Shown(wrong), [TRANSFER])
