"""The tables of a run of the peers: for the terminal, and as a page with what each peer guarantees."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from benchmarks.engine import quantile
from benchmarks.peers.works import WORKS, Measured, Turns, Work
from benchmarks.table import Row, machine

GUARANTEES = Path(__file__).with_name("guarantees.md")


def _speed(turns: Turns, work: Work, theirs: bool) -> str:
    if work.latency:
        return f"p50 {turns.middle(theirs):.2f} ms, p99 {turns.slow(theirs):.2f} ms"
    return f"{turns.middle(theirs):,.0f}/s"


def rows(found: Measured) -> list[Row]:
    """A line for each work and peer: theirs, ours beside it, and the ratio."""
    made = [Row("floor: fdatasync of 1 KB", _floor(found))]
    for (work_name, peer), turns in found.turns.items():
        [work] = [one for one in WORKS if one.name == work_name]
        ours, theirs = _speed(turns, work, False), _speed(turns, work, True)
        made.append(Row(f"{work_name}: {peer}", f"{theirs}; ours {ours} = {turns.ratio():.2f} x"))
    return [*made, *(Row(peer, f"not measured: {why}") for peer, why in found.absent.items())]


def _floor(found: Measured) -> str:
    return f"p50 {quantile(found.floors, 0.5):.3f} ms, p99 {quantile(found.floors, 0.99):.3f} ms"


def matrix(found: Measured, peers: list[str], ours: str) -> list[str]:
    """A table with a row for each peer, and ours first; each cell has the figure and what ours is of it."""
    lines = ["| | " + " | ".join(work.name for work in WORKS) + " |", "|---" * (len(WORKS) + 1) + "|"]
    for peer in [ours, *peers]:
        cells = [peer]
        for work in WORKS:
            if peer == ours:
                both = Turns()
                for one in peers:
                    both.ours += found.turns[work.name, one].ours
                cells.append(_speed(both, work, False))
            else:
                turns = found.turns[work.name, peer]
                cells.append(f"{_speed(turns, work, True)} ({turns.ratio():.2f} x)")
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def write_page(path: Path, found: Measured, seams: list[tuple[str, str, list[str]]], command: str) -> None:
    """The page: the machine, a table for each way in, who was absent, the guarantees."""
    versions = "; ".join(dict.fromkeys(found.versions.values()))
    lines = [
        "# Benchmarks beside peers",
        "",
        f"Measured on {datetime.now(UTC):%Y-%m-%d} with `{command}` on {machine()}.",
        "",
        f"{versions}. fdatasync of 1 KB: {_floor(found)}.",
        "",
        "Messages of 1 KiB. In brackets: our figure in terms of theirs, the median of neighbouring turns of",
        "the same run; of messages a second more is better for us, of milliseconds less.",
        "",
    ]
    for title, ours, peers in seams:
        if peers:
            lines += [f"**{title}**", "", *matrix(found, peers, ours)]
    lines += [f"Not measured: {peer}: {why}.\n" for peer, why in found.absent.items()]
    path.write_text("\n".join(lines) + "\n" + GUARANTEES.read_text(encoding="utf-8"), encoding="utf-8")
