"""The speed of intents: ``python -m benchmarks.intent [--quick] [--only NAME] [--markdown FILE]``.

Cards and requests are made of the public requests in ``benchmarks/data``. An intent send is measured
beside a plain one in the same run, each on disk when it counts; sends while many agents are embedded, beside
the same sends before.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvloop

from benchmarks.engine import BODY, CALLER, quantile
from benchmarks.routing import DATA
from benchmarks.routing_data import rows as data_rows
from benchmarks.table import Row, memory_bytes, print_table, write_markdown
from mq9_mcp.broker.broker import Broker, start_broker
from mq9_mcp.engine.embedded.engine import open_engine
from mq9_mcp.routing.embedding import MiniLM
from mq9_mcp.routing.encoder import Encoder, text_hash
from mq9_mcp.routing.index import AgentIndex
from mq9_mcp.routing.seam import Model, Vectors
from mq9_mcp.routing.words import words

SKILLS = 10
SENDS = 900  # of the skills of 100 agents
PACE_S = 0.005  # a plain send begins so long after the one before has ended
TURN_S = 0.001  # how often the event loop is asked for a turn while a big index is ranked
COMMAND = "python -m benchmarks.intent --markdown docs/reference/benchmarks-intent.md"


@cache
def requests() -> list[str]:
    """Public requests, all different."""
    return sorted({row["query"] for row in data_rows(DATA / "metatool", "queries_dev")})


def cards(count: int) -> dict[str, dict[str, Any]]:
    """Agents of ``SKILLS`` skills without examples; where requests do not suffice, two make a skill."""
    made = {}
    for number in range(count):
        said = [skill_text(number * SKILLS + at) for at in range(SKILLS)]
        skills = [
            {"name": f"{' '.join(words(one)[:3])} {at}", "description": one, "tags": ["work"]}
            for at, one in enumerate(said)
        ]
        made[f"agent-{number:05}"] = {"description": said[0], "skills": skills}
    return made


def kept(name: str, card: dict[str, Any]) -> str:
    """A card as the registry has it."""
    skills = [{"id": one["name"], **one} for one in card["skills"]]
    return msgspec.json.encode({"name": name, **card, "skills": skills}).decode()


def skill_text(number: int) -> str:
    """What the skill of that number does."""
    texts = requests()
    first = texts[number % len(texts)]
    return first if number < len(texts) else f"{first} {texts[number * 7919 % len(texts)]}"


@asynccontextmanager
async def broker() -> AsyncIterator[Broker]:
    """A broker that understands, on a fresh data directory."""
    folder = Path(tempfile.mkdtemp(prefix="mq9-bench-"))
    one = await start_broker(await open_engine(folder), encoder=Encoder(MiniLM))
    try:
        yield one
    finally:
        await one.close()
        shutil.rmtree(folder)


async def register(one: Broker, count: int) -> None:
    """Register agents, one after the other."""
    for name, card in cards(count).items():
        await one.call(CALLER, "agent_register", {"name": name, "card": {"name": name, **card}})


async def embedded(one: Broker) -> None:
    """Return when every agent can be found by meaning."""
    await one.agents.follow()
    await one.agents.index.settled()


async def timed(one: Broker, **arguments: Any) -> float:
    """The seconds of one send."""
    begin = time.perf_counter()
    await one.call(CALLER, "mailbox_send", {"text": BODY, **arguments})
    return time.perf_counter() - begin


async def sends(quick: bool) -> list[Row]:
    """By intent and by name, in turns, to 100 agents of 10 skills; every request is a new one."""
    plain, intent = [], []
    async with broker() as one:
        await register(one, 100)
        await embedded(one)
        for text in requests()[: 100 if quick else SENDS]:
            plain.append(await timed(one, to="agent-00000"))
            intent.append(await timed(one, intent={"text": f"Please help me with this: {text}"}))
    p50 = quantile(intent, 0.5)
    return [
        Row("plain send", f"p50 {quantile(plain, 0.5):.2f} ms, p99 {quantile(plain, 0.99):.2f} ms"),
        Row(
            "send by intent to 100 agents of 10 skills, embedding included",
            f"p50 {p50:.2f} ms, p99 {quantile(intent, 0.99):.2f} ms",
            "p50 6 ms",
            p50 <= 6,
        ),
    ]


class Numbers:
    """An engine that takes no time: any text is some direction."""

    model = Model("numbers", "1")

    def embed(self, texts: Sequence[str]) -> Vectors:
        """A vector of length 1 for each text."""
        seeds = (int.from_bytes(text_hash(text)[:8], "big") for text in texts)
        found = np.stack([np.random.default_rng(seed).standard_normal(384, np.float32) for seed in seeds])
        made: Vectors = found / np.linalg.norm(found, axis=1, keepdims=True)
        return made


async def ranking(quick: bool) -> list[Row]:
    """A big index, filled by what a broker fills it with."""
    agents = 1_000 if quick else 10_000
    encoder = Encoder(Numbers)
    await encoder.embed(["the memory of the engine itself does not count"])
    registry = {name: kept(name, card) for name, card in cards(agents).items()}
    gc.collect()
    before = memory_bytes()
    index = AgentIndex(encoder)
    index.follow(1, registry)
    await index.settled()
    gc.collect()
    memory = (memory_bytes() - before) / 1e6
    times: list[float] = []
    late: list[float] = []
    watching = asyncio.create_task(watch(late))
    for text in requests()[:-301:-1]:
        begin = time.perf_counter()
        await index.rank(text)
        times.append(time.perf_counter() - begin)
    watching.cancel()
    await index.close()
    p50, size = quantile(times, 0.5), f"{agents * SKILLS:,} skill vectors"
    return [
        Row(
            f"ranking {size}", f"p50 {p50:.1f} ms, p99 {quantile(times, 0.99):.1f} ms", "p50 25 ms", p50 <= 25
        ),
        Row(
            "the event loop is held up meanwhile",
            f"p99 {quantile(late, 0.99):.1f} ms, at most {quantile(late, 1):.1f} ms",
        ),
        Row(f"memory of {size}", f"{memory:.0f} MB", "250 MB", memory <= 250),
    ]


async def watch(late: list[float]) -> None:
    """Ask for a turn again and again, and note how much later it came."""
    while True:
        begin = time.perf_counter()
        await asyncio.sleep(TURN_S)
        late.append(time.perf_counter() - begin - TURN_S)


async def registering(quick: bool) -> list[Row]:
    """Many agents come; plain sends go on all the time."""
    agents = 50 if quick else 1_000
    async with broker() as one:
        await embedded(one)
        before = await at_pace(one, asyncio.create_task(asyncio.sleep(2 if quick else 10)))
        begin = time.perf_counter()
        during = await at_pace(one, asyncio.create_task(all_found(one, agents)))
        seconds = time.perf_counter() - begin
    usual, now = quantile(before, 0.5), quantile(during, 0.5)
    return [
        Row(
            f"registering {agents:,} agents of 10 skills, until all are found by meaning",
            f"{seconds:.1f} s",
            "60 s",
            seconds <= 60,
        ),
        Row("plain send before", f"p50 {usual:.2f} ms, p99 {quantile(before, 0.99):.2f} ms"),
        Row(
            "plain send meanwhile",
            f"p50 {now:.2f} ms ({now / usual:.2f} x), p99 {quantile(during, 0.99):.2f} ms",
            "p50 2 x",
            now <= 2 * usual,
        ),
    ]


async def all_found(one: Broker, agents: int) -> None:
    """Register agents, and wait until every one can be found by meaning."""
    await register(one, agents)
    await embedded(one)


async def at_pace(one: Broker, until: asyncio.Task[None]) -> list[float]:
    """Seconds of plain sends until that is done."""
    times = []
    while not until.done():
        times.append(await timed(one, to="bench"))
        await asyncio.sleep(PACE_S)
    await until
    return times


WORKS: dict[str, Callable[[bool], Coroutine[Any, Any, list[Row]]]] = {
    "ranking": ranking,
    "sends": sends,
    "registering": registering,
}


def main() -> int:
    """Run the works, print the table; exit code 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, to see that it runs")
    parser.add_argument("--only", choices=sorted(WORKS), action="append", help="one work; may be repeated")
    parser.add_argument("--markdown", type=Path, help="write the table to this file too")
    chosen = parser.parse_args()
    rows: list[Row] = []
    for name in chosen.only or list(WORKS):
        found = uvloop.run(WORKS[name](chosen.quick))
        print_table(found, header=not rows)
        rows += found
    if chosen.markdown:
        write_markdown(chosen.markdown, rows, COMMAND, "Benchmarks of intents")
    return 0 if all(row.reached is not False for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
