"""mailbox_ack: every outcome, fenced and repeatable; items are independent of each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import Desk, Reply, run, texts

OUTCOMES = ("ack", "nack", "release", "extend", "reject")


async def leased(desk: Desk, mailbox: str = "box", **arguments: Any) -> Reply:
    """A message sent and leased by bob for 100 s."""
    await desk.send(mailbox)
    [message] = await desk.fetch(mailbox, lease_s=100, max=1, **arguments)
    return message


async def state(desk: Desk, message: Reply, mailbox: str = "box") -> str:
    """Where the message stands in the group default."""
    [found] = await desk.query(mailbox, ids=[message["id"]])
    standing: str = found["deliveries"][0]["state"]
    return standing


def lost(result: Reply) -> Reply:
    """The details of a result that must be LEASE_LOST."""
    assert (result["ok"], result["error"]["code"]) == (False, "LEASE_LOST")
    details: Reply = result["error"].get("details", {})
    return details


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    ("outcome", "after"),
    [("ack", "acked"), ("nack", "backoff"), ("release", "waiting"), ("extend", "leased"), ("reject", "dead")],
)
def test_each_outcome_leads_to_its_state(tmp_path: Path, outcome: str, after: str, restart: bool) -> None:
    async def body(desk: Desk) -> None:
        message = await leased(desk)
        result = await desk.settle(message, outcome)
        if restart:
            await desk.restart()
        assert (result["id"], result["outcome"], result["ok"]) == (message["id"], outcome, True)
        assert await state(desk, message) == after

    run(body, tmp_path, "box")


def test_ack_is_the_default_outcome(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        message = await leased(desk)
        reply = await desk.call("mailbox_ack", "bob", items=[{"lease": message["lease"]}])
        assert reply == {"results": [{"id": message["id"], "outcome": "ack", "ok": True}]}

    run(body, tmp_path, "box")


def test_an_ack_settles_for_its_group_only(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        message = await leased(desk)
        await desk.fetch(group="other", lease_s=1)
        await desk.settle(message)
        await desk.pass_time(1)
        assert len(await desk.fetch(group="other")) == 1
        assert await desk.fetch() == []

    run(body, tmp_path, "box")


def test_nack_waits_the_backoff_doubling_to_its_most_with_jitter(tmp_path: Path) -> None:
    """1 s, 2 s, 4 s ... up to 5 min; up to a fifth more by chance."""

    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="patient", settings={"max_attempts": 0})
        await desk.send("patient")
        for attempt in range(1, 12):
            [message] = await desk.fetch("patient")
            assert message["attempt"] == attempt
            await desk.settle(message, "nack")
            wait = min(300, 2 ** (attempt - 1))
            await desk.pass_time(wait - 0.001)
            assert await desk.fetch("patient") == []
            await desk.restart()
            await desk.pass_time(0.001 + min(wait * 0.2, 300 - wait))
            assert await state(desk, message, "patient") == "waiting"

    run(body, tmp_path)


def test_the_jitter_differs(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for _ in range(20):
            await desk.send()
        for message in await desk.fetch(max=20):
            await desk.settle(message, "nack")
        seen = []
        for _ in range(20):
            await desk.pass_time(0.02)
            seen.append(len(await desk.query(state="waiting")))
        await desk.pass_time(0.6)
        assert not any(seen)
        back = [len(await desk.query(state="waiting", limit=100))]
        for _ in range(10):
            await desk.pass_time(0.02)
            back.append(len(await desk.query(state="waiting", limit=100)))
        assert back[-1] == 20
        assert len(set(back)) > 2

    run(body, tmp_path, "box")


def test_a_mailbox_has_its_own_backoff(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        settings = {"backoff_first_s": 10, "backoff_max_s": 15}
        await desk.call("mailbox_create", address="slow", settings=settings)
        message = await leased(desk, "slow")
        await desk.settle(message, "nack")
        await desk.pass_time(9.999)
        assert await desk.fetch("slow") == []
        await desk.pass_time(2.001)
        [message] = await desk.fetch("slow")
        await desk.settle(message, "nack")
        await desk.pass_time(14.999)
        assert await desk.fetch("slow") == []
        await desk.pass_time(0.001)
        assert len(await desk.fetch("slow")) == 1

    run(body, tmp_path)


@pytest.mark.parametrize("delay_s", [0, 0.5, 7, 43_200])
def test_nack_waits_delay_s_where_it_is_given(tmp_path: Path, delay_s: float) -> None:
    async def body(desk: Desk) -> None:
        message = await leased(desk)
        await desk.settle(message, "nack", delay_s=delay_s, reason="not now")
        if delay_s:
            await desk.pass_time(delay_s - 0.001)
            assert await desk.fetch() == []
        await desk.pass_time(0.001)
        [again] = await desk.fetch()
        assert again["attempt"] == 2

    run(body, tmp_path, "box")


def test_release_gives_back_at_once_and_counts_no_attempt(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for _ in range(10):  # far beyond max_attempts
            [message] = await desk.fetch(lease_s=100) or [await leased(desk)]
            assert message["attempt"] == 1
            await desk.settle(message, "release")

    run(body, tmp_path, "box")


def test_extend_is_a_heartbeat_without_a_cap_in_all(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        message = await leased(desk)
        assert (await desk.settle(message, "extend", lease_s=43_200))["ok"]
        for _ in range(30):
            await desk.pass_time(43_199)
            await desk.restart()
            assert (await desk.settle(message, "extend", lease_s=43_200))["ok"]
            assert await desk.fetch() == []
        await desk.pass_time(43_200)
        [again] = await desk.fetch()
        assert again["attempt"] == 2

    run(body, tmp_path, "box")


def test_extend_counts_from_now_and_says_until_when(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        message = await leased(desk)
        await desk.pass_time(50)
        shorter = await desk.settle(message, "extend", lease_s=10)
        assert shorter["leased_until"] == "2027-01-15T08:01:00.000Z"
        usual = await desk.settle(message, "extend")
        assert usual["leased_until"] == "2027-01-15T08:05:50.000Z"
        await desk.settle(message, "extend", lease_s=10)
        await desk.pass_time(10)
        assert len(await desk.fetch()) == 1  # an extend may shorten, too

    run(body, tmp_path, "box")


def test_reject_goes_straight_to_the_dead_letters(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        message = await leased(desk)
        await desk.settle(message, "reject", reason="malformed", description="no total")
        assert await desk.fetch() == []
        [letter] = await desk.fetch("box.dead")
        assert letter["dead_letter"]["reason"] == "malformed"
        assert letter["dead_letter"]["description"] == "no total"

    run(body, tmp_path, "box")


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_token_whose_message_was_leased_again_is_lost_with_the_current_attempt(
    tmp_path: Path, outcome: str
) -> None:
    async def body(desk: Desk) -> None:
        old = await leased(desk)
        await desk.pass_time(100)
        [new] = await desk.fetch(agent="carol")
        await desk.restart()
        assert lost(await desk.settle(old, outcome))["attempt"] == 2
        assert await state(desk, old) == "leased"
        assert (await desk.settle(new, agent="carol"))["ok"]
        assert lost(await desk.settle(old, outcome))["attempt"] == 2  # and after it was settled, too

    run(body, tmp_path, "box")


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    ("outcome", "after", "attempts"),
    [("ack", "acked", 2), ("nack", "backoff", 2), ("release", "waiting", 2), ("reject", "dead", 1)],
)
def test_an_expired_token_that_nobody_replaced_still_settles(
    tmp_path: Path, outcome: str, after: str, attempts: int, restart: bool
) -> None:
    """Its attempt was counted when it ran out, and is not counted twice."""

    async def body(desk: Desk) -> None:
        message = await leased(desk)
        await desk.pass_time(100)
        if restart:
            await desk.restart()
        assert (await desk.settle(message, outcome))["ok"]
        [found] = await desk.query()
        assert found["deliveries"][0] | {"worker": "bob"} == {
            **{"group": "default", "state": after, "attempt": attempts, "worker": "bob"}
        }

    run(body, tmp_path, "box")


def test_a_late_extend_takes_the_message_back(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        message = await leased(desk)
        await desk.pass_time(100)
        assert (await desk.settle(message, "extend", lease_s=60))["ok"]
        await desk.restart()
        assert await desk.fetch() == []
        assert (await desk.settle(message))["ok"]

    run(body, tmp_path, "box")


def test_another_principals_token_is_lost(tmp_path: Path) -> None:
    """The message stays leased; the same token in the right hands still settles."""

    async def body(desk: Desk) -> None:
        message = await leased(desk)
        for outcome in OUTCOMES:
            item = {"lease": message["lease"], "outcome": outcome}
            reply = await desk.call("mailbox_ack", "bob", principal="eve", items=[item])
            lost(reply["results"][0])
        assert (await desk.settle(message))["ok"]
        reply = await desk.call("mailbox_ack", "bob", principal="eve", items=[{"lease": message["lease"]}])
        lost(reply["results"][0])

    run(body, tmp_path, "box")


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("outcome", ["ack", "nack", "release", "reject"])
def test_repeating_an_outcome_succeeds_and_another_is_lost_naming_the_one_that_stands(
    tmp_path: Path, outcome: str, restart: bool
) -> None:
    async def body(desk: Desk) -> None:
        message = await leased(desk)
        first = await desk.settle(message, outcome)
        if restart:
            await desk.restart()
        assert await desk.settle(message, outcome) == first
        for other in OUTCOMES:
            if other != outcome:
                assert lost(await desk.settle(message, other))["stands"] == outcome
        assert len(await desk.query("box.dead") if outcome == "reject" else [1]) == 1

    run(body, tmp_path, "box")


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("outcome", ["nack", "release"])
def test_an_outcome_is_remembered_while_others_hold_the_message(
    tmp_path: Path, outcome: str, restart: bool
) -> None:
    async def body(desk: Desk) -> None:
        message = await leased(desk)
        await desk.settle(message, outcome)
        await desk.pass_time(2)
        assert len(await desk.fetch(agent="carol")) == 1
        if restart:
            await desk.restart()
        assert (await desk.settle(message, outcome))["ok"]
        assert lost(await desk.settle(message))["stands"] == outcome
        assert await state(desk, message) == "leased"

    run(body, tmp_path, "box")


def test_items_are_independent_each_with_its_own_result(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for _ in range(6):
            await desk.send()
        messages = await desk.fetch()
        items = [
            {"lease": message["lease"], "outcome": outcome}
            for message, outcome in zip(messages, OUTCOMES, strict=False)
        ]
        items.insert(2, {"lease": "nonsense"})
        results = (await desk.call("mailbox_ack", "bob", items=items))["results"]
        assert [result["ok"] for result in results] == [True, True, False, True, True, True]
        assert [result.get("id") for result in results] == [
            *(messages[0]["id"], messages[1]["id"], None),
            *(messages[2]["id"], messages[3]["id"], messages[4]["id"]),
        ]
        states = [await state(desk, message) for message in messages]
        assert states == ["acked", "backoff", "waiting", "leased", "dead", "leased"]

    run(body, tmp_path, "box")


def test_the_same_lease_twice_in_one_call(tmp_path: Path) -> None:
    """With the same outcome it succeeds, with another it is lost; the first one stands."""

    async def body(desk: Desk) -> None:
        message = await leased(desk)
        lease = message["lease"]
        items = [{"lease": lease}, {"lease": lease}, {"lease": lease, "outcome": "nack"}]
        results = (await desk.call("mailbox_ack", "bob", items=items))["results"]
        assert [result["ok"] for result in results] == [True, True, False]
        lost(results[2])
        assert await state(desk, message) == "acked"

    run(body, tmp_path, "box")


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ({"outcome": "done"}, "outcome"),
        ({"outcome": "ack", "reason": "x"}, "reason"),
        ({"outcome": "release", "delay_s": 1}, "delay_s"),
        ({"outcome": "nack", "delay_s": 43_201}, "delay_s"),
        ({"outcome": "nack", "lease_s": 5}, "lease_s"),
        ({"outcome": "extend", "lease_s": 0}, "lease_s"),
        ({"outcome": "reject", "delay_s": 1}, "delay_s"),
        ({"outcome": "ack", "colour": 1}, "colour"),
    ],
)
def test_an_argument_an_outcome_has_no_use_for_is_refused(
    tmp_path: Path, item: dict[str, Any], name: str
) -> None:
    """The whole call: nothing in it is settled."""

    async def body(desk: Desk) -> None:
        message = await leased(desk)
        items = [{"lease": message["lease"]}, {"lease": message["lease"], **item}]
        error = await desk.refused("INVALID_ARGUMENT", "mailbox_ack", "bob", items=items)
        assert name in error.message
        assert await state(desk, message) == "leased"

    run(body, tmp_path, "box")


def test_one_call_settles_in_several_mailboxes_and_groups(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send("box", "one")
        await desk.send("queue", "two")
        held = [*await desk.fetch("box"), *await desk.fetch("box", group="g"), *await desk.fetch("queue")]
        reply = await desk.call("mailbox_ack", "bob", items=[{"lease": one["lease"]} for one in held])
        assert [result["ok"] for result in reply["results"]] == [True] * 3
        await desk.restart()
        for mailbox in ("box", "queue"):
            [message] = await desk.query(mailbox)
            assert {one["state"] for one in message["deliveries"]} == {"acked"}
        assert texts(await desk.fetch("box", group="new")) == ["one"]

    run(body, tmp_path, "box", "queue")
