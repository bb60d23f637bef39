"""All benchmarks, one after the other, and the one page over their pages: ``make bench``.

``python -m benchmarks.summary [NAME ...]`` runs those named, or all that need no environment of their own,
each in a process of its own, and writes ``docs/reference/benchmarks.md`` anew from the pages. ``--only-page``
runs none; ``--quick`` runs little of each, for a look: give it a ``--folder`` of its own.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
PAGE = "benchmarks.md"
GOALS = "| work | figure | to reach | |"
MEASURED = re.compile(r"^Measured on (\S+) with `([^`]+)` on (.+)\.$", re.MULTILINE)
INTRO = """# Benchmarks

`make bench` runs all but the last and writes this page from theirs: of each, what has a goal, marked where it
was missed. A figure is of one run, and what it is compared with is of the same run.
[Where the time goes](../why/performance.md) says why."""


class Benchmark(NamedTuple):
    """One benchmark: ``make bench-NAME`` runs it and writes its page."""

    name: str
    command: tuple[str, ...]
    alone: bool = False  # needs an environment of its own, so `make bench` leaves it out

    @property
    def page(self) -> str:
        """The file that it writes."""
        return f"benchmarks-{self.name}.md"

    @property
    def target(self) -> str:
        """What a person calls."""
        return f"make bench-{self.name}"


BENCHMARKS = (
    Benchmark("engine", ("benchmarks/engine.py",)),
    Benchmark("doors", ("benchmarks/doors.py",)),
    Benchmark("mcp", ("benchmarks/mcp.py",)),
    Benchmark("a2a", ("benchmarks/a2a.py",)),
    Benchmark("client", ("-m", "benchmarks.client")),
    Benchmark("bridge", ("-m", "benchmarks.bridge")),
    Benchmark("routing", ("-m", "benchmarks.routing", "--quick")),
    Benchmark("intent", ("-m", "benchmarks.intent")),
    Benchmark("peers", ("-m", "benchmarks.peers"), alone=True),
)


class Page(NamedTuple):
    """What the summary takes from a page."""

    title: str
    day: str
    command: str
    machine: str
    headline: list[str]  # lines of Markdown


def read_page(text: str) -> Page:
    """A page that a benchmark wrote: rows with a goal of a table of goals, any other table whole."""
    title = text.partition("\n")[0].removeprefix("# ")
    measured = MEASURED.search(text)
    assert measured is not None, f"{title}: no line says when and on what it was measured"
    day, command, machine = measured.groups()
    return Page(title, day, command, machine, _headline(text.partition("\n## ")[0]))


def _headline(text: str) -> list[str]:
    found: list[str] = []
    goals = False
    for line in text.splitlines():
        if line == GOALS:
            goals = True
        if line.startswith("|"):
            cells = line.split(" | ")
            if not goals or line in (GOALS, "|---|---|---|---|") or cells[2].strip():
                found.append(line)
        elif line.startswith("**") or (not line and found and found[-1]):
            found += [line] if not line else [line, ""]
            goals = False
    while found and not found[-1]:
        found.pop()
    return found


def summary(folder: Path) -> str:
    """The page over all pages in ``folder``."""
    pages = {one: read_page((folder / one.page).read_text(encoding="utf-8")) for one in BENCHMARKS}
    machines = list(dict.fromkeys(page.machine for page in pages.values()))
    lines = [INTRO, "", *(f"- Machine {at}: {name}" for at, name in enumerate(machines, 1)), ""]
    lines += ["| page | measured | machine | by | with |", "|---|---|---|---|---|"]
    for one, page in pages.items():
        cells = [f"[{page.title}]({one.page})", page.day, str(machines.index(page.machine) + 1)]
        lines.append(f"| {' | '.join([*cells, f'`{one.target}`', f'`{page.command}`'])} |")
    for one, page in pages.items():
        lines += ["", f"## {page.title}", "", *page.headline, "", f"[The whole page]({one.page})"]
    return "\n".join(lines) + "\n"


def run(one: Benchmark, folder: Path, quick: bool) -> bool:
    """Whether the benchmark wrote its page; a goal that was missed is marked there and is no failure."""
    page = folder / one.page
    before = page.stat().st_mtime_ns if page.exists() else None
    shown = page.relative_to(ROOT) if page.is_relative_to(ROOT) else page
    command = [sys.executable, *one.command, *(["--quick"] if quick and "--quick" not in one.command else [])]
    path = os.pathsep.join([str(ROOT), str(ROOT / "a2a")])
    begun = time.monotonic()
    print(f"-- {one.name}", flush=True)
    ended = subprocess.run(
        [*command, "--markdown", str(shown)], cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, check=False
    )
    print(f"-- {one.name}: {time.monotonic() - begun:.0f} s", flush=True)
    wrote = page.exists() and page.stat().st_mtime_ns != before
    return wrote and ended.returncode in (0, 1)


def main() -> int:
    """Run, write; exit code 1 if a benchmark did not come to its end."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.summary")
    names = [one.name for one in BENCHMARKS]
    parser.add_argument("names", nargs="*", choices=[[], *names], help=f"of {', '.join(names)}")
    parser.add_argument("--only-page", action="store_true", help="run none, write the page")
    parser.add_argument("--quick", action="store_true", help="little of each, to see that it runs")
    parser.add_argument("--folder", type=Path, default=REFERENCE, help="where the pages are")
    chosen = parser.parse_args()
    wanted = [one for one in BENCHMARKS if one.name in chosen.names or not (chosen.names or one.alone)]
    failed = (
        [] if chosen.only_page else [one.name for one in wanted if not run(one, chosen.folder, chosen.quick)]
    )
    if all((chosen.folder / one.page).exists() for one in BENCHMARKS):
        (chosen.folder / PAGE).write_text(summary(chosen.folder), encoding="utf-8")
    if failed:
        print(f"did not come to their end: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
