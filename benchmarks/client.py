"""What the Python client adds to the same HTTP call made with the library that it uses: ratios of one run.

Both arms call one server, in turns, so that whatever else the machine does slows both. ``--quick``: a look.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import msgspec

from benchmarks.table import Row, print_table, write_markdown
from mq9_mcp.client import Mq9Client
from tests.client.serving import serving

TURNS = 15
CALLS = 400  # in a turn of one arm
CALLERS = (1, 16)
ADDED_MAX = 1.3
IMPORT_MAX_S = 0.3
_IMPORT = "import time; t = time.perf_counter(); import mq9_mcp.client; print(time.perf_counter() - t)"

Call = Callable[[], Awaitable[object]]


async def turn(call: Call, callers: int, calls: int) -> float:
    """Seconds for so many calls."""

    async def caller() -> None:
        for _ in range(calls // callers):
            await call()

    begun = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return time.perf_counter() - begun


async def compare(work: str, raw: Call, ours: Call, quick: bool) -> list[Row]:
    """The median of ratios of neighbouring turns, for every number of callers."""
    rows = []
    turns, calls = (5, 200) if quick else (TURNS, CALLS)
    for callers in CALLERS:
        await turn(raw, callers, calls), await turn(ours, callers, calls)
        pairs = [(await turn(raw, callers, calls), await turn(ours, callers, calls)) for _ in range(turns)]
        ratio = statistics.median(ours_s / raw_s for raw_s, ours_s in pairs)
        raw_us, ours_us = (statistics.median(one) / calls * 1e6 for one in zip(*pairs, strict=True))
        figure = f"{ours_us:,.0f} us a call = {ratio:.2f} x raw ({raw_us:,.0f} us)"
        rows.append(Row(f"{work}, {callers} at once", figure, f"{ADDED_MAX} x", ratio <= ADDED_MAX))
    return rows


async def calls(url: str, quick: bool) -> list[Row]:
    """Both arms on one server."""
    body = msgspec.json.encode({"address": "jobs"})
    keys = itertools.count()
    headers = {"content-type": "application/json", "mq9-agent": "bench"}
    async with Mq9Client(url, agent="bench") as client, aiohttp.ClientSession(headers=headers) as http:
        await client.mailbox_create(address="jobs")

        async def raw(command: str, data: bytes) -> bytes:
            async with http.post(f"{url}/v1/{command}", data=data) as response:
                assert response.status == 200
                return await response.read()

        def raw_send() -> Awaitable[bytes]:  # with a key of its own, as the client's
            return raw("mailbox_send", b'{"to":"jobs","text":"hello","dedup_key":"%032x"}' % next(keys))

        got = await compare(
            "mailbox_get", lambda: raw("mailbox_get", body), lambda: client.mailbox_get(address="jobs"), quick
        )
        sent = await compare(
            "mailbox_send", raw_send, lambda: client.mailbox_send(to="jobs", text="hello"), quick
        )
    return [*got, *sent]


def importing() -> Row:
    """The best of five imports, each in a fresh process."""
    command = [sys.executable, "-c", _IMPORT]
    took = min(float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(5))
    goal = f"{IMPORT_MAX_S * 1000:.0f} ms"
    return Row("import mq9_mcp.client", f"{took * 1000:.0f} ms", goal, took < IMPORT_MAX_S)


def main() -> int:
    """Measure, print, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer calls")
    parser.add_argument("--markdown", type=Path, help="write the table to this file too")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "data") as server:
        rows = asyncio.run(calls(server.url, chosen.quick))
    rows.append(importing())
    print_table(rows, header=True)
    if chosen.markdown:
        command = f"python -m benchmarks.client {' '.join(sys.argv[1:])}".strip()
        write_markdown(chosen.markdown, rows, command, "Benchmarks of the Python client")
    return 0


if __name__ == "__main__":
    sys.exit(main())
