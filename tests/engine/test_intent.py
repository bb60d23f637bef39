"""Sending by intent: the agent that fits gets the message, the receipt says why, nobody is guessed at."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.broker.broker import start_broker
from mq9_mcp.domain.errors import Refused
from mq9_mcp.engine.embedded.engine import open_engine
from mq9_mcp.routing.seam import Model
from tests.engine.cards import short, skill
from tests.routing.meaning import OFFICE, Bag, MeaningDesk, register
from tests.support import Reply, texts

Body = Callable[[MeaningDesk], Coroutine[Any, Any, None]]
RAIN = "do I need an umbrella tomorrow"


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


def test_the_agent_that_fits_gets_the_message_and_the_receipt_says_why(tmp_path: Path) -> None:
    async def body(desk: MeaningDesk) -> None:
        await register(desk, OFFICE)
        await desk.settle_index()
        receipt = await desk.intent(RAIN, text="umbrella?", task=True)
        assert receipt["mailbox"] == "weather"
        assert receipt["task"]
        routed = receipt["routed"]
        assert (routed["agent"], routed["skill"]) == ("weather", "forecast")
        assert 0 < routed["score"] <= 1
        assert "'Forecast'" in routed["reason"]
        assert {one["agent"] for one in routed["candidates"]} == {"billing", "parcels"}
        for one in routed["candidates"]:
            assert one["score"] <= routed["score"]
            assert "is far from" in one["reason"]
        [mail] = await desk.fetch("weather", agent="weather")
        assert texts([mail]) == ["umbrella?"]
        again = await desk.intent(RAIN, text="umbrella?", task=True)
        assert again["routed"] == routed, "equal inputs, equal choice"

    run(body, tmp_path)


def test_an_intent_alone_is_the_message(tmp_path: Path) -> None:
    async def body(desk: MeaningDesk) -> None:
        await register(desk, OFFICE)
        await desk.settle_index()
        await desk.intent("I need a refund for a broken lamp")
        assert texts(await desk.fetch("billing", agent="billing")) == ["I need a refund for a broken lamp"]

    run(body, tmp_path)


def test_below_the_threshold_candidates_are_named_and_nothing_is_stored(tmp_path: Path) -> None:
    async def body(desk: MeaningDesk) -> None:
        error = await desk.refused("NO_MATCHING_AGENT", "mailbox_send", intent={"text": "hello"}, text="x")
        assert error.details["candidates"] == []
        await register(desk, OFFICE)
        await desk.settle_index()
        before = desk.engine.state.next_message
        strange = {"text": "who won the chess championship of 1972"}
        error = await desk.refused("NO_MATCHING_AGENT", "mailbox_send", intent=strange, text="x")
        assert {one["agent"] for one in error.details["candidates"]} == set(OFFICE)
        assert "nothing was stored" in error.message
        assert desk.engine.state.next_message == before

    run(body, tmp_path)


def test_tags_and_skills_narrow_and_a_named_skill_needs_no_likeness(tmp_path: Path) -> None:
    async def body(desk: MeaningDesk) -> None:
        await register(desk, OFFICE)
        await desk.settle_index()
        await desk.refused(
            "NO_MATCHING_AGENT", "mailbox_send", intent={"text": RAIN, "tags": ["money"]}, text="x"
        )
        receipt = await desk.intent("please handle this", intent={"skill": "tracking"}, text="x")
        assert receipt["mailbox"] == "parcels"
        error = await desk.refused(
            "NO_MATCHING_AGENT", "mailbox_send", intent={"text": RAIN, "skill": "none"}, text="x"
        )
        assert error.details["candidates"] == []

    run(body, tmp_path)


def test_among_near_equals_the_ready_one_is_chosen(tmp_path: Path) -> None:
    async def body(desk: MeaningDesk) -> None:
        await register(desk, dict.fromkeys(("a", "b", "c"), OFFICE["weather"]))
        await desk.settle_index()
        receipt = await desk.intent(RAIN)
        assert receipt["mailbox"] == "a", "the first by name where nothing else differs"
        assert "as good as 'b', 'c'" in receipt["routed"]["reason"]
        assert "nearly the same" in receipt["routed"]["candidates"][0]["reason"]
        await desk.call("agent_report", "a", status="busy")
        await desk.call("agent_report", "b", status="available", load=0.9)
        await desk.call("agent_report", "c", status="available", load=0.1)
        assert (await desk.intent(RAIN))["mailbox"] == "c"
        await desk.call("agent_report", "c", status="offline")
        receipt = await desk.intent(RAIN)
        assert receipt["mailbox"] == "b"
        assert {one["agent"]: one["reason"] for one in receipt["routed"]["candidates"]}["c"] == "is offline"
        for name in ("a", "b"):
            await desk.call("agent_report", name, status="offline")
        error = await desk.refused("NO_MATCHING_AGENT", "mailbox_send", intent={"text": RAIN})
        assert "is offline" in error.message

    run(body, tmp_path)


def test_nobody_sends_to_itself(tmp_path: Path) -> None:
    async def body(desk: MeaningDesk) -> None:
        await register(desk, OFFICE)
        await desk.settle_index()
        error = await desk.refused("NO_MATCHING_AGENT", "mailbox_send", "weather", intent={"text": RAIN})
        assert "weather" not in [one["agent"] for one in error.details["candidates"]]

    run(body, tmp_path)


def test_an_intent_is_keyed_before_it_is_routed(tmp_path: Path) -> None:
    async def body(desk: MeaningDesk) -> None:
        await register(desk, dict.fromkeys(("a", "b"), OFFICE["weather"]))
        await desk.settle_index()
        first = await desk.intent(RAIN, dedup_key="k", session="s")
        assert (first["mailbox"], first["duplicate"]) == ("a", False)
        await desk.call("agent_report", "a", status="offline")
        again = await desk.intent(RAIN, dedup_key="k", session="s")
        assert again == {**{n: v for n, v in first.items() if n != "routed"}, "duplicate": True}
        error = await desk.refused(
            "DEDUP_CONFLICT", "mailbox_send", intent={"text": RAIN}, text="other", dedup_key="k"
        )
        assert error.details["message"] == first["id"]
        [mail] = await desk.fetch("a", agent="a")
        await desk.settle(mail, agent="a")
        await desk.restart()
        again = await desk.intent(RAIN, dedup_key="k", session="s")
        assert (again["id"], again["mailbox"], again["duplicate"]) == (first["id"], "a", True)
        await desk.pass_time(601)
        assert (await desk.intent(RAIN, dedup_key="k", session="s"))["mailbox"] == "b"

    run(body, tmp_path)


def test_intents_in_a_batch_and_beside_an_ack(tmp_path: Path) -> None:
    async def body(desk: MeaningDesk) -> None:
        await register(desk, OFFICE)
        await desk.settle_index()
        batch = [
            {"intent": {"text": RAIN}},
            {"to": "billing", "text": "x"},
            {"intent": {"text": "where is order 7"}},
        ]
        receipts = (await desk.call("mailbox_send", messages=batch))["receipts"]
        assert [one["mailbox"] for one in receipts] == ["weather", "billing", "parcels"]
        assert ["routed" in one for one in receipts] == [True, False, True]
        [mail] = await desk.fetch("weather", agent="weather")
        reply = await desk.call(
            "mailbox_ack",
            "weather",
            items=[{"lease": mail["lease"]}],
            send={"intent": {"text": "I want my money back"}},
        )
        assert reply["receipts"][0]["mailbox"] == "billing"
        waiting = await desk.intent(RAIN, wait_for="leased", wait_s=0)
        assert (waiting["mailbox"], waiting["reached"]) == ("weather", "stored")

    run(body, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"intent": {"text": "x"}, "to": "box"}, "to and intent"),
        ({"intent": {"text": ""}}, "intent.text"),
        ({"intent": {"text": "x" * 8_001}}, "intent.text"),
        ({"intent": {"text": "x" * 100 * 1024}}, "intent.text"),
        ({"intent": {"text": "x", "more": 1}}, "more"),
        ({"intent": "refund"}, "intent"),
        ({"intent": {"text": "x"}, "task": "task-1"}, "intent: a message in a task"),
        ({"park": True, "text": "x"}, "park"),
    ],
)
def test_bad_intents_are_refused_by_name(tmp_path: Path, arguments: Reply, named: str) -> None:
    async def body(desk: MeaningDesk) -> None:
        error = await desk.refused("INVALID_ARGUMENT", "mailbox_send", **arguments)
        assert named in error.message

    run(body, tmp_path, Bag())


@pytest.mark.parametrize(
    "text",
    [
        "\u00a0",
        "?!",
        "\u4f60\u597d\uff0c\u660e\u5929\u4f1a\u4e0b\u96e8\u5417",
        "\u0647\u0644 \u0633\u062a\u0645\u0637\u0631 \u063a\u062f\u0627",
        "\u202erain\u202c \u05d2\u05e9\u05dd \u2067tomorrow\u2069",
        "\U0001f327" * 50,
        "\x00\x01",
        "x" * 8_000,
    ],
)
def test_no_text_breaks_the_choice(tmp_path: Path, text: str) -> None:
    async def body(desk: MeaningDesk) -> None:
        await register(desk, OFFICE)
        await desk.settle_index()
        before = desk.engine.state.next_message
        with contextlib.suppress(Refused):
            assert (await desk.intent(text))["mailbox"] in OFFICE
            before += 1
        assert desk.engine.state.next_message == before
        assert len((await desk.call("agent_discover", text=text[:2_000]))["agents"]) <= len(OFFICE)

    run(body, tmp_path)


def test_an_engine_that_fails_midway_leaves_the_registry_as_it_was(tmp_path: Path) -> None:
    class Failing(Bag):
        failing = False

        def embed(self, texts: Any) -> Any:
            if self.failing:
                raise RuntimeError("out of order")
            return super().embed(texts)

    engine = Failing()

    async def body(desk: MeaningDesk) -> None:
        await register(desk, OFFICE)
        await desk.settle_index()
        engine.failing = True
        error = await desk.refused("STORAGE_UNAVAILABLE", "mailbox_send", intent={"text": "tell the wind"})
        assert "out of order" in error.message
        await desk.call("agent_register", name="late", card=short("Late", skill("Snow")))
        await desk.settle_index()
        engine.failing = False
        names = [one["name"] for one in (await desk.call("agent_discover"))["agents"]]
        assert names == ["billing", "late", "parcels", "weather"]
        assert (await desk.intent("tells the rain, wind and sun of tomorrow"))["mailbox"] == "weather"

    run(body, tmp_path, engine)


def test_without_an_engine_keywords_choose_and_say_so(tmp_path: Path) -> None:
    async def body(desk: MeaningDesk) -> None:
        await desk.broker.close()
        desk.engine = await open_engine(desk.folder, **desk.options)
        desk.broker = await start_broker(desk.engine)
        await register(desk, OFFICE)
        receipt = await desk.intent("refund a payment")
        assert receipt["mailbox"] == "billing"
        assert "by keywords alone" in receipt["routed"]["reason"]

    run(body, tmp_path)


def test_discovery_finds_by_meaning_and_says_why(tmp_path: Path) -> None:
    async def body(desk: MeaningDesk) -> None:
        await register(desk, OFFICE)
        await desk.settle_index()
        [found] = (await desk.call("agent_discover", text=RAIN))["agents"]
        assert (found["name"], found["skill"]) == ("weather", "forecast")
        assert "'Forecast'" in found["reason"]
        assert (await desk.call("agent_discover", text="chess in 1972"))["agents"] == []
        await desk.call("agent_register", name="weather", card=short("Weather", skill("Snow")))
        await desk.call("agent_unregister", name="parcels")
        await desk.settle_index()
        found = (await desk.call("agent_discover", text="where is the parcel that I ordered"))["agents"]
        assert "parcels" not in [one["name"] for one in found]

    run(body, tmp_path)


def test_vectors_outlive_a_restart_and_those_of_others_are_dropped(tmp_path: Path) -> None:
    engine = Bag()

    async def kept(desk: MeaningDesk) -> int:
        row = await desk.engine.folder.read(0, count_vectors)
        return int(row[0])

    async def body(desk: MeaningDesk) -> None:
        await register(desk, OFFICE)
        await desk.settle_index()
        made = len(set(engine.asked))
        assert await kept(desk) == made
        engine.asked.clear()
        await desk.restart()
        await desk.settle_index()
        assert engine.asked == [], "all were found in the tables"
        assert (await desk.intent("tells rain, wind and sun"))["mailbox"] == "weather"
        await desk.call("agent_unregister", name="billing")
        await desk.call("agent_register", name="late", card=short("Late", skill("Snow")))
        await desk.settle_index()
        assert await kept(desk) == made - 6 + 3, "what billing alone had is gone"
        engine.model = Model("bag", "2")
        engine.asked.clear()
        await desk.restart()
        assert (await desk.intent("tells rain, wind and sun"))["mailbox"] == "weather"
        await desk.settle_index()
        assert engine.asked, "another version's vectors do not compare"
        assert await kept(desk) == made - 6 + 3

    run(body, tmp_path, engine)


def count_vectors(con: Any) -> Any:
    """How many vectors the tables keep."""
    return con.execute("select count(*) from vectors").fetchone()
