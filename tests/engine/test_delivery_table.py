"""The table of delivery: every pair of state and step, and that the broker keeps to it."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.domain.delivery import FINAL, TABLE, DeliveryState, Step, allowed, next_state
from mq9_mcp.domain.errors import Refused
from tests.support import Desk, Reply, run

PAIRS = list(product(DeliveryState, Step))
# What each state allows, written down a second time on purpose: a change of the table must be meant.
EXPECTED: dict[str, dict[str, str]] = {
    "delayed": {"become_due": "waiting"},
    "waiting": {
        **{"lease": "leased", "expire": "expired", "withdraw": "withdrawn"},
        **{"ack": "acked", "nack": "backoff", "release": "waiting", "extend": "leased", "reject": "dead"},
    },
    "leased": {
        **{"ack": "acked", "nack": "backoff", "release": "waiting", "extend": "leased", "reject": "dead"},
        **{"lapse": "waiting", "exhaust": "dead", "expire": "expired", "withdraw": "withdrawn"},
    },
    "backoff": {
        **{"backoff_over": "waiting", "expire": "expired", "withdraw": "withdrawn"},
        **{"ack": "acked", "nack": "backoff", "release": "waiting", "extend": "leased", "reject": "dead"},
    },
    "acked": {},
    "dead": {},
    "expired": {},
    "withdrawn": {},
}


@pytest.mark.parametrize(("state", "step"), PAIRS, ids=[f"{state}-{step}" for state, step in PAIRS])
def test_every_pair_leads_where_it_should_or_is_refused(state: DeliveryState, step: Step) -> None:
    after = EXPECTED[state].get(step)
    if after is not None:
        assert next_state(state, step) == after
        return
    with pytest.raises(Refused) as caught:
        next_state(state, step)
    assert caught.value.code == "ILLEGAL_TRANSITION"
    assert sorted(caught.value.details["allowed"]) == sorted(EXPECTED[state])


def test_the_table_has_nothing_else() -> None:
    assert {(str(state), str(step)): str(after) for (state, step), after in TABLE.items()} == {
        (state, step): after for state, steps in EXPECTED.items() for step, after in steps.items()
    }


def test_final_states_allow_nothing_and_all_others_something() -> None:
    assert {state for state in DeliveryState if not allowed(state)} == FINAL


async def stand(desk: Desk, at: str) -> Reply:
    """A message that stands in ``at``, with the token of its last lease if there was one."""
    await desk.fetch(tags_any=["none"])
    times: dict[str, dict[str, Any]] = {"expired": {"ttl_s": 40}, "delayed": {"delay_s": 50}}
    await desk.send(state_key="k", **times.get(at, {}))
    if at == "delayed":
        return {"lease": "1.1.none"}
    [message] = await desk.fetch(lease_s=30)
    outcome = {"acked": "ack", "dead": "reject", "backoff": "nack"}.get(at)
    if outcome == "nack":
        await desk.settle(message, outcome, delay_s=60)
    elif outcome is not None:
        await desk.settle(message, outcome)
    elif at == "withdrawn":
        await desk.settle(message, "nack", delay_s=60)
        await desk.send(state_key="k", delay_s=1)
        await desk.pass_time(1)
    elif at == "waiting":
        await desk.pass_time(30)
    elif at == "expired":
        await desk.settle(message, "nack", delay_s=60)
        await desk.pass_time(40)
    return message


async def state_of(desk: Desk) -> str:
    """Where the first message of the mailbox stands in ``default``."""
    standing: str = (await desk.query(limit=1))[0]["deliveries"][0]["state"]
    return standing


SETTLING = ("ack", "nack", "release", "extend", "reject")
REPEATED = {("acked", "ack"), ("dead", "reject"), ("backoff", "nack")}


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("step", SETTLING)
@pytest.mark.parametrize("at", EXPECTED)
def test_the_broker_settles_as_the_table_says(tmp_path: Path, at: str, step: str, restart: bool) -> None:
    """A step that the table has not is LEASE_LOST to a worker; a repeat of what was done succeeds.

    The backoff here is that of a nack, which ended the lease.
    """

    async def body(desk: Desk) -> None:
        message = await stand(desk, at)
        assert await state_of(desk) == at
        if restart:
            await desk.restart()
        result = await desk.settle(message, step)
        after = EXPECTED[at].get(step) if at != "backoff" else None
        if after is not None:
            assert result["ok"]
            assert await state_of(desk) == after
            return
        assert await state_of(desk) == at
        assert result["ok"] == ((at, step) in REPEATED)
        assert result["ok"] or result["error"]["code"] == "LEASE_LOST"

    run(body, tmp_path, "box")


@pytest.mark.parametrize("at", EXPECTED)
def test_the_broker_leases_only_what_waits(tmp_path: Path, at: str) -> None:
    async def body(desk: Desk) -> None:
        await stand(desk, at)
        first = (await desk.query(limit=1))[0]["id"]
        ids = [message["id"] for message in await desk.fetch()]
        assert (first in ids) == ("lease" in EXPECTED[at])

    run(body, tmp_path, "box")


@pytest.mark.parametrize("at", EXPECTED)
def test_time_moves_what_the_table_lets_it_move(tmp_path: Path, at: str) -> None:
    async def body(desk: Desk) -> None:
        await stand(desk, at)
        await desk.pass_time(60)
        moved = {"delayed": "waiting", "leased": "waiting", "backoff": "waiting"}
        assert await state_of(desk) == moved.get(at, at)

    run(body, tmp_path, "box")


@pytest.mark.parametrize("at", EXPECTED)
def test_a_newer_copy_withdraws_what_the_table_lets_it_withdraw(tmp_path: Path, at: str) -> None:
    """A leased message is withdrawn when its lease ends; the final states stay what they are."""

    async def body(desk: Desk) -> None:
        message = await stand(desk, at)
        await desk.send(state_key="k")
        if at == "leased":
            assert await state_of(desk) == "leased"
            await desk.settle(message, "release")
        expected = "withdrawn" if "withdraw" in EXPECTED[at] else at
        assert await state_of(desk) == expected

    run(body, tmp_path, "box")
