"""Waiting fetches: woken at once by whatever makes mail free, and nobody's mail is lost on the way."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.engine.waiting import give_up, soon, turns, waiting
from tests.support import Desk, run, texts


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
        async with asyncio.timeout(10):
            await asyncio.wait(fetches, return_when=asyncio.FIRST_COMPLETED)
        await turns(200)  # whoever else was woken would have it by now
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


def test_a_stopping_broker_answers_who_waits(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch()
        fetch = await waiting(desk)
        await desk.restart()
        assert await soon(fetch) == []

    run(body, tmp_path, "box")
