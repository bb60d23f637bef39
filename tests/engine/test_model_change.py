"""Another model is chosen: the old vectors answer until the new ones are complete, then they are gone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from mq9_mcp.broker.broker import start_broker
from mq9_mcp.broker.clock import Clock
from mq9_mcp.engine.embedded.engine import open_engine
from mq9_mcp.routing.encoder import Encoder
from mq9_mcp.routing.seam import MINILM, CannotLoad, Embedder, Load, Model, Vectors
from mq9_mcp.serve.meaning import formerly
from tests.routing.meaning import OFFICE, Bag, MeaningDesk, register

ASKED = "tells rain, wind and sun"


class Slow(Bag):
    """A newer model, whose work begins when the test says so."""

    model = Model("new", "1")

    def __init__(self) -> None:
        super().__init__()
        self.begin = threading.Event()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The same vectors, under another name."""
        assert self.begin.wait(30)
        return super().embed(texts)


class ChangingDesk(MeaningDesk):
    """A desk that knows how to load the model before."""

    before: Embedder | None = None

    async def open(self) -> None:
        """Open the data directory, as a start of the broker does."""
        self.engine = await open_engine(self.folder, **self.options)
        clock = Clock(self.engine.time, wall=self.time, boot=self.time)
        encoder = Encoder(lambda: self.engine_of_meaning, self.formerly)
        self.broker = await start_broker(self.engine, clock, encoder=encoder)

    def formerly(self, model: str) -> Load | None:
        """The loader of the model of that name."""
        before = self.before
        if before is None or before.model.name != model:
            return None
        return lambda: before


@pytest.mark.parametrize("version", ["1", "2"])
def test_the_old_vectors_serve_until_the_new_ones_are_complete(tmp_path: Path, version: str) -> None:
    """``version`` 2: the old model is another one by now, so that keywords answer instead."""

    async def body() -> None:
        old, new = Bag(), Slow()
        desk = ChangingDesk(tmp_path)
        desk.engine_of_meaning = old
        await desk.open()
        await register(desk, OFFICE)
        await desk.settle_index()
        desk.engine_of_meaning, desk.before = new, old
        old.asked.clear()
        old.model = Model("bag", version)
        await desk.restart()
        try:
            agents = desk.broker.agents
            await agents.follow()
            assert agents._changing is not None
            if version == "1":
                while agents.change.index is None:
                    assert not agents._changing.done()
                    await asyncio.wait([agents._changing], timeout=0.01)
                await agents.change.index.settled()
                assert old.asked == [], "its vectors were kept"
                routed = (await desk.intent(ASKED))["routed"]
                assert routed["agent"] == "weather"
                assert "keywords alone" not in routed["reason"]
                assert new.asked == []
            new.begin.set()
            await agents._changing
            await desk.settle_index()
            assert agents.change.index is None
            assert new.asked
            old.asked.clear()
            assert (await desk.intent(ASKED))["mailbox"] == "weather"
            assert old.asked == []
            assert list(await desk.engine.vector_models()) == [("new", "1")], "the old ones are gone"
        finally:
            new.begin.set()
            await desk.broker.close()

    async def whole() -> None:
        async with asyncio.timeout(60):
            await body()

    asyncio.run(whole())


def test_the_models_of_the_setting_are_found_by_the_names_of_their_vectors() -> None:
    assert formerly("unknown") is None
    ship, other = formerly(MINILM), formerly("sentence-transformers:no/such/model")
    assert ship is not None
    assert ship().model.name == MINILM
    assert other is not None
    with pytest.raises(CannotLoad):
        other()
