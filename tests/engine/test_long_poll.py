"""Waiting fetches: woken at once by whatever makes mail free, and nobody's mail is lost on the way."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.engine.embedded.disk import Disk
from tests.support import Desk, Reply, run, texts

Fetching = asyncio.Task[list[Reply]]


async def waiting(desk: Desk, mailbox: Any = "box", **arguments: Any) -> Fetching:
    """A fetch that has looked once, found nothing and waits."""
    task = asyncio.create_task(desk.fetch(mailbox, wait_s=50, **arguments))
    await turns()
    assert not task.done()
    return task


async def turns(count: int = 20) -> None:
    """Let others run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def soon(task: Fetching) -> list[Reply]:
    """What a woken fetch returns; far below the time that it was ready to wait."""
    async with asyncio.timeout(10):
        return await task


async def give_up(*tasks: Fetching) -> None:
    """The callers hang up."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_a_message_that_arrives_while_waiting_is_returned_at_once(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch()
        fetch = await waiting(desk)
        await desk.send(text="now")
        assert texts(await soon(fetch)) == ["now"]

    run(body, tmp_path, "box")


def test_a_message_that_becomes_due_while_waiting_is_returned_at_once(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch()
        fetch = await waiting(desk)
        await desk.send(text="later", delay_s=60)
        await turns()
        assert not fetch.done()
        await desk.pass_time(60)
        assert texts(await soon(fetch)) == ["later"]

    run(body, tmp_path, "box")


def test_what_becomes_due_in_a_moment_is_not_noticed_half_a_second_later(tmp_path: Path) -> None:
    """The broker looks by itself when the next thing is due, also where it had meant to look later."""

    async def body(desk: Desk) -> None:
        await desk.fetch()
        started = asyncio.get_running_loop().time()
        for number in range(6):
            fetch = await waiting(desk)
            await desk.send(text=str(number), delay_s=0.02)
            desk.time.now += 20
            assert texts(await soon(fetch)) == [str(number)]
        assert asyncio.get_running_loop().time() - started < 1.5

    run(body, tmp_path, "box")


@pytest.mark.parametrize(
    ("outcome", "passes", "attempt"), [("lapse", 10, 2), ("nack", 5, 2), ("release", 0, 1)]
)
def test_a_message_whose_lease_ends_while_waiting_is_returned_at_once(
    tmp_path: Path, outcome: str, passes: float, attempt: int
) -> None:
    """The lease runs out, or its holder gives it back; after a nack the backoff is waited for."""

    async def body(desk: Desk) -> None:
        await desk.send(text="one")
        [held] = await desk.fetch(lease_s=10)
        fetch = await waiting(desk, agent="carol")
        if outcome != "lapse":
            delay: dict[str, Any] = {"delay_s": 5} if outcome == "nack" else {}
            await desk.settle(held, outcome, **delay)
        if passes:
            await turns()
            assert not fetch.done()
            await desk.pass_time(passes)
        [again] = await soon(fetch)
        assert (again["id"], again["attempt"]) == (held["id"], attempt)

    run(body, tmp_path, "box")


def test_a_fetch_that_was_never_answered_returns_when_its_time_is_over(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        async with asyncio.timeout(10):
            assert await desk.fetch(wait_s=0.01) == []

    run(body, tmp_path, "box")


def test_a_fetch_that_finds_mail_does_not_wait(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="there")
        async with asyncio.timeout(10):
            assert texts(await desk.fetch(wait_s=50)) == ["there"]

    run(body, tmp_path, "box")


def test_many_wait_and_exactly_one_gets_the_message(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch()
        fetches = [await waiting(desk, agent=f"worker-{number}") for number in range(20)]
        await desk.send(text="only one")
        await turns(200)
        done = [fetch for fetch in fetches if fetch.done()]
        assert [texts(fetch.result()) for fetch in done] == [["only one"]]
        assert done == fetches[:1]  # first come, first served
        await give_up(*fetches[1:])

    run(body, tmp_path, "box")


def test_as_many_wake_as_messages_arrive(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch()
        fetches = [await waiting(desk, max=1) for _ in range(5)]
        await desk.call("mailbox_send", messages=[{"to": "box", "text": str(n)} for n in range(3)])
        got = [texts(await soon(fetch)) for fetch in fetches[:3]]
        assert sorted(got) == [["0"], ["1"], ["2"]]
        await turns()
        assert not any(fetch.done() for fetch in fetches[3:])
        await give_up(*fetches[3:])

    run(body, tmp_path, "box")


def test_every_group_is_woken_by_a_message(tmp_path: Path) -> None:
    """Two groups are a broadcast: one message wakes a waiter in each."""

    async def body(desk: Desk) -> None:
        for group in ("one", "two", "three"):
            await desk.fetch(group=group)
        fetches = [await waiting(desk, group=group) for group in ("one", "two", "three")]
        await desk.send(text="all")
        assert [texts(await soon(fetch)) for fetch in fetches] == [["all"]] * 3

    run(body, tmp_path, "box")


def test_no_wake_up_is_lost_on_those_whose_filter_does_not_fit(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch()
        deaf = [await waiting(desk, tags_any=["no"]) for _ in range(3)]
        fits = await waiting(desk, tags_all=["yes"])
        also_deaf = await waiting(desk, priority_min="critical")
        await desk.send(text="yes", tags=["yes"])
        assert texts(await soon(fits)) == ["yes"]
        await turns()
        assert not any(fetch.done() for fetch in (*deaf, also_deaf))
        await give_up(*deaf, also_deaf)

    run(body, tmp_path, "box")


def test_waiters_that_nothing_fits_look_once_and_rest(tmp_path: Path) -> None:
    """A bell that nobody can use goes down the line once; it does not go round for ever."""

    async def body(desk: Desk) -> None:
        await desk.fetch()
        looks = 0
        execute = desk.engine.execute

        async def counted(*arguments: Any) -> Any:
            nonlocal looks
            looks += 1
            return await execute(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(desk.engine, "execute", counted)
            deaf = [await waiting(desk, tags_any=["no"]) for _ in range(4)]
            looks = 0
            await desk.send(text="plain")
            await turns(500)
            assert looks == 1 + len(deaf)
            await give_up(*deaf)

    run(body, tmp_path, "box")


def test_a_bell_that_rings_for_a_fetch_in_progress_is_passed_on(tmp_path: Path) -> None:
    """Two messages at nearly the same time, two waiters with ``max`` 1: none is left waiting."""

    async def body(desk: Desk) -> None:
        await desk.fetch()
        first, second = await waiting(desk, max=1), await waiting(desk, max=1)
        sends = [asyncio.create_task(desk.send(text=str(number))) for number in range(2)]
        got = [*texts(await soon(first)), *texts(await soon(second))]
        assert sorted(got) == ["0", "1"]
        await asyncio.gather(*sends)

    run(body, tmp_path, "box")


def test_a_fetch_in_progress_does_not_swallow_the_bell_of_another_message(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch()
        await desk.send(text="one")
        taking = asyncio.create_task(desk.fetch(wait_s=50, max=1))
        await asyncio.sleep(0)  # it has chosen "one"; the lease is on its way to the disk
        other = asyncio.create_task(desk.fetch(wait_s=50, max=1, agent="carol"))
        await asyncio.sleep(0)
        await desk.send(text="two")
        assert texts(await soon(taking)) == ["one"]
        assert texts(await soon(other)) == ["two"]

    run(body, tmp_path, "box")


def test_one_wait_covers_a_list_of_mailboxes(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        both = ["box", "queue"]
        await desk.fetch(both)  # type: ignore[arg-type]
        for to in both:
            fetch = await waiting(desk, both)
            await desk.send(to=to, text=f"to {to}")
            [message] = await soon(fetch)
            assert (message["mailbox"], texts([message])) == (to, [f"to {to}"])

    run(body, tmp_path, "box", "queue")


def test_a_dead_letter_wakes_who_waits_for_dead_letters(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch("box.dead")
        await desk.send(text="bad")
        [message] = await desk.fetch()
        fetch = await waiting(desk, "box.dead")
        await desk.settle(message, "reject")
        assert texts(await soon(fetch)) == ["bad"]

    run(body, tmp_path, "box", "box.dead")


def test_redriven_mail_wakes_who_waits(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="bad")
        [message] = await desk.fetch()
        await desk.settle(message, "reject")
        fetch = await waiting(desk)
        await desk.call("mailbox_redrive", mailbox="box.dead")
        assert texts(await soon(fetch)) == ["bad"]

    run(body, tmp_path, "box")


@pytest.mark.parametrize("how", ["ack", "reject", "delete", "replace"])
def test_what_unblocks_a_session_wakes_who_waits(tmp_path: Path, how: str) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="ordered", settings={"ordered_by": "session"})
        await desk.send("ordered", "one", session="s", state_key="k")
        await desk.send("ordered", "two", session="s")
        [held] = await desk.fetch("ordered", max=1)
        if how == "replace":
            await desk.settle(held, "nack", delay_s=600)
        fetch = await waiting(desk, "ordered")
        if how == "delete":
            await desk.call("mailbox_delete", mailbox="ordered", ids=[held["id"]])
        elif how == "replace":
            await desk.send("ordered", "another session", state_key="k", delay_s=1)
            await desk.pass_time(1)
        else:
            await desk.settle(held, how)
        assert "two" in texts(await soon(fetch))

    run(body, tmp_path)


def test_expiry_of_what_blocks_a_session_wakes_who_waits(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="ordered", settings={"ordered_by": "session"})
        await desk.send("ordered", "one", session="s", ttl_s=60)
        await desk.send("ordered", "two", session="s")
        [held] = await desk.fetch("ordered", max=1)
        await desk.settle(held, "nack", delay_s=600)
        fetch = await waiting(desk, "ordered")
        await desk.pass_time(60)
        assert texts(await soon(fetch)) == ["two"]

    run(body, tmp_path)


def test_a_reset_wakes_everybody_it_has_mail_for(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for number in range(4):
            await desk.send(text=str(number))
        for message in await desk.fetch():
            await desk.settle(message)
        fetches = [await waiting(desk, max=2) for _ in range(2)]
        await desk.call("group_reset", mailbox="box", group="default", to="earliest")
        got = [texts(await soon(fetch)) for fetch in fetches]
        assert sorted(got) == [["0", "1"], ["2", "3"]]

    run(body, tmp_path, "box")


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


def test_a_stopping_broker_answers_who_waits(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch()
        fetch = await waiting(desk)
        await desk.restart()
        assert await soon(fetch) == []

    run(body, tmp_path, "box")
