"""The index of agents: exact products, a big one is compared in a thread, a failure hurts one agent alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from mq9_mcp.routing import encoder as encoders
from mq9_mcp.routing import index as indexes
from mq9_mcp.routing.encoder import Encoder
from mq9_mcp.routing.index import AgentIndex
from mq9_mcp.routing.rows import BLOCK, PIECE, STEPS, Rows
from mq9_mcp.routing.seam import Vectors
from mq9_mcp.routing.skills import Cosines, SkillIndex
from tests.routing.meaning import Bag


def cards(*names: str) -> dict[str, str]:
    """Agents that do what their names say."""
    return {
        name: msgspec.json.encode({"name": name, "description": f"{name} for all", "skills": []}).decode()
        for name in names
    }


def run(body: Callable[[AgentIndex], Coroutine[Any, Any, None]], engine: Any) -> None:
    """Run a test on an index with an engine."""

    async def whole() -> None:
        async with asyncio.timeout(60):
            index = AgentIndex(Encoder(lambda: engine))
            try:
                await body(index)
            finally:
                await index.close()

    asyncio.run(whole())


def test_products_are_exact_wherever_a_row_lies() -> None:
    rng = np.random.default_rng(3)
    many = rng.standard_normal((BLOCK + PIECE + 7, 384), np.float32)
    many /= np.linalg.norm(many, axis=1, keepdims=True)
    rows = Rows(384)
    places = [rows.put(one) for one in many]
    query = many[5]
    found = rows.cosines(query)
    assert found == pytest.approx(many @ query, abs=1e-3)
    whole = np.rint(many * np.float32(STEPS)).astype(np.int64)
    assert np.array_equal(found, (whole @ whole[5]) / (STEPS * STEPS)), "not a bit is lost"
    alone = Rows(384)
    assert alone.cosines(query).size == 0
    alone.put(many[BLOCK + 3])
    assert alone.cosines(query)[0] == found[BLOCK + 3]
    rows.drop(places[9])
    assert rows.put(many[1]) == places[9]
    assert rows.cosines(query)[9] == found[1]
    assert rows.rows([9, 1])[0] == pytest.approx(many[1], abs=1 / STEPS)


def test_a_big_index_is_compared_in_a_thread_and_anew_if_an_agent_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[threading.Thread] = []
    begun, gate = threading.Event(), threading.Event()
    compare = SkillIndex.cosines

    def held(self: SkillIndex, query: Vectors) -> Cosines:
        found = compare(self, query)
        threads.append(threading.current_thread())
        begun.set()
        assert gate.wait(30)
        return found

    async def body(index: AgentIndex) -> None:
        index.follow(1, cards("rain", "money"))
        await index.settled()
        small = await index.rank("rain and snow")
        monkeypatch.setattr(indexes, "APART", 1)
        monkeypatch.setattr(SkillIndex, "cosines", held)
        asked = asyncio.ensure_future(index.rank("rain and snow"))
        assert await asyncio.to_thread(begun.wait, 30)
        index.follow(2, cards("rain", "money", "snow"))  # the event loop is free
        await index.settled()
        gate.set()
        found = await asked
        assert found.keys() == {"rain", "money", "snow"}
        assert found["rain"].meaning == small["rain"].meaning
        assert len(threads) == 2
        assert threading.main_thread() not in threads

    run(body, Bag())


def test_a_text_that_fails_costs_its_own_agent_alone() -> None:
    class Failing(Bag):
        def embed(self, texts: Sequence[str]) -> Vectors:
            if any("snow" in text for text in texts):
                raise RuntimeError("out of order")
            return super().embed(texts)

    async def body(index: AgentIndex) -> None:
        index.follow(1, cards("rain", "snow", "money", "wood"))
        await index.settled()
        found = await index.rank("rain and money for all")
        assert {name for name, one in found.items() if one.meaning is not None} == {"rain", "money", "wood"}
        index.follow(2, cards("rain", "money", "wood"))
        await index.settled()
        assert "snow" not in await index.rank("rain and money for all")

    run(body, Failing())


@pytest.mark.skipif(not encoders.LOW_PRIORITY, reason="threads share their priority here")
def test_who_waits_for_an_answer_waits_for_no_card() -> None:
    begun, gate = threading.Event(), threading.Event()

    class Held(Bag):
        def patiently(self, texts: Sequence[str]) -> Vectors:
            begun.set()
            assert gate.wait(30)
            return self.embed(texts)

    async def body() -> None:
        encoder = Encoder(lambda: Held())
        patient = asyncio.ensure_future(encoder.embed([f"card {n}" for n in range(9)], patient=True))
        assert await asyncio.to_thread(begun.wait, 30)
        await encoder.embed(["asked now"])
        assert not patient.done()
        gate.set()
        await patient
        await asyncio.to_thread(encoder.close)

    asyncio.run(body())
