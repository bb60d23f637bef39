"""One recorded run, and every system call in it fails in turn; and a crash before, in and after each.

``MQ9_FAULT_STRIDE=1`` takes every call of the run of a whole broker too, not only of the journal's.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.domain.errors import Unavailable
from mq9_mcp.engine.embedded import disk as disk_module
from tests.engine.test_faults import healed, outcome
from tests.engine.test_journal import Book
from tests.support import Desk, opened

STRIDE = int(os.environ.get("MQ9_FAULT_STRIDE", "12"))
WATCHED = ("open", "posix_fallocate", "pwrite", "fdatasync", "fsync", "ftruncate", "unlink")
ERRORS = {"no room": errno.ENOSPC, "input/output error": errno.EIO}
FIRST_SEGMENT = 10  # calls until there is one
IN_A_ROW = (1, 5)  # a fault of a moment, and one that also meets what is done about it


class Calls:
    """``os`` as the disk sees it: counts the calls that write, and fails some of them."""

    def __init__(self, before: Callable[[str, tuple[Any, ...]], None] = lambda *_: None) -> None:
        self.made: list[str] = []
        self.failing: range = range(0)
        self.error = 0
        self.before = before

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in WATCHED:
            return real

        def call(*arguments: Any) -> Any:
            number = len(self.made)
            self.made.append(name)
            self.before(name, arguments)
            if number not in self.failing:
                return real(*arguments)
            if not self.error:  # a write that stops half way, which is no error
                return real(*arguments) if name != "pwrite" else half(*arguments)
            if name == "pwrite":
                half(*arguments)
            raise OSError(self.error, os.strerror(self.error))

        return call


def half(fd: int, data: memoryview, offset: int) -> int:
    """Write the first half of ``data``, at least a byte."""
    return os.pwrite(fd, data[: max(1, len(data) // 2)], offset)


# -- the journal alone


async def keep_books(folder: Path) -> tuple[list[bytes], list[bytes]]:
    """Commits of every size over several segments, some split; what was stored, what refused."""
    stored: list[bytes] = []
    refused: list[bytes] = []
    book = Book(folder)
    book.open()
    book.journal.start()

    async def commit(*bodies: bytes) -> None:
        waiting = []
        for body in bodies:
            try:
                book.append([body])
                waiting.append((body, book.journal.promise(None)))
            except Unavailable:
                refused.append(body)
        for body, written in waiting:
            try:
                await written
                stored.append(body)
            except Unavailable:
                refused.append(body)

    try:
        for number in range(6):
            await commit(f"alone {number} ".encode() + b"x" * 300)
            await commit(*(f"{index} of {number} ".encode() + b"y" * 900 for index in range(5)))
        await commit(b"larger than a segment " * 300)
    finally:
        await book.journal.close()
    return stored, refused


def found_in(folder: Path) -> list[bytes]:
    """What a start finds."""
    book = Book(folder)
    book.open()
    asyncio.run(book.journal.close())
    return book.bodies()


def recorded(folder: Path, monkeypatch: pytest.MonkeyPatch, calls: Calls) -> tuple[list[bytes], list[bytes]]:
    """The run with ``calls`` under the journal."""
    with monkeypatch.context() as patch:
        patch.setattr(disk_module, "os", calls)
        return asyncio.run(keep_books(folder))


@pytest.mark.parametrize("in_a_row", IN_A_ROW)
@pytest.mark.parametrize("error", [0, *ERRORS.values()], ids=["short write", *ERRORS])
def test_any_call_of_the_journal_may_fail(
    error: int, in_a_row: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was said to be stored is there, in order; what was refused is not."""
    monkeypatch.setattr("mq9_mcp.engine.embedded.journal._RETRY_S", 0)
    undisturbed = Calls()
    whole, _ = recorded(tmp_path / "undisturbed", monkeypatch, undisturbed)
    assert len(undisturbed.made) > 40
    assert {*undisturbed.made} >= {"open", "posix_fallocate", "pwrite", "fdatasync", "fsync"}
    seen_refusals = 0
    for number in range(len(undisturbed.made)):
        folder = tmp_path / f"{number}"
        calls = Calls()
        calls.failing, calls.error = range(number, number + in_a_row), error
        where = f"call {number}: {undisturbed.made[number]}"
        stored: list[bytes] = []
        refused: list[bytes] = []
        try:
            stored, refused = recorded(folder, monkeypatch, calls)
        except OSError:  # the first segment cannot be made, and nothing begins
            assert number < FIRST_SEGMENT, where
        assert found_in(folder) == stored, where
        assert not {*refused} & {*stored}, where
        assert sorted(stored + refused) == sorted(whole) or not stored, where
        seen_refusals += bool(refused)
        shutil.rmtree(folder)
    assert bool(seen_refusals) == bool(error)


def test_a_crash_at_any_call_of_the_journal_leaves_what_was_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images of the folder before each call, and with half of what a write was to write."""
    images: list[tuple[Path, list[bytes]]] = []
    folder = tmp_path / "live"
    stored: list[bytes] = []
    committed = Book.__init__

    def image(name: str, arguments: tuple[Any, ...]) -> None:
        for torn in (False, True)[: 1 + (name == "pwrite")]:
            if torn:
                half(*arguments)
            copy = tmp_path / f"{len(images)}-{name}{'-torn' * torn}"
            shutil.copytree(folder, copy)
            images.append((copy, list(stored)))

    def init(self: Book, *arguments: Any) -> None:
        committed(self, *arguments)
        written = self.journal._on_commit

        def on_commit(batch: Any) -> None:
            written(batch)
            stored.extend(body[-20:] for body in batch.pieces[2::3])  # after a header and events each

        self.journal._on_commit = on_commit

    monkeypatch.setattr(Book, "__init__", init)
    recorded(folder, monkeypatch, Calls(image))
    monkeypatch.undo()
    assert len(images) > 80
    for copy, acknowledged in images:
        found = [body[-20:] for body in found_in(copy)]
        assert found[: len(acknowledged)] == acknowledged, copy.name
        assert found_in(copy) == found_in(copy), "it opens again"


# -- a whole broker


async def work(desk: Desk, told: Told) -> None:
    """Sends, leases, settlements and rare commands, several at once and over several segments."""
    for number in range(4):
        sends = [
            outcome(
                desk,
                "mailbox_send",
                to="box",
                text=f"{number} {index} " + "x" * 900,
                dedup_key=f"{number} {index}",
            )
            for index in range(5)
        ]
        for reply in await asyncio.gather(*sends):
            if isinstance(reply, dict):
                told.sent.add(reply["receipts"][0]["id"])
        taken = await outcome(desk, "mailbox_fetch", mailbox="box", max=3)
        for message in taken["messages"] if isinstance(taken, dict) else ():
            told.leased.setdefault(message["id"], []).append(message["fence"])
            settled = await outcome(desk, "mailbox_ack", items=[{"lease": message["lease"]}])
            if isinstance(settled, dict) and settled["results"][0]["ok"]:
                told.acked.add(message["id"])
        await outcome(desk, "mailbox_query", mailbox="box")
    reply = await outcome(desk, "mailbox_create", address="new", settings={"max_attempts": 7})
    told.made = isinstance(reply, dict)


class Told:
    """What the callers were told."""

    def __init__(self) -> None:
        self.sent: set[int] = set()
        self.acked: set[int] = set()
        self.leased: dict[int, list[int]] = {}
        self.made = False


async def verify(desk: Desk, told: Told) -> None:
    """Everything acknowledged is there, once; nothing else is but what was asked for."""
    found = await desk.query(limit=100)
    ids = [message["id"] for message in found]
    keys = [message["dedup_key"] for message in found]
    assert told.sent == {*ids}, "lost, or stored though it was refused"
    assert len({*keys}) == len(keys), "twice"
    states = {message["id"]: message["deliveries"] for message in found}
    settled = {id for id, groups in states.items() if groups and groups[0]["state"] == "acked"}
    assert told.acked == settled
    for fences in told.leased.values():
        assert len({*fences}) == len(fences), "a fence was given twice"
    boxes = (await desk.call("mailbox_list", prefix="new"))["mailboxes"]
    assert bool(boxes) == told.made


async def broker_run(folder: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> Told:
    """The recorded run on a broker with ``calls`` under its journal; looked at before and after a restart."""
    told = Told()
    async with asyncio.timeout(60), opened(folder, "box", "other", segment_bytes=8 * 1024) as desk:
        with monkeypatch.context() as patch:
            patch.setattr(disk_module, "os", calls)
            await work(desk, told)
        await healed(desk, "other")
        await verify(desk, told)
        await desk.restart()
        await verify(desk, told)
    return told


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_any_call_under_a_broker_may_fail(
    error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mq9_mcp.engine.embedded.journal._RETRY_S", 0)
    monkeypatch.setattr("mq9_mcp.engine.embedded.store._RECOVER_S", 0)
    undisturbed = Calls()
    told = asyncio.run(broker_run(tmp_path / "undisturbed", undisturbed, monkeypatch))
    assert (len(told.sent), len(told.acked), told.made) == (20, 12, True)
    assert len(undisturbed.made) > 50
    for number in range(error % STRIDE, len(undisturbed.made), STRIDE):
        calls = Calls()
        calls.failing, calls.error = range(number, number + IN_A_ROW[number % 2]), error
        try:
            asyncio.run(broker_run(tmp_path / f"{number}", calls, monkeypatch))
        except BaseException:
            print(f"call={number} {undisturbed.made[number]} in_a_row={IN_A_ROW[number % 2]}")
            raise
