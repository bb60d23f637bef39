"""Disks that fail: what was acknowledged stays, what was refused is not there, the broker heals itself."""

from __future__ import annotations

import asyncio
import errno
import threading
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.engine.embedded import journal
from mq9_mcp.engine.embedded.disk import Disk
from tests.support import Desk, Reply, run, texts

MINUTE = 60


class WeakDisk(Disk):
    """Fails the calls named in ``failing`` with ``error``, after as many more as ``spare`` allows."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.error = errno.ENOSPC
        self.spare = 0
        self.failed = 0

    def fail(self, *calls: str, error: int = errno.ENOSPC, spare: int = 0) -> None:
        """From now on these calls fail."""
        self.failing, self.error, self.spare = set(calls), error, spare

    def heal(self) -> None:
        """Everything works again."""
        self.failing = set()

    def _strike(self, call: str) -> None:
        if call not in self.failing:
            return
        if self.spare:
            self.spare -= 1
            return
        self.failed += 1
        raise OSError(self.error, "the test's disk fails")

    def allocate(self, path: Path, size: int) -> int:
        """Fails on demand."""
        self._strike("allocate")
        return super().allocate(path, size)

    def write(self, fd: int, data: bytes, offset: int) -> None:
        """Fails on demand, with half of the data written."""
        if "write" in self.failing and not self.spare:
            super().write(fd, data[: len(data) // 2], offset)
        self._strike("write")
        super().write(fd, data, offset)

    def sync(self, fd: int) -> None:
        """Fails on demand, with the data written."""
        self._strike("sync")
        super().sync(fd)

    def fill(self, fd: int, start: int, end: int) -> None:
        """Fails on demand."""
        self._strike("fill")
        super().fill(fd, start, end)

    def cut(self, fd: int, offset: int, size: int) -> None:
        """Fails on demand."""
        self._strike("cut")
        super().cut(fd, offset, size)


async def outcome(desk: Desk, name: str, **arguments: Any) -> str | Reply:
    """The reply, or the code of the error."""
    try:
        return await desk.call(name, **arguments)
    except Mq9Error as error:
        return error.code


async def healed(desk: Desk, to: str = "box") -> None:
    """Return when changes are taken again, with a probe sent; the broker gets there without help."""
    while await outcome(desk, "mailbox_send", to=to, text="probe") == "STORAGE_UNAVAILABLE":
        await asyncio.sleep(0)


async def queried(desk: Desk) -> list[Reply]:
    """What a query answers as soon as the tables are brought up to date again."""
    while isinstance(found := await outcome(desk, "mailbox_query", mailbox="box"), str):
        assert found == "STORAGE_UNAVAILABLE"
        await asyncio.sleep(0)
    messages: list[Reply] = found["messages"]
    return messages


@pytest.mark.parametrize("call", ["write", "sync"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_change_that_cannot_be_written_is_refused_and_not_there(
    call: str, error: int, tmp_path: Path
) -> None:
    disk = WeakDisk()

    async def body(desk: Desk) -> None:
        kept = await desk.send(text="kept")
        disk.fail(call, error=error)
        refusal = await desk.refused("STORAGE_UNAVAILABLE", "mailbox_send", to="box", text="lost")
        assert "nothing was stored" in refusal.message
        assert texts(await desk.query()) == ["kept"]
        disk.heal()
        await healed(desk)
        assert texts(await desk.fetch()) == ["kept", "probe"]
        await desk.restart()
        assert texts(await desk.query()) == ["kept", "probe"]
        assert (await desk.query())[0]["id"] == kept["id"]
        assert desk.engine.journal.cut_bytes == 0

    run(body, tmp_path, "box", disk=disk)


@pytest.mark.parametrize("on_the_loop", [True, False], ids=["loop", "thread"])
def test_a_fault_of_the_writer_itself_is_told_like_a_failed_write(
    on_the_loop: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever waits for a commit gets an answer, whatever happens to it (section 9)."""
    monkeypatch.setattr(journal, "INLINE_S", 1000.0 if on_the_loop else -1.0)

    class FaultyDisk(WeakDisk):
        """Has a mistake in it."""

        faulty = False

        def sync(self, fd: int) -> None:
            """Breaks, with the data written."""
            if self.faulty:
                raise RuntimeError("a secret detail")
            super().sync(fd)

    disk = FaultyDisk()

    async def test(desk: Desk) -> None:
        disk.faulty = True
        refused = await desk.refused("STORAGE_UNAVAILABLE", "mailbox_send", to="box", text="lost")
        assert "RuntimeError" in refused.message
        assert "secret" not in refused.message
        disk.faulty = False
        await healed(desk)
        assert "lost" not in texts(await desk.query())

    run(test, tmp_path, "box", disk=disk)
    assert "a commit could not be written" in caplog.text


def test_reads_go_on_while_nothing_can_be_written(tmp_path: Path) -> None:
    disk = WeakDisk()

    async def body(desk: Desk) -> None:
        await desk.send(text="kept")
        disk.fail("write")
        for _ in range(3):
            await desk.refused("STORAGE_UNAVAILABLE", "mailbox_send", to="box", text="lost")
            assert texts(await desk.query()) == ["kept"]
            assert (await desk.call("mailbox_get", address="box"))["mailbox"]["counts"]["unsettled"] == 1
            boxes = (await desk.call("mailbox_list"))["mailboxes"]
            assert [box["address"] for box in boxes] == ["alice", "box"]
            await desk.refused("MAILBOX_NOT_FOUND", "mailbox_get", address="nowhere")

    run(body, tmp_path, "box", disk=disk)


def test_no_read_shows_a_change_that_was_not_stored(tmp_path: Path) -> None:
    disk = WeakDisk()

    async def body(desk: Desk) -> None:
        disk.fail("sync")
        calls = [
            outcome(desk, "mailbox_create", address="new"),
            outcome(desk, "mailbox_get", address="new"),
            outcome(desk, "mailbox_list", prefix="new"),
            outcome(desk, "mailbox_query", mailbox="new"),
        ]
        made, got, listed, queried = await asyncio.gather(*calls)
        assert made == "STORAGE_UNAVAILABLE"
        assert got in ("STORAGE_UNAVAILABLE", "MAILBOX_NOT_FOUND")
        assert listed == "STORAGE_UNAVAILABLE" or not listed["mailboxes"]  # type: ignore[index]
        assert queried in ("STORAGE_UNAVAILABLE", "MAILBOX_NOT_FOUND")
        assert await outcome(desk, "mailbox_get", address="new") == "MAILBOX_NOT_FOUND"

    run(body, tmp_path, disk=disk)


def test_every_change_in_flight_is_whole_or_absent(tmp_path: Path) -> None:
    """Failures at every point of a stream of concurrent sends, leases and acks."""
    disk = WeakDisk()

    async def worker(desk: Desk, sent: list[int], acked: list[int], unsure: list[int]) -> None:
        for number in range(12):
            reply = await outcome(desk, "mailbox_send", to="box", text=f"{number}")
            if isinstance(reply, dict):
                sent.append(reply["receipts"][0]["id"])
            taken = await outcome(desk, "mailbox_fetch", mailbox="box", max=2)
            for message in taken["messages"] if isinstance(taken, dict) else ():
                settled = await outcome(desk, "mailbox_ack", items=[{"lease": message["lease"]}])
                done = isinstance(settled, dict) and settled["results"][0]["ok"]
                (acked if done else unsure).append(message["id"])

    async def body(desk: Desk) -> None:
        sent: list[int] = []
        acked: list[int] = []
        unsure: list[int] = []
        for round_ in range(8):
            disk.fail(("write", "sync")[round_ % 2], spare=3 * round_)
            await asyncio.gather(*(worker(desk, sent, acked, unsure) for _ in range(4)))
            disk.heal()
            await healed(desk)
        assert disk.failed >= 8
        await desk.restart()
        counts = (await desk.call("mailbox_get", address="box"))["mailbox"]["counts"]
        await desk.pass_time(10 * MINUTE)
        left = [message["id"] for message in await desk.fetch(max=1000)]
        assert len(set(acked)) == len(acked)
        assert not set(left) & set(acked), "an acknowledged ack came back"
        assert set(sent) <= {*left, *acked}, "an acknowledged send is lost"
        assert counts["settled"] == len(acked), "an ack that was refused happened"

    run(body, tmp_path, "box", disk=disk)


def test_a_journal_that_cannot_grow_refuses_and_goes_on(tmp_path: Path) -> None:
    disk = WeakDisk()

    async def body(desk: Desk) -> None:
        disk.fail("allocate")
        stored = 0
        while isinstance(await outcome(desk, "mailbox_send", to="box", text="x" * 3000), dict):
            stored += 1
        assert stored
        refusal = await desk.refused("STORAGE_UNAVAILABLE", "mailbox_send", to="box", text="x" * 9000)
        assert "cannot grow" in refusal.message
        assert len(await desk.query(limit=100)) == min(stored, 100)
        disk.heal()
        await desk.send(text="again")
        counts = (await desk.call("mailbox_get", address="box"))["mailbox"]["counts"]
        await desk.restart()
        after = (await desk.call("mailbox_get", address="box"))["mailbox"]["counts"]
        assert counts["unsettled"] == after["unsettled"] == stored + 1

    run(body, tmp_path, "box", disk=disk, segment_bytes=32 * 1024)


def test_what_comes_due_without_room_is_done_later(tmp_path: Path) -> None:
    """Leases, expiry and delays wait for room; nothing is forgotten on the way."""
    disk = WeakDisk()

    async def body(desk: Desk) -> None:
        await desk.send(text="short", ttl_s=5)
        await desk.send(text="later", delay_s=5)
        await desk.send(text="leased")
        [_, leased] = await desk.fetch(lease_s=5)
        assert texts([leased]) == ["leased"]
        disk.fail("allocate")
        filler = "x" * 700
        while isinstance(await outcome(desk, "mailbox_send", to="other", text=filler), dict):
            filler = filler if len(filler) < 200 else filler[:-100]
        while isinstance(await outcome(desk, "mailbox_send", to="other", text=""), dict):
            pass
        await desk.pass_time(10)
        disk.heal()
        await desk.pass_time(0)
        assert texts(await desk.fetch()) == ["leased", "later"]
        states = {m["parts"][0]["text"]: m["deliveries"][0]["state"] for m in await desk.query()}
        assert states["short"] == "expired"

    run(body, tmp_path, "box", "other", disk=disk, segment_bytes=16 * 1024)


def test_a_full_disk_without_room_for_what_was_cut_off_answers_all_the_same(tmp_path: Path) -> None:
    disk = WeakDisk()

    async def body(desk: Desk) -> None:
        await desk.send(text="kept")
        disk.fail("write", "fill", "allocate")
        for _ in range(3):
            await desk.refused("STORAGE_UNAVAILABLE", "mailbox_send", to="box", text="lost")
        assert texts(await desk.query()) == ["kept"]
        disk.heal()
        await healed(desk)
        await desk.restart()
        assert texts(await desk.query()) == ["kept", "probe"]

    run(body, tmp_path, "box", disk=disk)


def test_a_commit_that_cannot_be_taken_back_yet_is_not_called_failed(tmp_path: Path) -> None:
    """While a failed commit may still be on the disk nobody is told that it is not."""
    disk = WeakDisk()

    async def body(desk: Desk) -> None:
        disk.fail("sync", "cut")
        send = asyncio.create_task(outcome(desk, "mailbox_send", to="box", text="lost"))
        while disk.failed < 3:  # the write, and two attempts to cut it off
            await asyncio.sleep(0)
        assert not send.done()
        disk.heal()
        assert await send == "STORAGE_UNAVAILABLE"
        await healed(desk)
        assert texts(await desk.query()) == ["probe"]

    run(body, tmp_path, "box", disk=disk)


class GatedDisk(Disk):
    """A disk whose sync stays until the gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = threading.Event()

    def sync(self, fd: int) -> None:
        """Return only through the open gate."""
        self.waiting.set()
        assert self.gate.wait(30)
        super().sync(fd)


@pytest.mark.parametrize("name", ["send", "fetch", "ack", "refusal", "read", "query"])
def test_no_reply_comes_before_the_sync_returns(name: str, tmp_path: Path) -> None:
    """A reply, a refusal or a read that rests on a change waits until that change is on disk."""
    disk = GatedDisk()
    early: list[str] = []
    done = threading.Event()

    def watch() -> None:
        assert disk.waiting.wait(30)
        if done.wait(0.05):
            early.append(name)
        disk.gate.set()

    async def body(desk: Desk) -> None:
        await desk.send(text="one", dedup_key="key")
        lease = (await desk.fetch())[0]["lease"]
        await desk.send(text="two")
        disk.gate.clear()
        disk.waiting.clear()
        watcher = threading.Thread(target=watch)
        watcher.start()
        calls = [outcome(desk, command, **arguments) for command, arguments in _calls(name, lease)]
        pending = [asyncio.ensure_future(call) for call in calls]
        await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        done.set()
        watcher.join()
        assert not early
        await asyncio.gather(*pending)

    run(body, tmp_path, "box", disk=disk)


Call = tuple[str, dict[str, Any]]


def _calls(name: str, lease: str) -> list[Call]:
    """The call in question last, after the change that it rests on."""
    send: Call = ("mailbox_send", {"to": "box", "text": "three", "dedup_key": "new"})
    calls: dict[str, list[Call]] = {
        "send": [send],
        "fetch": [("mailbox_fetch", {"mailbox": "box"})],
        "ack": [("mailbox_ack", {"items": [{"lease": lease}]})],
        "refusal": [send, ("mailbox_send", {"to": "box", "text": "other", "dedup_key": "new"})],
        "read": [send, ("mailbox_get", {"address": "box"})],
        "query": [send, ("mailbox_query", {"mailbox": "box"})],
    }
    return calls[name]
