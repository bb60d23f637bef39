"""Ranking by keywords: deterministic, scored from 0 to 1, with a reason that is true."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mq9_mcp.domain.registry import Match
from mq9_mcp.routing.cards import read_card
from mq9_mcp.routing.index import AgentIndex
from mq9_mcp.routing.keywords import Keywords
from mq9_mcp.routing.words import words
from tests.engine.cards import Card, short, skill
from tests.support import Desk, run


def card(name: str, description: str, *skills: Card) -> Card:
    """A card as the registry has it."""
    return {
        "name": name,
        "description": description,
        "skills": [{"id": one["name"], **one} for one in skills],
    }


CARDS: dict[str, Card] = {
    "billing": card(
        "Billing",
        "Money matters.",
        skill("Refunds", "refund", "payment", description="Gives money back.", examples=["refund order 7"]),
        skill("Invoices", "invoice", description="Writes invoices for orders."),
    ),
    "weather": card(
        "Weather", "The sky.", skill("Forecast", "weather", description="Tells tomorrow's rain and sun.")
    ),
    "orders": card("Orders", "Parcels.", skill("Tracking", "order", description="Says where an order is.")),
    "quiet": card("Quiet", "Says nothing at all."),
}


def rank(text: str, cards: dict[str, Card] = CARDS) -> dict[str, Match]:
    """The ranking of ``text``."""
    index = Keywords()
    for name, card in cards.items():
        index.learn(name, read_card(msgspec.json.encode(card).decode()))
    return index.rank(text)


def best(text: str) -> list[str]:
    """The agents that fit, the best first."""
    ranking = rank(text)
    return sorted(ranking, key=lambda name: (-ranking[name].score, name))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("please refund my order", ["billing", "orders"]),
        ("where is my order?", ["orders", "billing"]),
        ("will it rain", ["weather"]),
        ("write an invoice", ["billing"]),
        ("REFUNDS", ["billing"]),
        ("knitting", []),
        ("how are you", []),
        ("?!", []),
    ],
)
def test_the_best_fit_comes_first(text: str, expected: list[str]) -> None:
    assert best(text) == expected


def test_the_reason_names_words_that_are_there_and_the_skill_that_has_them() -> None:
    match = rank("refund the weather")["billing"]
    assert match.skill is None or match.skill == "Refunds"
    assert "'refund' in skill 'Refunds'" in match.reason
    assert "weather" not in match.reason
    assert "its name and description" in rank("the sky")["weather"].reason


def test_scores_are_between_0_and_1_and_more_words_score_more() -> None:
    one, both = rank("refund knitting")["billing"].score, rank("refund payment")["billing"].score
    assert 0 < one < both <= 1
    alone = rank("refund", {"billing": CARDS["billing"]})["billing"].score
    assert 0 < alone <= 1


def test_a_word_that_few_have_says_more() -> None:
    cards = {f"a{n}": card(f"a{n}", "One.", skill("common", "x")) for n in range(9)}
    cards["rare"] = card("rare", "One.", skill("special", "x"))
    ranking = rank("common special", cards)
    assert max(ranking, key=lambda name: ranking[name].score) == "rare"


def test_the_order_of_learning_and_what_was_forgotten_do_not_count() -> None:
    expected = rank("refund an order in the rain")
    rng = random.Random(7)
    for _ in range(5):
        index = AgentIndex()
        index.follow(
            object(), {"old": encoded("quiet"), "billing": encoded("weather")} | {"quiet": encoded("orders")}
        )
        names = list(CARDS)
        rng.shuffle(names)
        index.follow(object(), {name: encoded(name) for name in names})
        assert {
            name: one._replace(why=one.reason.removesuffix("; by keywords alone"))
            for name, one in asyncio.run(index.rank("refund an order in the rain")).items()
        } == expected


def encoded(name: str) -> str:
    """The card of a name as JSON."""
    return msgspec.json.encode(CARDS[name]).decode()


def test_words_are_compared_without_capitals_plurals_and_filler() -> None:
    assert words("The Invoices of my companies") == ["invoice", "company"]
    assert words("does this help us? yes, buses & glass") == ["us", "yes", "buse", "glass"]
    assert words("größe_x 日本語 7") == ["grösse", "x", "日", "本", "語", "7"]


# -- as discovery shows it


async def discover(desk: Desk, text: str, **wish: Any) -> list[tuple[str, float]]:
    """Name and score of what is found."""
    found = (await desk.call("agent_discover", text=text, **wish))["agents"]
    return [(one["name"], one["score"]) for one in found]


def test_discovery_ranks_with_scores_and_says_why(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for name in CARDS:
            await desk.call("agent_register", card=short(name, skill(name)))
        [found] = (await desk.call("agent_discover", text="the weather"))["agents"]
        assert (found["name"], found["skill"]) == ("weather", "weather")
        assert 0 < found["score"] <= 1
        assert "'weather' in skill 'weather'" in found["reason"]
        assert found["card"]["name"] == "weather"

    run(body, tmp_path)


def test_discovery_follows_the_registry(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        assert await discover(desk, "rain") == []
        await desk.call("agent_register", card=short("one", skill("rain")))
        assert [name for name, _ in await discover(desk, "rain")] == ["one"]
        await desk.call("agent_register", card=short("one", skill("sun")))
        assert await discover(desk, "rain") == []
        await desk.call("agent_register", card=short("two", skill("rain")))
        await desk.restart()
        assert [name for name, _ in await discover(desk, "rain")] == ["two"]
        await desk.call("agent_unregister", name="two")
        assert await discover(desk, "rain") == []
        await desk.call("mailbox_drop", address="one")
        assert await discover(desk, "sun") == []

    run(body, tmp_path)


def test_ranked_pages_join_to_the_whole_and_the_ready_come_first_among_equals(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for number in range(9):
            skills = [skill("rain")] if number % 3 else [skill("rain"), skill("sun and snow and wind")]
            await desk.call("agent_register", card=short(f"a{number}", *skills))
        await desk.call("agent_report", name="a1", status="offline")
        await desk.call("agent_report", name="a2", status="busy")
        whole = await discover(desk, "rain", limit=100)
        assert [name for name, _ in whole] == ["a4", "a5", "a7", "a8", "a2", "a1", "a0", "a3", "a6"]
        pages: list[tuple[str, float]] = []
        cursor: dict[str, Any] = {}
        while True:
            page = await desk.call("agent_discover", text="rain", limit=2, **cursor)
            pages += [(one["name"], one["score"]) for one in page["agents"]]
            if "next_cursor" not in page:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert pages == whole
        assert await discover(desk, "rain", status="busy") == [one for one in whole if one[0] == "a2"]

    run(body, tmp_path)
