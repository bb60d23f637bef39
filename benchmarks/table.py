"""The table that every benchmark prints, and the machine it was measured on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from mq9_mcp import __version__

WIDTHS = (66, 52, 12)


class Row(NamedTuple):
    """One measured line: what, the figure, what it was to reach, and whether it did."""

    work: str
    figure: str
    goal: str = ""
    reached: bool | None = None


def memory_bytes(pid: int | None = None) -> int:
    """Resident memory in bytes of this process, or of another."""
    status = Path(f"/proc/{pid or 'self'}/status")
    if status.exists():
        found = re.search(r"VmRSS:\s+(\d+) kB", status.read_text())
        assert found is not None
        return int(found[1]) * 1024
    told = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(pid or os.getpid())], check=True, capture_output=True, text=True
    )
    return int(told.stdout) * 1024


VERSIONS = ("duckdb", "msgspec", "uvloop", "aiohttp", "uvicorn", "starlette", "mcp", "a2a-sdk")


def machine() -> str:
    """Processor, cores, memory, system and versions, in one line: what every page says of its run."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"model name\s+: (.+)", info.read_text())
        cpu = found[1] if found else cpu
    versions = ", ".join([f"mq9-mcp {__version__}", *(f"{name} {version(name)}" for name in VERSIONS)])
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    python = f"Python {platform.python_version()}"
    return f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB; {system}; {python}, {versions}"


def print_table(rows: list[Row], header: bool) -> None:
    """Print rows in columns; with ``header``, the machine and the column names first."""
    if header:
        print(machine())
        print(_line("work", "figure", "to reach", ""))
    for row in rows:
        print(_line(row.work, row.figure, row.goal, _mark(row)), flush=True)


def _mark(row: Row) -> str:
    return {True: "reached", False: "MISSED", None: ""}[row.reached]


def _line(*cells: str) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=False)]
    return "  ".join([*padded, *cells[len(WIDTHS) :]]).rstrip()


def write_markdown(path: Path, rows: list[Row], command: str, title: str) -> None:
    """Write the table as a page, with the machine, the day and the command that measured it."""
    lines = [
        f"# {title}",
        "",
        f"Measured on {datetime.now(UTC):%Y-%m-%d} with `{command}` on {machine()}.",
        "",
        "| work | figure | to reach | |",
        "|---|---|---|---|",
        *(f"| {row.work} | {row.figure} | {row.goal} | {_mark(row)} |" for row in rows),
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
