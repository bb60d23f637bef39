"""Section 6: what a card may be, which field is at fault, and the name that follows from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.domain import agent as agents
from mq9_mcp.domain.limits import limit
from tests.engine.cards import Card, changed, full, short, skill, without
from tests.engine.test_bad_input import snapshot
from tests.support import Desk, run


def test_exactly_one_of_card_card_url_and_mcp_server(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        url = "https://example.org/card.json"
        wrong: list[Card] = [{}, {"card": short(), "card_url": url}, {"card_url": url, "mcp_server": {}}]
        for given in wrong:
            error = await desk.refused("INVALID_ARGUMENT", "agent_register", **given)
            assert "exactly one of card, card_url, mcp_server" in error.message
        error = await desk.refused("INVALID_ARGUMENT", "agent_register", mcp_server={"command": "x"})
        assert "mcp_server" in error.message
        assert "starts and calls none" in error.message
        assert desk.engine.state.agents == {}

    run(body, tmp_path)


def test_a_full_card_is_kept_as_it_came(tmp_path: Path) -> None:
    """With its signature, numbers of any size, and fields that nobody here knows."""

    async def body(desk: Desk) -> None:
        card = {**full(), "x-vendor": {"n": 2**70, "list": [None, 1.5]}}
        for restart in (False, True):
            if restart:
                await desk.restart()
            made = await desk.call("agent_register", card=card)
            assert made["agent"]["card"] == card
            [found] = (await desk.call("agent_discover"))["agents"]
            assert found["card"] == card

    run(body, tmp_path)


def test_the_short_form_becomes_an_agent_card(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        skills = [skill("Refunds", "refund", examples=["refund order 7"]), skill("refunds!"), skill("日本")]
        made = await desk.call("agent_register", card=short("Billing", *skills))
        card = made["agent"]["card"]
        assert (card["name"], card["description"]) == ("Billing", "Pays invoices.")
        assert [one["id"] for one in card["skills"]] == ["refunds", "refunds-2", "skill"]
        assert card["skills"][0]["examples"] == ["refund order 7"]
        required = {
            "version",
            "capabilities",
            "defaultInputModes",
            "defaultOutputModes",
            "supportedInterfaces",
        }
        assert required <= card.keys()

    run(body, tmp_path)


FAULTS: list[tuple[Card, str]] = [
    (without(short(), "name"), "card.name: missing"),
    (without(short(), "description"), "card.description: missing"),
    (without(short(), "skills.0.name"), "card.skills[0].name: missing"),
    (without(short(), "skills.0.description"), "card.skills[0].description: missing"),
    (changed(short(), "skils", []), "card.skils: unknown"),
    (changed(short(), "skills.0.tagz", []), "card.skills[0].tagz: unknown"),
    (changed(short(), "name", ""), "card.name: 0 characters"),
    (changed(short(), "name", 7), "card.name: 7; expected str"),
    (changed(short(), "skills", {}), "card.skills: {}"),
    (changed(short(), "skills.0.tags.0", 7), "card.skills[0].tags[0]: 7"),
    (changed(short(), "skills.0.tags.0", ""), "card.skills[0].tags[0]: 0 characters"),
    (changed(short(), "skills.0.examples", "one"), "card.skills[0].examples: 'one'"),
    (short("Twice", skill("A"), skill("A")), "card.skills[1].name: 'A' stands twice"),
    (changed(full(), "skills.0.id", ""), "card.skills[0].id: 0 characters"),
    (changed(full(), "skills", [full()["skills"][0]] * 2), "card.skills[1].id: 'refunds' stands twice"),
    (changed(full(), "capabilities.streaming", "yes"), "card.capabilities.streaming: 'yes'"),
    (changed(full(), "supportedInterfaces", []), "card.supportedInterfaces: 0 items"),
    (changed(full(), "securitySchemes.key", "x"), "card.securitySchemes"),
    (changed(full(), "version", 2), "card.version: 2"),
    ({}, "card.name: missing"),
] + [
    (without(full(), path), f"card.{shown}: missing")
    for path, shown in (
        ("name", "name"),
        ("description", "description"),
        ("version", "version"),
        ("supportedInterfaces", "supportedInterfaces"),
        ("supportedInterfaces.0.url", "supportedInterfaces[0].url"),
        ("supportedInterfaces.0.protocolBinding", "supportedInterfaces[0].protocolBinding"),
        ("supportedInterfaces.0.protocolVersion", "supportedInterfaces[0].protocolVersion"),
        ("capabilities", "capabilities"),
        ("defaultInputModes", "defaultInputModes"),
        ("defaultOutputModes", "defaultOutputModes"),
        ("skills", "skills"),
        ("skills.0.id", "skills[0].id"),
        ("skills.0.tags", "skills[0].tags"),
        ("provider.organization", "provider.organization"),
        ("signatures.0.signature", "signatures[0].signature"),
    )
]


def test_the_field_at_fault_is_named(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        before = snapshot(desk)
        for card, said in FAULTS:
            error = await desk.refused("INVALID_ARGUMENT", "agent_register", card=card)
            assert error.message.startswith(said), (error.message, said)
            assert error.hint or "accepted" in error.message
        assert snapshot(desk) == before
        assert desk.engine.state.agents == {}

    run(body, tmp_path)


def test_a_card_of_an_older_protocol_says_so(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        old = {**without(full(), "supportedInterfaces"), "url": "https://x.org", "protocolVersion": "0.3.0"}
        error = await desk.refused("INVALID_ARGUMENT", "agent_register", card=old)
        assert "card.supportedInterfaces: missing" in error.message
        assert "A2A 0.3" in error.hint

    run(body, tmp_path)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("billing", "billing"),
        ("Billing", "billing"),
        ("Billing Agent", "billing-agent"),
        ("Billing  &  Refunds", "billing-refunds"),
        ("billing_v1.2-x", "billing_v1.2-x"),
        ("  Ünïcode 7!", "n-code-7"),
        ("A" * 96, "a" * 96),
    ],
)
def test_the_address_follows_from_the_name(tmp_path: Path, name: str, address: str) -> None:
    """Lower-cased, every run of other characters one ``-``; the card's own name is for display."""

    async def body(desk: Desk) -> None:
        made = await desk.call("agent_register", card=short(name))
        assert (made["agent"]["name"], made["agent"]["mailbox"]) == (address, address)
        assert made["agent"]["card"]["name"] == name

    run(body, tmp_path)


def test_a_name_that_gives_no_address_is_refused_and_name_helps(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for name in ("日本", "!!!", "a..b", "mq9.mine", "A" * 97):
            error = await desk.refused("INVALID_ARGUMENT", "agent_register", card=short(name))
            assert "card.name" in error.message
            assert "name=" in error.hint
        made = await desk.call("agent_register", card=short("日本"), name="tokyo")
        assert made["agent"]["name"] == "tokyo"
        for taken in ("mq9.tokyo", "A", "a@node"):
            error = await desk.refused("INVALID_ARGUMENT", "agent_register", card=short(), name=taken)
            assert error.message.startswith("name: ")

    run(body, tmp_path)


def sized(size: int) -> Card:
    """A full card of so many bytes encoded."""
    import msgspec

    card = full()
    return {**card, "description": "x" * (size - len(msgspec.json.encode(card)) + len(card["description"]))}


Edges = list[tuple[str, int, Any, str]]
EDGES: Edges = [
    ("card_bytes_max", 1, sized, "bytes"),
    ("card_skills_max", 1, lambda n: short("A", *[skill(f"s{i}") for i in range(n)]), "card.skills"),
    ("skill_tags_max", 1, lambda n: short("A", skill("s", *["t"] * n)), "card.skills[0].tags"),
    ("skill_examples_max", 1, lambda n: short("A", skill(examples=["e"] * n)), "card.skills[0].examples"),
    ("tag_characters_max", 0, lambda n: short("A", skill("s", "t" * n)), "card.skills[0].tags[0]"),
    ("card_label_characters_max", 0, lambda n: short("A", skill("s" * n)), "card.skills[0].name"),
]


@pytest.mark.parametrize(("name", "named", "make", "where"), EDGES, ids=[edge[0] for edge in EDGES])
def test_a_card_has_its_limits(tmp_path: Path, name: str, named: int, make: Any, where: str) -> None:
    async def body(desk: Desk) -> None:
        most = limit(name)
        before = snapshot(desk)
        error = await desk.refused("INVALID_ARGUMENT", "agent_register", card=make(most + 1))
        assert where in error.message
        assert str(most) in error.message
        assert str(most + 1) in error.message
        assert not named or name in error.message
        assert snapshot(desk) == before
        await desk.call("agent_register", card=make(most))
        await desk.restart()
        [found] = (await desk.call("agent_discover"))["agents"]
        assert found["version"] == 1

    run(body, tmp_path)


def test_there_are_at_most_so_many_agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert limit("agents_max") == agents.AGENTS_MAX
    monkeypatch.setattr(agents, "AGENTS_MAX", 3)

    async def body(desk: Desk) -> None:
        for number in range(3):
            await desk.call("agent_register", card=short(f"a{number}"))
        before = snapshot(desk)
        error = await desk.refused("INVALID_ARGUMENT", "agent_register", card=short("one more"))
        assert "3 agents" in error.message
        assert "agents_max is 3" in error.message
        assert snapshot(desk) == before
        assert (await desk.call("agent_register", card=short("a0")))["agent"]["version"] == 2
        await desk.call("agent_unregister", name="a1")
        await desk.call("agent_register", card=short("one more"))

    run(body, tmp_path)
