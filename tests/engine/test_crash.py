"""``kill -9`` with sends, leases and acks in flight: what was acknowledged is there, once, and stays so.

``MQ9_CRASH_ROUNDS`` makes it longer.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support import Desk, Reply

ROUNDS = int(os.environ.get("MQ9_CRASH_ROUNDS", "2"))
WORKER = Path(__file__).with_name("crash_worker.py")
ROOT = Path(__file__).parents[2]


class Told:
    """What the callers' files say they were told."""

    def __init__(self, logs: Path) -> None:
        self.sent: dict[str, tuple[int, str]] = {}
        self.acked: set[int] = set()
        self.tried: set[str] = set()
        self.answered: set[str] = set()
        self.fences: dict[int, list[int]] = {}
        for path in sorted(logs.glob("*.log")):
            for line in path.read_bytes().split(b"\n"):
                self._read(line)

    def _read(self, line: bytes) -> None:
        try:
            entry: dict[str, Any] = json.loads(line)
        except ValueError:
            return  # a line that was being written
        if entry["kind"] == "try":
            self.tried.update(entry["keys"])
        elif entry["kind"] == "sent":
            assert entry["key"] not in self.sent, "one key, two receipts"
            self.sent[entry["key"]] = entry["id"], entry["text"]
        elif entry["kind"] == "acked":
            assert self.acked.isdisjoint(entry["ids"]), "acked twice"
            self.acked.update(entry["ids"])
            self.answered.add(entry["answer"])
        elif entry["kind"] == "leased":
            self.fences.setdefault(entry["id"], []).append(entry["fence"])


def run_and_kill(data: Path, logs: Path, seed: str, after: float) -> None:
    """Let the worker run for so long, then kill it with everything in flight."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(WORKER), str(data), str(logs), seed]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"running\n", "the data does not open"
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(after)
        worker.send_signal(signal.SIGKILL)
        worker.wait(30)


async def everything(desk: Desk, mailbox: str) -> list[Reply]:
    """All messages of a mailbox, settled ones too."""
    found: list[Reply] = []
    arguments: dict[str, Any] = {"mailbox": mailbox, "limit": 100}
    while True:
        reply = await desk.call("mailbox_query", **arguments)
        found += reply["messages"]
        if "next_cursor" not in reply:
            return found
        arguments["cursor"] = reply["next_cursor"]


async def verify(desk: Desk, told: Told) -> None:
    """The data directory holds what the callers were told, and nothing that nobody tried."""
    stored: dict[str, Reply] = {}
    for message in [*await everything(desk, "box"), *await everything(desk, "answers")]:
        assert message["dedup_key"] not in stored, "stored twice"
        stored[message["dedup_key"]] = message
    assert stored.keys() <= told.tried, "invented"
    for key, (id, text) in told.sent.items():
        assert key in stored, f"{key} was acknowledged and is lost"
        assert (stored[key]["id"], stored[key]["parts"]) == (id, [{"text": text}])
    states = {message["id"]: one["state"] for message in stored.values() for one in message["deliveries"]}
    assert {id for id in told.acked if states[id] != "acked"} == set(), "an acknowledged ack came back"
    settled = {id for id, state in states.items() if state == "acked"}
    unknown = settled - told.acked
    answers = {message["dedup_key"] for key, message in stored.items() if key.endswith("answer")}
    assert told.answered <= answers, "an ack without its send"
    assert bool(unknown) <= bool(answers - told.answered), "a send without its ack"
    for fences in told.fences.values():
        assert len(set(fences)) == len(fences), "a fence was given twice"


async def retry(desk: Desk, told: Told) -> None:
    """A retry under the same key is told the first receipt."""
    for key, (id, text) in random.Random(1).sample(sorted(told.sent.items()), 40):
        to = "answers" if key.endswith("answer") else "box"
        receipt = await desk.send(to, text, dedup_key=key)
        assert (receipt["id"], receipt["duplicate"]) == (id, True)


def test_nothing_acknowledged_is_lost_when_the_broker_is_killed(tmp_path: Path) -> None:
    data, logs = tmp_path / "data", tmp_path / "logs"
    logs.mkdir()
    rng = random.Random(4)

    async def look() -> None:
        desk = Desk(data, segment_bytes=64 * 1024, journal_bytes=128 * 1024)
        desk.time.now = time.time_ns() // 1_000_000
        await desk.open()
        try:
            told = Told(logs)
            await verify(desk, told)
            await retry(desk, told)
        finally:
            await desk.broker.close()

    for round_ in range(ROUNDS):
        run_and_kill(data, logs, f"{round_}", 0.5 + rng.random())
        assert len(Told(logs).sent) > 100 * (round_ + 1), "too little happened"
        asyncio.run(look())
