"""What a host waits for when it starts ``mq9-mcp``, and what the process holds: start, memory, one call.

A start is measured from the process to the answer of the host's first request, in both protocol eras, with a
daemon that must be started and with one that runs; each figure is the median. ``--quick``: a look.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.table import Row, memory_bytes, print_table, write_markdown
from mq9_mcp.daemon import stop
from tests.bridge.host import NEW, OLD, Host

STARTS, CALLS = 9, 400
JOIN_MAX_S, START_MAX_S, MEMORY_MAX_MIB = 0.5, 5.0, 40
ERAS = {OLD: "handshake", NEW: "stateless"}


def opened(data: Path, version: str) -> tuple[Host, float]:
    """A host whose first request is answered, and the seconds until then."""
    begun = time.perf_counter()
    host = Host("--data", str(data), "--agent", "bench", version=version, MQ9_PORT="0")
    host.open()
    return host, time.perf_counter() - begun


def starts(data: Path, version: str, runs: bool, rounds: int) -> float:
    """The median of several starts."""
    seconds = []
    for _ in range(rounds):
        host, took = opened(data, version)
        seconds.append(took)
        host.end()
        if not runs:
            assert stop(data)
    return statistics.median(seconds)


def working(data: Path, version: str, calls: int) -> tuple[float, float]:
    """Seconds of one send through the bridge, and its memory in MiB after many of them."""
    host, _ = opened(data, version)
    host.text(host.call("mailbox_fetch"))
    seconds = []
    for at in range(calls):
        begun = time.perf_counter()
        host.text(host.call("mailbox_send", to="bench", text=f"message {at}"))
        seconds.append(time.perf_counter() - begun)
    memory = memory_bytes(host.process.pid) / 2**20
    host.end()
    return statistics.median(seconds), memory


def measure(data: Path, version: str, quick: bool) -> list[Row]:
    """The rows of one era."""
    era, rounds = ERAS[version], 3 if quick else STARTS
    started = starts(data, version, False, rounds)
    keeps, _ = opened(data, version)
    joined = starts(data, version, True, rounds)
    call_s, memory = working(data, version, 50 if quick else CALLS)
    keeps.end()
    assert stop(data)
    return [
        Row(
            f"{era}: start, the daemon must be started",
            f"{started:.2f} s",
            f"{START_MAX_S:g} s",
            started <= START_MAX_S,
        ),
        Row(f"{era}: start, the daemon runs", f"{joined:.2f} s", f"{JOIN_MAX_S:g} s", joined <= JOIN_MAX_S),
        Row(
            f"{era}: memory after {50 if quick else CALLS} sends",
            f"{memory:.0f} MiB",
            f"{MEMORY_MAX_MIB} MiB",
            memory <= MEMORY_MAX_MIB,
        ),
        Row(f"{era}: mailbox_send, from line to line", f"{call_s * 1000:.1f} ms"),
    ]


def main() -> int:
    """Measure, print, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer starts and calls")
    parser.add_argument("--markdown", type=Path, help="write the table to this file too")
    chosen = parser.parse_args()
    rows: list[Row] = []
    for version in ERAS:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(Path(folder) / "data", version, chosen.quick)
        print_table(found, header=not rows)
        rows += found
    if chosen.markdown:
        command = f"python -m benchmarks.bridge {' '.join(sys.argv[1:])}".strip()
        write_markdown(chosen.markdown, rows, command, "Benchmarks of the bridge")
    return 0


if __name__ == "__main__":
    sys.exit(main())
