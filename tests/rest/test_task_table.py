"""Every state of a task and every event of the contract's table, over REST: it leads where it should, or is
refused with 409, ILLEGAL_TRANSITION and the allowed set, and changes nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from itertools import product
from typing import Any, NamedTuple, TypeVar

import pytest

from tests.rest.site import Site, served

T = TypeVar("T")
LEASE_S, TTL_S, TIMEOUT_S = 1000, 100, 300
OPEN = ("submitted", "working", "input-required", "auth-required")
OVER = ("completed", "failed", "canceled", "rejected")
STATES = (*OPEN, *OVER)
# What may follow, as the contract has it: written down here, not read from the code.
ALLOWED: dict[str, set[str]] = {
    "submitted": {*STATES} - {"submitted"},
    "working": {*STATES},
    "input-required": {"submitted", "failed", "canceled", "rejected"},
    "auth-required": {"submitted", "failed", "canceled", "rejected"},
    **{state: set() for state in OVER},
}
SAME = "same"  # accepted, and the task is as it was
ILLEGAL, LOST = "ILLEGAL_TRANSITION", "LEASE_LOST"
UPDATES = tuple(f"update {state}" for state in STATES)
UNDER_LEASE = {f"update {state}": state for state in STATES} | {
    "ack": ILLEGAL,
    "ack and reply": "completed",
    "extend": "working",
    "reject": "rejected",
}
WAITING = {
    **dict.fromkeys(UPDATES, ILLEGAL),
    **{f"update {state}": LOST for state in ("failed", "canceled", "rejected")},
    **{"ack": SAME, "ack and reply": LOST, "nack": LOST, "release": LOST, "extend": LOST, "reject": LOST},
    **{"lease": SAME, "lease expires": SAME, "cancel": "canceled", "message": "submitted"},
    **{"reply": "submitted", "delete": SAME, "replace": SAME, "expire": SAME},
    **{"timeout": "failed", "drop": "canceled"},
}
ENDED = {
    **dict.fromkeys(UPDATES, ILLEGAL),
    **{"ack": SAME, "ack and reply": LOST, "nack": LOST, "release": LOST, "extend": LOST, "reject": LOST},
    **{"lease": SAME, "lease expires": SAME, "cancel": ILLEGAL, "message": ILLEGAL},
    **{"reply": ILLEGAL, "word": ILLEGAL, "delete": SAME, "replace": SAME, "expire": SAME},
    **{"timeout": SAME, "drop": SAME},
}
EXPECTED: dict[str, dict[str, str]] = {
    # Its lease has run out, and nobody has another: the old one still settles.
    "submitted": {
        **UNDER_LEASE,
        **{"update submitted": ILLEGAL, "nack": SAME, "release": SAME, "lease": "working"},
        **{"lease expires": SAME, "cancel": "canceled", "message": "submitted", "reply": "submitted"},
        **{"word": "submitted", "delete": "canceled", "replace": "canceled", "expire": "failed"},
        **{"timeout": "failed", "drop": "canceled"},
    },
    "working": {
        **UNDER_LEASE,
        **{"update working": SAME, "nack": "submitted", "release": "submitted", "extend": SAME},
        **{"lease": SAME, "lease expires": "submitted", "cancel": "working", "message": "working"},
        **{"reply": "working", "word": "working", "delete": "canceled", "replace": SAME, "expire": SAME},
        **{"timeout": "failed", "drop": "canceled"},
    },
    "input-required": {**WAITING, "update input-required": SAME, "word": "input-required"},
    "auth-required": {**WAITING, "update auth-required": SAME, "word": "auth-required"},
    **{state: {**ENDED, f"update {state}": SAME} for state in OVER},
}


class Stand(NamedTuple):
    """A task, its first message, its mailbox, and the last lease on it."""

    task: str
    message: int
    mailbox: str
    lease: str


class Case:
    """The calls of one pair, over HTTP."""

    def __init__(self, site: Site, mailbox: str) -> None:
        self.site = site
        self.mailbox = mailbox

    async def ask(self, name: str, agent: str = "alice", **arguments: Any) -> tuple[int, Any]:
        """Status and body."""
        answer = await self.site.post(name, json.dumps(arguments).encode(), agent)
        return answer.status_code, answer.json()

    async def call(self, name: str, agent: str = "alice", **arguments: Any) -> Any:
        """The reply of a call that must succeed."""
        return await self.site.call(name, agent, **arguments)

    async def stand(self, at: str, event: str) -> Stand:
        """A task that stands in ``at``; one that may run out does so only where that is the event."""
        await self.call("mailbox_create", address=self.mailbox, settings={"backoff_first_s": 0})
        options: dict[str, Any] = {"task": {"timeout_s": TIMEOUT_S} if event == "timeout" else True}
        if event == "expire":
            options["ttl_s"] = TTL_S
        if event == "replace":
            options["state_key"] = "k"
        sent = await self.call("mailbox_send", to=self.mailbox, text="work", **options)
        task, message = sent["receipts"][0]["task"], sent["receipts"][0]["id"]
        fetch = {"mailbox": self.mailbox, "lease_s": 1 if at == "submitted" else LEASE_S}
        [work] = (await self.call("mailbox_fetch", "bob", **fetch))["messages"]
        if at == "submitted":
            await self.site.desk.pass_time(1)
        elif at != "working":
            await self.call("task_update", "bob", task=task, lease=work["lease"], state=at)
        return Stand(task, message, self.mailbox, work["lease"])

    async def look(self, task: str) -> Any:
        """The task; its version is the number of the last entry of its history."""
        return (await self.call("task_get", task=task))["task"]


Event = Callable[[Case, Stand], Awaitable[tuple[int, Any]]]


def _update(state: str) -> Event:
    return lambda case, at: case.ask("task_update", "bob", task=at.task, lease=at.lease, state=state)


def _settle(outcome: str, **fields: Any) -> Event:
    async def settle(case: Case, at: Stand) -> tuple[int, Any]:
        """One item answers for itself; it is brought into the shape of a refusal."""
        item = {"lease": at.lease, "outcome": outcome, **fields}
        status, reply = await case.ask("mailbox_ack", "bob", items=[item])
        assert status == 200
        [result] = reply["results"]
        return (200, result) if result["ok"] else (409, result)

    return settle


async def _ack_and_reply(case: Case, at: Stand) -> tuple[int, Any]:
    reply = {"in_reply_to": at.message, "to": "alice", "text": "done"}
    return await case.ask("mailbox_ack", "bob", items=[{"lease": at.lease}], send=reply)


def _time(seconds: float) -> Event:
    async def wait(case: Case, _at: Stand) -> tuple[int, Any]:
        await case.site.desk.pass_time(seconds)
        return 200, {}

    return wait


EVENTS: dict[str, Event] = {
    **{f"update {state}": _update(state) for state in STATES},
    "ack": _settle("ack"),
    "nack": _settle("nack", delay_s=0),
    "release": _settle("release"),
    "extend": _settle("extend", lease_s=LEASE_S),
    "reject": _settle("reject", reason="bad"),
    "ack and reply": _ack_and_reply,
    "lease": lambda case, at: case.ask("mailbox_fetch", "carol", mailbox=at.mailbox, lease_s=LEASE_S),
    "lease expires": _time(LEASE_S),
    "cancel": lambda case, at: case.ask("task_cancel", task=at.task, reason="rain"),
    "message": lambda case, at: case.ask("mailbox_send", task=at.task, text="a word"),
    "reply": lambda case, at: case.ask("mailbox_send", in_reply_to=at.message, to=at.mailbox, text="a word"),
    "word": lambda case, at: case.ask("mailbox_send", "bob", in_reply_to=at.message, to="alice", text="hm"),
    "delete": lambda case, at: case.ask("mailbox_delete", mailbox=at.mailbox, ids=[at.message]),
    "replace": lambda case, at: case.ask("mailbox_send", to=at.mailbox, text="newer", state_key="k"),
    "expire": _time(TTL_S),
    "timeout": _time(TIMEOUT_S),
    "drop": lambda case, at: case.ask("mailbox_drop", address=at.mailbox),
}
PAIRS = list(product(STATES, EVENTS))


class Table:
    """One broker for all pairs, and the loop that it lives on."""

    def __init__(self, runner: asyncio.Runner, site: Site) -> None:
        self.runner = runner
        self.site = site

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run on the loop of the broker."""
        return self.runner.run(asyncio.wait_for(work, 60))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    """A served broker."""
    stack = AsyncExitStack()
    with asyncio.Runner() as runner:
        site = runner.run(stack.enter_async_context(served(tmp_path_factory.mktemp("table"), "alice")))
        try:
            yield Table(runner, site)
        finally:
            runner.run(stack.aclose())


def test_the_table_has_every_pair() -> None:
    assert {*EXPECTED} == {*STATES}
    for state in STATES:
        assert {*EXPECTED[state]} == {*EVENTS}, state


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=[f"{state}-{event}" for state, event in PAIRS])
def test_every_event_in_every_state(table: Table, state: str, event: str) -> None:
    table.run(_pair(table.site, state, event))


async def _pair(site: Site, state: str, event: str) -> None:
    case = Case(site, f"{state}-{event}".replace(" ", "-"))
    at = await case.stand(state, event)
    before = await case.look(at.task)
    assert before["state"] == state
    status, body = await EVENTS[event](case, at)
    after = await case.look(at.task)
    expected = EXPECTED[state][event]
    if expected in (ILLEGAL, LOST):
        assert status == 409, body
        error = body["error"]
        assert error["code"] == expected
        if expected == ILLEGAL:
            assert set(error["details"]["allowed"]) == ALLOWED[state]
            assert (error["message"], error["hint"]) != ("", "")
        assert after == before
        return
    assert status == 200, body
    if expected == SAME:
        after["updated_at"] = before["updated_at"]
        assert after == before
        return
    assert (after["state"], after["version"] > before["version"]) == (expected, True)
    assert expected in ALLOWED[state] or expected == state
    assert after["cancel_requested"] == (event == "cancel" and state == "working")
