"""One client of the crash tests that asks for tasks, works on them, answers questions and cancels, in a
process of its own until the broker is gone: ``task_client NAME``.

Each update bears a mark of its own, as progress, checkpoint and artifact: it is there whole or not at all.
"""

from __future__ import annotations

import contextlib
import random
import sys
from pathlib import Path
from typing import Any

from tests.crash.line import FileLog, Gone, Line, Log, Reply, Said

LONG_S = 300
SHORT_S = 1  # such leases run out while the clients work
LAST_WORDS = ("completed", "completed", "failed", "canceled", "rejected")
REFUSALS = ("LEASE_LOST", "ILLEGAL_TRANSITION", "TASK_NOT_FOUND", "STORAGE_UNAVAILABLE")


class TaskClient:
    """An asker and a worker with one name and a log."""

    def __init__(self, name: str, line: Line, log: Log) -> None:
        self.name = name
        self.rng = random.Random(name)
        self.line = line
        self.log = log
        self.number = 0
        self.tasks: list[str] = []

    def work(self) -> None:
        """Go on until the broker is gone."""
        while True:
            self.number += 1
            self.submit()
            self.take_one()
            self.read_notices()
            if self.rng.random() < 0.2:
                self.cancel()

    def call(self, what: str, name: str, arguments: Reply, **about: Any) -> Reply | None:
        """One logged call; None if it was refused, which must be for a reason that this client knows."""
        self.log.tries(what, name=name, arguments=arguments, **about)
        reply = expected(self.line, name, arguments)
        if reply is None:
            self.log.told("refused")
            return None
        self.log.told(what, **told_of(what, reply))
        return reply

    def submit(self) -> None:
        """Open a task."""
        key = f"{self.name}-{self.number}"
        reply = self.call("submit", "mailbox_send", opening(key), key=key)
        assert reply is not None
        self.tasks.append(reply["receipts"][0]["task"])

    def take_one(self) -> None:
        """Lease a task; tell of it a few times; end it, ask, give it back, or leave it."""
        lease_s = self.rng.choice((LONG_S, SHORT_S))
        reply = self.call("lease", "mailbox_fetch", {"mailbox": "jobs", "max": 1, "lease_s": lease_s})
        for message in reply["messages"] if reply is not None else ():
            held = True
            for step in range(self.rng.randint(0, 3)):
                held = held and self.update(message, f"{self.name}-{self.number}-{step}", None)
            word = self.rng.choice((*LAST_WORDS, "input-required", "input-required", "submitted", None))
            if held and word is not None:
                self.update(message, f"{self.name}-{self.number}-last", word)

    def update(self, message: Reply, mark: str, state: str | None) -> bool:
        """A word under the lease; False if the lease is lost."""
        arguments = {"task": message["task"], "lease": message["lease"]}
        if state is not None:
            arguments |= {"state": state, "message": mark}
        arguments |= {"progress": {"note": mark}, "checkpoint": mark}
        artifact = {"artifact_id": mark, "text": mark * self.rng.randint(1, 150)}
        reply = self.call(
            "update", "task_update", {**arguments, "artifacts": [artifact]}, mark=mark, state=state
        )
        return reply is not None

    def read_notices(self) -> None:
        """What the broker tells this asker; questions are answered."""
        reply = self.call("notices", "mailbox_fetch", {"mailbox": self.name, "max": 2, "lease_s": LONG_S})
        for notice in reply["messages"] if reply is not None else ():
            if notice["task_state"] == "input-required":
                key = f"{self.name}-answer-{notice['id']}"
                answer = {"in_reply_to": notice["id"], "text": key, "dedup_key": key}
                self.call("answer", "mailbox_send", answer, key=key, task=notice["task"])
            self.call("ack", "mailbox_ack", {"items": [{"lease": notice["lease"]}]})

    def cancel(self) -> None:
        """Cancel one of its own tasks, whatever has become of it."""
        task = self.rng.choice(self.tasks)
        self.call("cancel", "task_cancel", {"task": task}, task=task)


def expected(line: Line, name: str, arguments: Reply) -> Reply | None:
    """The reply to a call; None if it was refused for a reason that such calls can meet."""
    try:
        return line.call(name, **arguments)
    except Said as error:
        if error.code in REFUSALS:
            return None
        raise


def opening(key: str) -> Reply:
    """The message that opens a task."""
    return {"to": "jobs", "text": key, "task": True, "dedup_key": key}


def told_of(what: str, reply: Reply) -> Reply:
    """What the log keeps of a reply."""
    if what == "submit" or what == "answer":
        [receipt] = reply["receipts"]
        return {"id": receipt["id"], "task": receipt["task"]}
    if what in ("update", "cancel"):
        task = reply["task"]
        return {"task": task["id"], "version": task["version"], "after": task["state"]}
    if what == "lease":
        return {"messages": [[one["id"], one["task"], one.get("checkpoint")] for one in reply["messages"]]}
    return {}


def main(name: str) -> None:
    """Work; every answer is on disk before the next call."""
    line, log = Line(name), FileLog(Path("logs") / f"{name}.log")
    with contextlib.suppress(Gone):
        TaskClient(name, line, log).work()
    log.close()
    line.close()


if __name__ == "__main__":
    main(sys.argv[1])
