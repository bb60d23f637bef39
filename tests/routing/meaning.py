"""Agents and an engine for the tests of routing: a broker that understands, and one that is quick to make."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from mq9_mcp.broker.broker import start_broker
from mq9_mcp.broker.clock import Clock
from mq9_mcp.engine.embedded.engine import open_engine
from mq9_mcp.routing.embedding import MiniLM
from mq9_mcp.routing.encoder import Encoder
from mq9_mcp.routing.seam import Model, Vectors
from mq9_mcp.routing.words import words
from tests.engine.cards import Card, short, skill
from tests.support import Desk, Reply

minilm = cache(MiniLM)  # loading it is dear


class Bag:
    """An engine for texts that share words: each word is a direction of its own."""

    model = Model("bag", "1")

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        """A vector of length 1 for each text."""
        self.asked += texts
        return np.stack([self._embed(text) for text in texts])

    def _embed(self, text: str) -> Vectors:
        vector = np.zeros(384, np.float32)
        for word in words(text):
            vector[hashlib.blake2b(word.encode(), digest_size=1).digest()[0]] += 1
        length = float(np.linalg.norm(vector))
        return vector / np.float32(length) if length else vector


class MeaningDesk(Desk):
    """A desk whose broker has an engine."""

    engine_of_meaning: Any = None

    async def open(self) -> None:
        """Open the data directory, as a start of the broker does."""
        self.engine = await open_engine(self.folder, **self.options)
        clock = Clock(self.engine.time, wall=self.time, boot=self.time)
        made = self.engine_of_meaning or minilm()
        self.broker = await start_broker(self.engine, clock, encoder=Encoder(lambda: made))

    async def intent(self, wanted: str, /, agent: str | None = "alice", **more: Any) -> Reply:
        """Send by intent; returns the receipt."""
        intent = {"text": wanted, **more.pop("intent", {})}
        receipt: Reply = (await self.call("mailbox_send", agent, intent=intent, **more))["receipts"][0]
        return receipt

    async def settle_index(self) -> None:
        """Return when everything that is registered is embedded."""
        await self.broker.agents.follow()
        await self.broker.agents.index.settled()


OFFICE: dict[str, Card] = {
    "billing": short(
        "Billing",
        skill(
            "Refunds",
            "money",
            description="Returns payments to customers.",
            examples=["I want my money back"],
        ),
        skill("Invoices", "money", description="Writes and sends invoices."),
        description="Money matters of the shop.",
    ),
    "weather": short(
        "Weather",
        skill("Forecast", "sky", description="Tells tomorrow's rain, wind and sun."),
        description="The sky.",
    ),
    "parcels": short(
        "Parcels", skill("Tracking", "post", description="Says where an order is."), description="Deliveries."
    ),
}


async def register(desk: Desk, cards: dict[str, Card]) -> None:
    """Register agents by name."""
    for name, card in cards.items():
        await desk.call("agent_register", name=name, card=card)
