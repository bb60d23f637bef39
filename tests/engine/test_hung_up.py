"""Callers that hang up: a waiting fetch takes nothing, a lease on its way is given back."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.domain.errors import Unavailable
from mq9_mcp.engine.embedded.disk import Disk
from tests.engine.test_journal import Book, write
from tests.engine.waiting import give_up, soon, turns, waiting
from tests.support import Desk, run, texts


def test_a_waiting_fetch_whose_caller_hung_up_takes_nothing(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch()
        fetch = await waiting(desk)
        await give_up(fetch)
        await desk.send(text="for the next one")
        await turns()
        [message] = await desk.fetch()
        assert (message["attempt"], texts([message])) == (1, ["for the next one"])

    run(body, tmp_path, "box")


def test_a_caller_that_hangs_up_after_the_bell_hands_it_on(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch()
        gone, stays = await waiting(desk), await waiting(desk)
        sending = asyncio.create_task(desk.send(text="one"))
        await asyncio.sleep(0)  # stored in memory: the bell has rung for the first
        await give_up(gone)
        assert texts(await soon(stays)) == ["one"]
        await sending

    run(body, tmp_path, "box")


class SlowDisk(Disk):
    """A disk that takes until the test lets it go on; the journal's own thread waits for it."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()

    def sync(self, fd: int) -> None:
        assert self.gate.wait(30)
        super().sync(fd)


@pytest.fixture(name="disk")
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    """Such a disk, on which no commit is written on the event loop."""
    monkeypatch.setattr("mq9_mcp.engine.embedded.journal.INLINE_S", -1)
    return SlowDisk()


@pytest.mark.parametrize("wait_s", [0, 50])
def test_a_cancelled_fetch_gives_its_lease_back_without_an_attempt(
    tmp_path: Path, disk: SlowDisk, wait_s: int
) -> None:
    """Its lease was being written when the caller hung up; who waits gets the message at once."""

    async def body(desk: Desk) -> None:
        await desk.send(text="one")
        await desk.fetch(tags_any=["none"])
        disk.gate.clear()
        gone = asyncio.create_task(desk.fetch(wait_s=wait_s))
        await turns()
        stays = await waiting(desk, agent="carol")
        await give_up(gone)
        disk.gate.set()
        [message] = await soon(stays)
        assert (texts([message]), message["attempt"]) == (["one"], 1)

    run(body, tmp_path, "box", disk=disk)


def test_a_lease_given_back_does_not_revive_what_was_replaced(tmp_path: Path, disk: SlowDisk) -> None:
    """While the lease was written a newer copy of its state key came: the old one is withdrawn."""

    async def body(desk: Desk) -> None:
        await desk.send(text="old", state_key="k")
        await desk.fetch(tags_any=["none"])
        disk.gate.clear()
        gone = asyncio.create_task(desk.fetch())
        await turns()
        newer = asyncio.create_task(desk.send(text="new", state_key="k"))
        await turns()
        await give_up(gone)
        disk.gate.set()
        await newer
        assert texts(await desk.fetch()) == ["new"]

    run(body, tmp_path, "box", disk=disk)


def test_leases_of_a_reply_that_was_not_written_are_released_without_an_attempt(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="one")
        reply = await desk.call("mailbox_fetch", mailbox="box")
        desk.engine.give_back(reply, desk.broker.ask())
        [message] = await desk.fetch()
        assert message["attempt"] == 1
        assert message["fence"] > reply["messages"][0]["fence"]

    run(body, tmp_path, "box")


class FullDisk(Disk):
    """There is no room, once it is ``full``."""

    full = False

    def write(self, fd: int, data: bytes, offset: int) -> None:
        """As long as there is room."""
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(fd, data, offset)


def test_a_failed_commit_whose_caller_hung_up_is_no_fault(tmp_path: Path) -> None:
    faults: list[dict[str, Any]] = []
    disk = FullDisk()

    async def body(book: Book) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        disk.full = True
        book.append([b"one"])
        heard, unheard = book.journal.promise("heard"), book.journal.promise("unheard")
        with pytest.raises(Unavailable, match="nothing was stored"):
            await heard
        assert unheard.done()

    write(tmp_path, body, disk)
    gc.collect()
    assert faults == []
