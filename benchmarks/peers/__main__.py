"""The same durable work on peers from the package registries, in turns with ours: ``make bench-peers``.

``python -m benchmarks.peers [--quick] [--only NAME] [--rounds N] [--markdown FILE]``. Every server listens on
127.0.0.1, has its data in a folder that goes afterwards, and is ended by its own process id.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from benchmarks.peers.jetstream import JetStream
from benchmarks.peers.ours import InProcess, OverRest
from benchmarks.peers.page import rows, write_page
from benchmarks.peers.peer import Peer
from benchmarks.peers.postgres import Postgres
from benchmarks.peers.server import Unavailable
from benchmarks.peers.sqlite_queue import SqliteQueue
from benchmarks.peers.streams import Streams
from benchmarks.peers.works import QUICK, WHOLE, Measured, Size, measure, opened
from benchmarks.table import print_table

PEERS = {
    "nats-always": lambda: JetStream(always=True),
    "nats": lambda: JetStream(always=False),
    "redis": Streams,
    "postgres": Postgres,
    "persist-queue": SqliteQueue,
}
RUN_MAX_S = 3_600


async def run(names: list[str], size: Size) -> tuple[Measured, list[Peer]]:
    """Open all, measure, close all; who cannot be had is told with the reason."""
    absent: dict[str, str] = {}
    peers: list[Peer] = []
    async with AsyncExitStack() as stack:
        for name in names:
            peer: Peer = PEERS[name]()
            try:
                peers.append(await stack.enter_async_context(opened(peer)))
            except Unavailable as why:
                absent[peer.name] = str(why)
        ours: dict[bool, Peer] = {
            way.in_process: await stack.enter_async_context(opened(way()))
            for way in (OverRest, InProcess)
            if any(peer.in_process == way.in_process for peer in peers)
        }
        async with asyncio.timeout(RUN_MAX_S):
            found = await measure(ours, peers, size, lambda line: print(line, file=sys.stderr))
    found.absent.update(absent)
    return found, peers


def main() -> int:
    """Measure, print, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.peers")
    parser.add_argument("--quick", action="store_true", help="a little of the work, to see that it runs")
    parser.add_argument("--only", choices=sorted(PEERS), action="append", help="one peer; may be repeated")
    parser.add_argument("--rounds", type=int, help=f"rounds of turns ({WHOLE.rounds})")
    parser.add_argument("--markdown", type=Path, help="write the page to this file too")
    chosen = parser.parse_args()
    size = QUICK if chosen.quick else WHOLE
    size = size._replace(rounds=chosen.rounds or size.rounds)
    found, peers = uvloop.run(run(chosen.only or list(PEERS), size))
    print_table(rows(found), header=True)
    if chosen.markdown:
        seams = [
            ("Through a server", OverRest.name, [peer.name for peer in peers if not peer.in_process]),
            ("Within one process", InProcess.name, [peer.name for peer in peers if peer.in_process]),
        ]
        command = f"python -m benchmarks.peers {' '.join(sys.argv[1:])}".strip()
        write_page(chosen.markdown, found, seams, command)
    return 0


if __name__ == "__main__":
    sys.exit(main())
