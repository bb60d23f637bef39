"""Agents learn from their tasks: what ended well finds them in other words, and nobody can make them lie."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.outcome import Outcome, counts, learnt_requests, standing
from mq9_mcp.routing.index import NEWS_SHARE, AgentIndex
from tests.engine.cards import Card, short, skill
from tests.routing.meaning import OFFICE, Bag, MeaningDesk, register

Body = Callable[[MeaningDesk], Coroutine[Any, Any, None]]
CARDS: dict[str, Card] = {
    "ledger": short(
        "Ledger", skill("Books", description="Keeps the books of the shop, the money in and out.")
    ),
    "weather": OFFICE["weather"],
    "parcels": OFFICE["parcels"],
}
WORK = [f"bill {n} of the florist: put it into the books" for n in range(8)]
OTHER_WORDS = "another florist bill to write down"


def run(body: Body, folder: Path, engine: Any = None) -> None:
    """Run a test on a desk that understands."""

    async def whole() -> None:
        async with asyncio.timeout(60):
            desk = MeaningDesk(folder)
            desk.engine_of_meaning = engine
            await desk.open()
            try:
                await body(desk)
            finally:
                await desk.broker.close()

    asyncio.run(whole())


async def done(
    desk: MeaningDesk, agent: str, text: str, asker: str = "alice", state: str = "completed", took_s: int = 1
) -> None:
    """A task that ended."""
    [receipt] = (await desk.call("mailbox_send", asker, to=agent, text=text, task=True))["receipts"]
    work = (await desk.call("mailbox_fetch", agent))["messages"][-1]
    desk.time.now += took_s * 1000
    await desk.call("task_update", agent, task=receipt["task"], lease=work["lease"], state=state)


async def learn(desk: MeaningDesk) -> None:
    """Return when all that ended is known."""
    await desk.broker.agents.follow()
    await desk.broker.agents.learning.look(())
    await desk.broker.agents.index.settled()


async def scores(desk: MeaningDesk, text: str) -> dict[str, float]:
    """How well each agent fits."""
    found = await desk.broker.agents.index.rank(text)
    return {name: one.score for name, one in found.items()}


def test_requests_that_ended_well_find_the_agent_in_other_words(tmp_path: Path) -> None:
    async def body(desk: MeaningDesk) -> None:
        await register(desk, CARDS)
        await desk.settle_index()
        before = await scores(desk, OTHER_WORDS)
        for text in WORK:
            await done(desk, "ledger", text)
        await learn(desk)
        after = await scores(desk, OTHER_WORDS)
        assert after["ledger"] > before["ledger"] + 0.1
        receipt = await desk.intent(OTHER_WORDS)
        assert receipt["mailbox"] == "ledger"
        assert "(8 examples)" in receipt["routed"]["reason"]
        shown = await desk.call("agent_discover", text=OTHER_WORDS)
        assert "florist" not in str(shown), "what others asked is for nobody to see"
        await desk.restart()
        await desk.settle_index()
        assert await scores(desk, OTHER_WORDS) == after, "a restart forgets nothing"
        card = short("Ledger", skill("Books", description="Keeps the books and the money."))
        await desk.call("agent_register", name="ledger", card=card)
        await desk.settle_index()
        assert "8 examples" in (await desk.broker.agents.index.rank(OTHER_WORDS))["ledger"].reason

    run(body, tmp_path)


@pytest.mark.parametrize("state", ["failed", "rejected", "canceled"])
def test_what_did_not_end_well_teaches_nothing(tmp_path: Path, state: str) -> None:
    async def body(desk: MeaningDesk) -> None:
        await register(desk, CARDS)
        await desk.settle_index()
        before = await scores(desk, OTHER_WORDS)
        await done(desk, "ledger", WORK[0], state=state)
        await learn(desk)
        assert await scores(desk, OTHER_WORDS) == before

    run(body, tmp_path, Bag())


def test_a_task_that_ends_is_learnt_without_being_asked_for(tmp_path: Path) -> None:
    async def body(desk: MeaningDesk) -> None:
        await register(desk, CARDS)
        await desk.settle_index()
        await done(desk, "ledger", WORK[0])
        looking = desk.broker.agents._learning_soon
        assert looking is not None
        await looking
        assert desk.broker.agents.learning.standing["ledger"].completed == 1

    run(body, tmp_path, Bag())


def test_only_the_latest_ended_tasks_of_an_agent_count(tmp_path: Path) -> None:
    most, alone = limit("outcomes_max"), limit("learnt_asker_requests_max")

    async def body(desk: MeaningDesk) -> None:
        await register(desk, CARDS)
        for number in range(most + alone):
            await done(desk, "ledger", f"bill {number}", asker=f"asker{number // alone}")
        found = (await desk.broker.engine.outcomes(0, ["ledger"])).of
        assert len(found) == most
        assert {one.text for one in found} == {f"bill {number}" for number in range(alone, most + alone)}

    run(body, tmp_path)


def test_an_asker_of_much_takes_no_room_from_others(tmp_path: Path) -> None:
    most = limit("outcomes_max")

    async def body(desk: MeaningDesk) -> None:
        await register(desk, CARDS)
        for number in range(3):
            await done(desk, "ledger", f"old bill {number}", asker="bob")
        for number in range(most):
            await done(desk, "ledger", f"bill {number}")
        found = (await desk.broker.engine.outcomes(0, ["ledger"])).of
        asked = [one.text for one in found]
        assert asked[:-3] == [f"bill {number}" for number in reversed(range(3, most))]
        assert asked[-3:] == ["old bill 2", "old bill 1", "old bill 0"], "they outlast a hundred newer ones"
        assert len(learnt_requests(found)) == limit("learnt_requests_max")

    run(body, tmp_path)


def test_what_is_far_from_the_card_teaches_nothing(tmp_path: Path) -> None:
    """An accomplice gives the weather's agent other people's work; its card does not speak of it."""

    async def body(desk: MeaningDesk) -> None:
        await register(desk, CARDS)
        await desk.settle_index()
        before = await scores(desk, "keep the books of the shop")
        for number in range(6):
            await done(desk, "weather", f"keep the accounting books of shop {number}", asker="friend")
        await learn(desk)
        after = await scores(desk, "keep the books of the shop")
        assert after["weather"] - before["weather"] < 0.02
        assert max(after, key=lambda name: after[name]) == "ledger"

    run(body, tmp_path)


def test_a_new_agent_of_that_name_has_learnt_nothing(tmp_path: Path) -> None:
    async def body(desk: MeaningDesk) -> None:
        await register(desk, CARDS)
        await done(desk, "ledger", WORK[0])
        await learn(desk)
        known = await scores(desk, OTHER_WORDS)
        await desk.call("mailbox_drop", "ledger", address="ledger")
        await learn(desk)
        await register(desk, {"ledger": CARDS["ledger"]})
        await learn(desk)
        assert (await scores(desk, OTHER_WORDS))["ledger"] < known["ledger"]
        assert "ledger" not in desk.broker.agents.learning.standing

    run(body, tmp_path)


def test_success_and_pace_decide_among_near_equals(tmp_path: Path) -> None:
    async def body(desk: MeaningDesk) -> None:
        twins = {name: short("Twin", skill("Books", description="Keeps books.")) for name in ("a", "b", "c")}
        await register(desk, twins)
        await desk.settle_index()
        asked = "keeps books"
        assert (await desk.intent(asked))["mailbox"] == "a"
        for name, took_s in (("b", 60), ("c", 2)):
            for number in range(2):
                await done(desk, name, f"{'xyz' * 9} {number}", took_s=took_s)
        await done(desk, "a", "0", state="failed")
        await learn(desk)
        routed = (await desk.intent(asked))["routed"]
        assert routed["agent"] == "c"
        assert "chosen for being available, 2 of 2 tasks done in 2.0 s" in routed["reason"]
        lost = {one["agent"]: one["reason"] for one in routed["candidates"]}
        assert "nearly the same, but available, 2 of 2 tasks done in 60.0 s" in lost["b"]
        assert "nearly the same, but available, 0 of 1 tasks done" in lost["a"]
        await desk.call("agent_report", "c", name="c", status="busy")
        assert (await desk.intent(asked))["mailbox"] == "b", "status counts before"

    run(body, tmp_path, Bag())


def outcome(text: str, **more: Any) -> Outcome:
    """An outcome that counts, changed by ``more``."""
    plain = Outcome("ledger", "alice", "local", "local", False, True, 1000, text)
    return plain._replace(**more)


def test_memory_is_bounded_and_no_asker_fills_it() -> None:
    alone, most = limit("learnt_asker_requests_max"), limit("learnt_requests_max")
    flood = [outcome(f"flood {n}", asker="mallory") for n in range(200)]
    mixed = [outcome(f"work {n}", asker=f"asker{n % 8}") for n in range(most)]
    assert learnt_requests(flood) == [f"flood {n}" for n in range(most)], "nobody else wants the room"
    learnt = learnt_requests([*flood, *mixed])
    assert len(learnt) == most
    assert sum(text.startswith("flood") for text in learnt) == alone
    many = [outcome(f"flood {n}", asker=f"face{n}", principal="acme", verified=True) for n in range(200)]
    others = [outcome(f"work {n}", asker="bob") for n in range(10)]
    learnt = learnt_requests([*many, *others])
    assert learnt[alone : alone + 10] == [one.text for one in others], (
        "many agents of a principal are one asker"
    )
    assert len(learnt) == most
    assert learnt_requests([outcome("One  thing"), outcome("one thing "), outcome(" \n")]) == ["One thing"]
    assert len(learnt_requests([outcome("x" * 9999)])[0]) == limit("learnt_request_characters_max")


def test_many_requests_are_learnt_anew_once_enough_of_them_is_new() -> None:
    index = AgentIndex()
    card = {**CARDS["ledger"], "skills": [{**one, "id": "books"} for one in CARDS["ledger"]["skills"]]}
    index.follow(object(), {"ledger": msgspec.json.encode(card).decode()})
    few = [f"bill {n}" for n in range(NEWS_SHARE - 1)]
    for more in range(1, NEWS_SHARE):
        index.learn("ledger", few[:more])
        assert index.learnt["ledger"] == tuple(few[:more]), "few count one by one"
    many = [f"bill {n}" for n in range(3 * NEWS_SHARE)]
    index.learn("ledger", many)
    for new, learnt in ((0, False), (3, False), (4, True)):
        index.learn("ledger", [*[f"new {n}" for n in range(new)], *many][: len(many)])
        assert ("new 0" in index.learnt["ledger"]) is learnt
    index.learn("ledger", many[:40])
    assert index.learnt["ledger"] == tuple(many[:40]), "what is gone is forgotten at once"
    index.learn("ledger", [])
    assert index.learnt["ledger"] == ()


def test_strangers_and_the_agent_itself_do_not_count() -> None:
    assert counts(outcome("x"))
    assert not counts(outcome("x", asker="ledger"))
    assert not counts(outcome("x", principal="stranger"))
    assert counts(outcome("x", principal="acme", verified=True))
    assert not counts(outcome("x", principal="acme", owner="acme", verified=True)), (
        "it may be a friend of itself"
    )


def test_standing_is_the_share_and_the_median() -> None:
    done = [outcome("x", took_ms=took) for took in (1, 1000, 5000)]
    failed = [outcome("x", completed=False, took_ms=9)]
    assert standing([*done, *failed])[:] == (3, 1, 1000)
    assert standing([]).success == 0.5
    friend = [outcome(f"{n}", asker="friend") for n in range(90)]
    assert standing([*friend, *failed]).completed == limit("learnt_asker_requests_max"), "few of a friend"
