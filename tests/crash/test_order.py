"""No reply is written before its commit is on disk: seen from outside by system calls, and from inside."""

from __future__ import annotations

import asyncio
import itertools
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.broker.broker import start_broker
from mq9_mcp.engine.embedded import journal
from mq9_mcp.engine.embedded.disk import Disk
from mq9_mcp.engine.embedded.engine import open_engine
from mq9_mcp.engine.embedded.segments import JOURNAL_FOLDER, segment_path
from tests.crash import tracing
from tests.crash.broker_process import DATA
from tests.crash.door import Door
from tests.crash.order import Order
from tests.crash.processes import BrokerProcess, Process, deadline, working_in
from tests.crash.test_kill import LOGS, make_mailboxes
from tests.crash.told import Told

CLIENTS = 4
CLAIMS = 400
LOOP, THREAD = 1000.0, -1.0  # the slowest commit that the event loop writes itself: any, or none
SWITCH = 0.004  # above it once, and below it some commits later
FIRST_SEGMENT = segment_path(DATA / JOURNAL_FOLDER, 1)
RUN = 40  # syncs in a row that are slow, or quick


class NotingDisk(Disk):
    """Notes writes and syncs in an ordered log, in which the door notes its replies.

    ``fickle``: slow for a while, quick for a while.
    """

    def __init__(self, fickle: bool) -> None:
        self.log: list[tuple[str, Any, Any]] = []
        self._fickle = fickle
        self._syncs = 0
        self._never = threading.Event()

    def write(self, fd: int, data: bytes, offset: int) -> None:
        """Noted when it has returned."""
        super().write(fd, data, offset)
        self.log.append(("written", str(fd), bytes(data)))

    def sync(self, fd: int) -> None:
        """Noted when it begins and when it has returned."""
        who = threading.current_thread().name
        self.log.append(("sync begins", str(fd), who))
        self._syncs += 1
        if self._fickle and self._syncs // RUN % 2:
            self._never.wait(2 * SWITCH)
        super().sync(fd)
        self.log.append(("sync returned", str(fd), who))

    def replied(self, answer: dict[str, Any]) -> None:
        """What the door is about to write."""
        self.log.append(("replied", answer, None))


def check(log: list[tuple[str, Any, Any]]) -> Order:
    """The rule, over the whole log."""
    order = Order()
    for kind, one, other in log:
        if kind == "written":
            order.written(one, other)
        elif kind == "sync begins":
            order.sync_begins(one, other)
        elif kind == "sync returned":
            order.sync_returned(one, other)
        else:
            order.replied(one)
    return order


def clients(stack: ExitStack, number: int = CLIENTS) -> list[Process]:
    """Client processes that work until the door closes."""
    LOGS.mkdir()
    started = [Process("tests.crash.client_process", f"c{index}") for index in range(number)]
    for client in started:
        stack.callback(client.kill)
    return started


async def serve(disk: NotingDisk, stack: ExitStack) -> None:
    """A broker in this process, and clients on its door until enough was claimed."""
    engine = await open_engine(DATA, segment_bytes=64 * 1024, fold_apart=False, disk=disk)
    broker = await start_broker(engine)
    enough = asyncio.Event()
    replies = itertools.count()

    def before_reply(answer: dict[str, Any]) -> None:
        disk.replied(answer)
        if next(replies) > CLAIMS:
            enough.set()

    door = Door(broker, before_reply=before_reply)
    await door.open()
    try:
        await asyncio.to_thread(make_mailboxes)
        working = clients(stack)
        async with asyncio.timeout(60):
            await enough.wait()
        await door.close()
        assert [await asyncio.to_thread(client.end) for client in working] == [0] * CLIENTS
    finally:
        await broker.close()


@pytest.mark.parametrize(
    ("inline_s", "writers"),
    [(LOOP, {"MainThread"}), (THREAD, {"mq9-journal"}), (SWITCH, {"MainThread", "mq9-journal"})],
    ids=["loop", "thread", "both"],
)
def test_no_reply_is_written_before_its_commit_is_on_disk(
    tmp_path: Path, inline_s: float, writers: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commits on the event loop, those of the thread that takes over on a slow disk, and the change-over."""
    monkeypatch.setattr(journal, "INLINE_S", inline_s)
    disk = NotingDisk(fickle=len(writers) == 2)
    with working_in(tmp_path), ExitStack() as stack:
        asyncio.run(serve(disk, stack))
    order = check(disk.log)
    assert order.checked > CLAIMS / 2
    assert order.syncers.keys() == writers


@pytest.mark.skipif(not tracing.available(), reason="strace is not there; the test above sees the same order")
@pytest.mark.parametrize("inline_s", [LOOP, THREAD], ids=["loop", "thread"])
def test_a_system_call_trace_shows_no_early_reply(tmp_path: Path, inline_s: float) -> None:
    """The same rule on what the kernel was asked, and: a segment goes after the tables were synced."""
    trace = tmp_path / "trace"
    with working_in(tmp_path), ExitStack() as stack:
        broker = BrokerProcess(before=tracing.command(trace), inline_s=inline_s, journal_bytes=0)
        stack.callback(broker.kill)
        broker.ready()
        make_mailboxes()
        working = clients(stack)
        for _ in deadline(60):
            assert broker.lives_for(0.05)
            if Told.of(LOGS).answers >= CLAIMS and not FIRST_SEGMENT.exists():
                break
        broker.end()
        assert [client.end() for client in working] == [0] * CLIENTS
    seen = tracing.Trace(Order())
    seen.read(trace)
    assert seen.order.checked > CLAIMS / 2
    assert seen.removed > 0, "no segment was deleted"
    assert seen.order.syncers
    assert (seen.order.syncers.keys() == seen.repliers) == (inline_s == LOOP)


# -- the checks bite

SENT = b'[{"event":"sent","at":1,"mails":[[7,1,2,1,5,"a",0]]}]'
ACKED = b'[{"event":"acked","at":1,"group":1,"ids":[7]}]'
RECEIPT = {"reply": {"receipts": [{"id": 7}]}}


def commit(events: bytes) -> bytes:
    """The bytes of a commit with one record."""
    record = len(events).to_bytes(4, "little") + bytes(4) + events
    numbers = (0, len(record), 1)
    return b"mq9c" + b"".join(n.to_bytes(4, "little") for n in numbers) + bytes(40) + record


@pytest.mark.parametrize(
    "log",
    [
        [],
        [("written", "f", commit(SENT))],
        [("written", "f", commit(SENT)), ("sync begins", "f", 1)],
        [("sync begins", "f", 1), ("written", "f", commit(SENT)), ("sync returned", "f", 1)],
        [("written", "f", commit(SENT)), ("sync begins", "g", 1), ("sync returned", "g", 1)],
        [("written", "f", commit(ACKED)), ("sync begins", "f", 1), ("sync returned", "f", 1)],
    ],
    ids=["nothing", "no sync", "unfinished sync", "sync before", "another file", "another fact"],
)
def test_an_early_reply_is_found(log: list[tuple[str, Any, Any]]) -> None:
    with pytest.raises(AssertionError, match="answered before it was on disk"):
        check([*log, ("replied", RECEIPT, None)])


def test_a_reply_in_time_passes() -> None:
    log = [("written", "f", commit(SENT)), ("sync begins", "f", 1), ("sync returned", "f", 1)]
    assert check([*log, ("replied", RECEIPT, None)]).checked == 1
