"""The works of one run, in turns: ours, a peer, ours, the next peer; the ratio is of neighbouring turns."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from benchmarks.engine import floor, quantile
from benchmarks.peers.peer import WORKERS, Peer

BATCH = 100


class Size(NamedTuple):
    """How much of each work."""

    rounds: int
    seconds: float  # of sending, in a turn
    messages: int  # fetched one by one in a turn; five times as many in batches
    wakes: int
    pause_s: float  # before each message that wakes a consumer


WHOLE = Size(rounds=5, seconds=1.5, messages=2_000, wakes=100, pause_s=0.01)
QUICK = Size(rounds=1, seconds=0.2, messages=200, wakes=20, pause_s=0.005)


class Work(NamedTuple):
    """One kind of work, and how it is run on a peer: messages a second, or milliseconds."""

    name: str
    run: Callable[[Peer, Size], Awaitable[list[float]]]
    latency: bool = False


async def _send_one(peer: Peer, size: Size) -> list[float]:
    return [(await peer.sending(1, size.seconds)).rate]


async def _send_many(peer: Peer, size: Size) -> list[float]:
    return [(await peer.sending(WORKERS, size.seconds)).rate]


async def _drain(peer: Peer, workers: int, most: int, count: int) -> list[float]:
    await peer.fill(count)
    done = await peer.draining(workers, most, count)
    assert 0 < done.messages <= count, f"{peer.name} gave back {done.messages:,} of {count:,} messages"
    return [done.rate]


async def _drain_one(peer: Peer, size: Size) -> list[float]:
    return await _drain(peer, 1, 1, size.messages)


async def _drain_many(peer: Peer, size: Size) -> list[float]:
    return await _drain(peer, WORKERS, 1, size.messages)


async def _drain_batches(peer: Peer, size: Size) -> list[float]:
    return await _drain(peer, 1, BATCH, 5 * size.messages)


async def _wake(peer: Peer, size: Size) -> list[float]:
    return [seconds * 1000 for seconds in await peer.waking(size.wakes, size.pause_s)]


WORKS = (
    Work("send, one at a time", _send_one),
    Work(f"send, {WORKERS} at once", _send_many),
    Work("fetch and ack one by one, one consumer", _drain_one),
    Work(f"fetch and ack one by one, {WORKERS} consumers", _drain_many),
    Work(f"fetch and ack by {BATCH}, one consumer", _drain_batches),
    Work("send until a waiting consumer has it", _wake, latency=True),
)


class Turns:
    """What the turns of one work came to, for one peer and for ours beside it."""

    def __init__(self) -> None:
        self.ours: list[list[float]] = []
        self.theirs: list[list[float]] = []

    def middle(self, theirs: bool) -> float:
        """Messages a second, or milliseconds, in the middle turn."""
        return statistics.median(statistics.median(turn) for turn in (self.theirs if theirs else self.ours))

    def slow(self, theirs: bool) -> float:
        """The 99th percentile of all."""
        return quantile([one for turn in (self.theirs if theirs else self.ours) for one in turn], 0.99) / 1000

    def ratio(self) -> float:
        """Our figure in terms of theirs: the median of neighbouring turns."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return statistics.median(statistics.median(our) / statistics.median(their) for our, their in pairs)


class Measured(NamedTuple):
    """Everything that one run found."""

    floors: list[float]  # seconds of an fdatasync
    turns: dict[tuple[str, str], Turns]  # by work and peer
    versions: dict[str, str]
    absent: dict[str, str]  # peers that could not be measured, and why


@asynccontextmanager
async def opened(peer: Peer) -> AsyncIterator[Peer]:
    """The peer, ready; closed in the end."""
    await peer.open()
    try:
        yield peer
    finally:
        await peer.close()


async def measure(
    ours: dict[bool, Peer], peers: list[Peer], size: Size, told: Callable[[str], None]
) -> Measured:
    """All works on all peers, each beside the one of ours that is reached in the same way."""
    found = Measured([], defaultdict(Turns), {}, {})
    for peer in [*ours.values(), *peers]:
        found.versions[peer.name] = await peer.version()
    for number in range(size.rounds):
        told(f"round {number + 1} of {size.rounds}")
        found.floors.extend(floor(100))
        for work in WORKS:
            for peer in peers:
                turns = found.turns[work.name, peer.name]
                pair = [(ours[peer.in_process], turns.ours), (peer, turns.theirs)]
                for one, into in pair if number % 2 == 0 else reversed(pair):
                    await one.fresh()
                    into.append(await work.run(one, size))
                    await one.settled()
    return found
