"""Power loss at every step towards the disk: unsynced writes survive in any part, and the data opens.

``MQ9_CRASH_ROUNDS`` makes it longer: ``make crash``.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.engine.embedded import journal
from mq9_mcp.engine.embedded.frame import Damaged
from tests.crash.chain import commits
from tests.crash.check import MAILBOXES, check_all, retry_in_flight
from tests.crash.client import Client
from tests.crash.line import Log, Reply, Said
from tests.crash.lossy import SECTOR, Change, LossyDisk, survive
from tests.crash.told import Told
from tests.support import START_MS, Desk

ROUNDS = int(os.environ.get("MQ9_CRASH_ROUNDS", "2"))
PICTURES = 4  # of each round; the next one goes on from the last
ROUNDS_OF_A_LIFE = 8  # then a new data directory: each check looks at everything
CLIENTS = 4
CHANCE = {"written": 0.06, "allocated": 0.3, "before write": 0.005, "synced": 0.005, "names synced": 0.02}
SLOW_S = 0.001
TABLES = ("mq9.duckdb", "mq9.duckdb.wal")

Logs = dict[str, list[Reply]]


class Picture(NamedTuple):
    """A data directory as the power left it in a round, and what the clients had been told by then.

    ``step`` says where the power went; ``torn`` is the number of files that lost something.
    """

    number: int
    path: Path
    logs: Logs
    step: str
    torn: int


class DeskLine:
    """Calls from outside the event loop."""

    def __init__(self, runner: asyncio.Runner, desk: Desk) -> None:
        self._runner = runner
        self._desk = desk

    def call(self, name: str, **arguments: Any) -> Reply:
        """The reply, or ``Said``."""
        return self._runner.run(said(self._desk, "harness", name, arguments))


async def said(desk: Desk, agent: str, name: str, arguments: dict[str, Any]) -> Reply:
    """The reply, or a refusal as a client on a socket sees it."""
    try:
        return await desk.call(name, agent, **arguments)
    except Mq9Error as error:
        raise Said({"code": error.code, "message": error.message}) from error


class Round:
    """Load on one data directory until the pictures are taken. ``logs`` are those of the rounds before."""

    def __init__(self, folder: Path, number: int, logs: Logs, now: int, rng: random.Random) -> None:
        self.folder = folder
        self.number = number
        self.logs = logs
        self.now = now
        self.rng = rng
        self.pictures: list[Picture] = []
        self.enough = asyncio.Event()
        self._mine: dict[str, Log] = {}
        self._loop = asyncio.get_running_loop()
        self._armed = False

    async def work(self, disk: LossyDisk, journal_bytes: int) -> None:
        """Clients at work until there are enough pictures."""
        options = {"segment_bytes": 16 * 1024, "journal_bytes": journal_bytes, "disk": disk}
        desk = Desk(self.folder, **options)
        desk.time.now = self.now
        await desk.open()
        try:
            for address in MAILBOXES:
                await desk.call("mailbox_create", address=address, settings={"max_attempts": 0})
            self._armed = True
            tasks = [asyncio.create_task(self._client(desk, index)) for index in range(CLIENTS)]
            async with asyncio.timeout(60):
                await self.enough.wait()
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(one, asyncio.CancelledError) for one in ended), ended
            self.now = desk.time.now
        finally:
            await desk.broker.close()

    async def _client(self, desk: Desk, index: int) -> None:
        name = f"r{self.number}-c{index}"

        async def call(command: str, **arguments: Any) -> Reply:
            desk.time.now += self.rng.randint(0, 5)
            return await said(desk, name, command, arguments)

        self._mine[name] = Log()
        await Client(name, call, self._mine[name]).work()

    def moment(self, step: str) -> None:
        """A step towards the medium: perhaps the power goes here."""
        with self.disk.lock:  # two threads take steps
            if self._armed and len(self.pictures) < PICTURES and self.rng.random() < CHANCE[step]:
                self._take(step)
                if len(self.pictures) == PICTURES:
                    self._loop.call_soon_threadsafe(self.enough.set)

    def _take(self, step: str) -> None:
        logs = {**self.logs, **{name: list(log.entries) for name, log in self._mine.items()}}
        path = self.folder.with_name(f"{self.folder.name}-{len(self.pictures)}")
        while True:
            segments = set((self.folder / "journal").iterdir())
            copy_tables(self.folder, path)
            torn = self.disk.picture(path / "journal", self.rng)
            if segments <= set((self.folder / "journal").iterdir()):
                break
            shutil.rmtree(path)  # a segment went meanwhile: the tables that were copied may lack it
        self.pictures.append(Picture(self.number, path, logs, step, torn))

    disk: LossyDisk


def copy_tables(folder: Path, target: Path) -> None:
    """DuckDB's files as they are at one moment: it writes and syncs them by itself."""
    target.mkdir()
    while True:
        before = [stamp(folder / name) for name in TABLES]
        for name in TABLES:
            (target / name).unlink(missing_ok=True)
            if (folder / name).exists():
                shutil.copyfile(folder / name, target / name)
        if before == [stamp(folder / name) for name in TABLES]:
            return


def stamp(path: Path) -> tuple[int, int] | None:
    """Changes whenever the file does."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size


def verify(picture: Picture, now: int) -> Logs:
    """The data opens and holds what the clients were told; their calls are made again. The logs then."""
    before = commits(picture.path / "journal")
    log = Log()
    with asyncio.Runner() as runner:
        desk = Desk(picture.path, segment_bytes=16 * 1024)
        desk.time.now = now
        runner.run(desk.open())
        line = DeskLine(runner, desk)
        try:
            told = Told(picture.logs)
            check_all(line, told)
            retry_in_flight(line, told, log)
            logs = {**picture.logs, f"r{picture.number}-harness": log.entries}
            assert not Told(logs).open
            check_all(line, Told(logs))
        finally:
            runner.run(desk.broker.close())
    after = commits(picture.path / "journal")
    assert all(after[first] == before[first] for first in after.keys() & before.keys())
    return logs


class Losses:
    """Loss after loss of one data directory."""

    def __init__(self, folder: Path, rng: random.Random, slow_s: float) -> None:
        self.folder = folder
        self.rng = rng
        self.slow_s = slow_s
        self.now = START_MS
        self.logs: Logs = {}

    def next(self, number: int) -> int:
        """Load, losses, checks; how many files lost something. The last picture is where the next goes on."""
        load = asyncio.run(self._load(number))
        self.now = load.now
        for picture in load.pictures:
            logs = verify(picture, self.now)
        shutil.rmtree(self.folder)
        for picture in load.pictures[:-1]:
            shutil.rmtree(picture.path)
        self.folder, self.logs = load.pictures[-1].path, logs
        return sum(picture.torn for picture in load.pictures)

    async def _load(self, number: int) -> Round:
        load = Round(self.folder, number, self.logs, self.now, self.rng)
        load.disk = LossyDisk(self.folder / "journal", load.moment, self.slow_s)
        await load.work(load.disk, self.rng.choice((0, 32 * 1024, 1024 * 1024)))
        return load


@pytest.mark.parametrize("thread", [False, True], ids=["loop", "thread"])
def test_what_was_acknowledged_outlives_the_power(
    tmp_path: Path, thread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With commits written on the event loop, and by the thread."""
    monkeypatch.setattr(journal, "INLINE_S", -1.0 if thread else 1000.0)
    rng = random.Random(int(os.environ.get("MQ9_CRASH_SEED", "4")))
    torn = 0
    for number in range(ROUNDS):
        if number % ROUNDS_OF_A_LIFE == 0:
            losses = Losses(tmp_path / f"life-{number}", rng, SLOW_S if thread else 0.0)
        torn += losses.next(number)
        print(f"round {number + 1} of {ROUNDS}: {torn} files lost something", flush=True)
    assert torn, "nothing was ever lost"


# -- the check bites


class LyingDisk(LossyDisk):
    """Says that it synced a commit when it did not."""

    def sync(self, fd: int) -> None:
        """Nothing."""


def test_a_disk_that_lies_is_found_out(tmp_path: Path) -> None:
    async def body() -> Round:
        load = Round(tmp_path / "data", 0, {}, START_MS, random.Random(1))
        load.disk = LyingDisk(tmp_path / "data" / "journal", load.moment)
        await load.work(load.disk, 1024 * 1024)
        return load

    load = asyncio.run(body())
    found = 0
    for picture in load.pictures:
        try:
            verify(picture, load.now)
        except (AssertionError, Damaged, Said):
            found += 1
    assert found, "commits that never came to the medium are missed by nobody"


@pytest.mark.parametrize("seed", range(20))
def test_a_loss_keeps_what_was_synced_and_tears_at_sectors_only(seed: int) -> None:
    medium = bytearray(b"a" * 1000)
    changes = [Change(700, b"b" * 2000), Change(4000, None), Change(2700, b"c" * 10)]
    content, whole = survive(medium, changes, random.Random(seed))
    assert content[:700] == b"a" * 700
    for start in range(SECTOR * 2, 2048, SECTOR):
        sector = content[start : start + SECTOR]
        assert sector in (b"", b"b" * SECTOR, bytes(SECTOR))
    assert len(content) in (1000, 4000) or not whole
