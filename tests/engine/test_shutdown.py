"""Stopping: no new work, who waits is answered at once, everything is stored and folded, nothing stays."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import duckdb
import pytest

from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.domain.plan import Ask
from tests.engine.test_faults import GatedDisk
from tests.support import Desk, Reply, run, texts


async def closing(desk: Desk) -> asyncio.Task[None]:
    """Begin to stop the broker, and let it come as far as it can at once."""
    task = asyncio.create_task(desk.broker.close())
    while not desk.broker.stopping:
        await asyncio.sleep(0)
    return task


def test_no_new_work_is_taken(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.broker.close()
        for name, arguments in (
            ("mailbox_send", {"to": "box", "text": "late"}),
            ("mailbox_fetch", {"mailbox": "box", "wait_s": 50}),
            ("mailbox_query", {"mailbox": "box"}),
            ("mailbox_get", {"address": "box"}),
        ):
            error = await desk.refused("SHUTTING_DOWN", name, **arguments)
            assert error.status == 503
            assert error.hint
        await desk.broker.close()

    run(body, tmp_path, "box")


def test_waiting_calls_are_answered_at_once(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        fetch = asyncio.create_task(desk.call("mailbox_fetch", "bob", mailbox="box", wait_s=50))
        send = asyncio.create_task(
            desk.call("mailbox_send", to="other", text="hi", wait_for="replied", wait_s=50)
        )
        while not await desk.query("other"):
            await asyncio.sleep(0)
        await (await closing(desk))
        assert (await fetch)["messages"] == []
        assert (await send)["receipts"][0]["reached"] == "stored"
        assert loop.time() - begin < 25

    run(body, tmp_path, "box", "other")


def open_when_waited_for(disk: GatedDisk) -> None:
    """In a thread of its own: let the disk go on once somebody waits for it."""
    assert disk.waiting.wait(30)
    disk.gate.set()


def test_what_was_begun_is_finished_and_stays(tmp_path: Path) -> None:
    disk = GatedDisk()

    async def body(desk: Desk) -> None:
        disk.gate.clear()
        disk.waiting.clear()
        opener = threading.Thread(target=open_when_waited_for, args=(disk,))
        opener.start()
        sends = [asyncio.create_task(desk.send(text=f"{number}")) for number in range(20)]
        await asyncio.sleep(0)
        await (await closing(desk))
        opener.join()
        assert all(send.done() for send in sends)
        receipts = [send.result() for send in sends]
        await desk.open()
        assert [message["id"] for message in await desk.query()] == [receipt["id"] for receipt in receipts]

    run(body, tmp_path, "box", disk=disk)


def test_everything_is_folded_and_no_thread_or_process_is_left(tmp_path: Path) -> None:
    before = {thread.ident for thread in threading.enumerate()}
    last: list[int] = []

    async def body(desk: Desk) -> None:
        for number in range(50):
            await desk.send(text=f"{number}")
        await desk.fetch(max=20)
        await desk.broker.close()
        last.append(desk.engine.journal.durable_seq)
        left = [thread for thread in threading.enumerate() if thread.name.startswith("mq9")]
        assert left == []
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    run(body, tmp_path, "box")
    after = {thread.ident for thread in threading.enumerate()}
    assert after <= before
    with duckdb.connect(str(tmp_path / "mq9.duckdb")) as con:
        assert con.execute("select value from meta where name = 'folded_seq'").fetchone() == (last[0],)
        assert con.execute("select count(*) from messages").fetchone() == (50,)
        assert con.execute("select count(*) from open_deliveries").fetchone() == (20,)


def test_an_engine_that_is_closed_says_so(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        [_, message] = [await desk.send(text="one"), await desk.send(text="two")]
        reply: Reply = {"messages": await desk.fetch()}
        await desk.broker.close()
        ask = Ask(desk.time.now, "secret")
        desk.engine.give_back(reply, ask)  # too late: the leases run out by themselves
        await desk.engine.tick(ask)
        await desk.open()
        assert await desk.fetch() == []
        assert [one["id"] for one in await desk.query()][-1] == message["id"]

    run(body, tmp_path, "box")


def test_a_stop_in_the_middle_of_everything_loses_nothing(tmp_path: Path) -> None:
    """Calls come from all sides while the broker stops: each is done whole or refused."""

    async def caller(desk: Desk, name: str, sent: list[str], acked: list[int]) -> str:
        number = 0
        try:
            while True:
                number += 1
                await desk.send(text=f"{name}-{number}", agent=name)
                sent.append(f"{name}-{number}")
                for message in await desk.fetch(agent=name, max=2, wait_s=1):
                    result = await desk.settle(message, agent=name)
                    assert result["ok"]
                    acked.append(message["id"])
        except Mq9Error as error:
            return error.code

    async def body(desk: Desk) -> None:
        sent: list[str] = []
        acked: list[int] = []
        callers: list[Any] = [
            asyncio.create_task(caller(desk, f"agent{index}", sent, acked)) for index in range(8)
        ]
        while len(acked) < 100:
            await asyncio.sleep(0)
        await desk.broker.close()
        assert set(await asyncio.gather(*callers)) == {"SHUTTING_DOWN"}
        await desk.open()
        stored = (await desk.call("mailbox_get", address="box"))["mailbox"]["counts"]
        assert stored["settled"] + stored["unsettled"] == len(sent)
        assert stored["settled"] == len(acked)
        desk.time.now += 1_000_000
        left = await desk.fetch(max=1000)
        assert set(texts(left)) <= set(sent)
        assert not {message["id"] for message in left} & set(acked)

    run(body, tmp_path, "box")
