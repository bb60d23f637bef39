"""Every benchmark can be called and has its page; the page over all and the page of the peers come out right.

Nothing is measured here.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict
from pathlib import Path

import pytest

from benchmarks.peers.page import GUARANTEES, rows, write_page
from benchmarks.peers.peer import Peer
from benchmarks.peers.works import WORKS, Measured, Turns
from benchmarks.summary import BENCHMARKS, PAGE, REFERENCE, ROOT, Benchmark, read_page, summary
from benchmarks.table import Row, write_markdown

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
OURS, THEIRS = "ours", "theirs"


def measured(our: float, their: float) -> Measured:
    """Two rounds of each work; the second was twice as fast for both."""
    turns: dict[tuple[str, str], Turns] = defaultdict(Turns)
    for work in WORKS:
        for factor in (1, 2):
            turns[work.name, THEIRS].ours.append([our * factor])
            turns[work.name, THEIRS].theirs.append([their * factor])
    return Measured(
        [0.0001, 0.0003], turns, {OURS: "ours 1", THEIRS: "theirs 2"}, {"third": "it is not there"}
    )


class InMemory(Peer):
    """A queue that loses all: enough to see that the works count right."""

    name = "in memory"

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[int] = asyncio.Queue()
        self.sent = 0
        self.most = 0

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def version(self) -> str:
        return "0"

    async def fresh(self) -> None:
        self.waiting = asyncio.Queue()

    async def send(self) -> None:
        self.sent += 1
        await self.waiting.put(self.sent)
        await asyncio.sleep(0)

    async def fill(self, count: int) -> None:
        for _ in range(count):
            await self.send()

    async def work(self, worker: int, most: int) -> int:  # noqa: ARG002 - any worker is like another
        self.most = most
        got = min(most, self.waiting.qsize())
        for _ in range(got):
            self.waiting.get_nowait()
        await asyncio.sleep(0)
        return got

    async def receive(self) -> float:
        await self.waiting.get()
        return time.perf_counter()


def rows_of(page: str) -> dict[str, list[str]]:
    """The cells of every table row, by the first cell."""
    lines = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("|")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


@pytest.mark.parametrize("one", BENCHMARKS, ids=lambda one: one.name)
def test_a_benchmark_has_its_target_its_program_and_its_page(one: Benchmark) -> None:
    program = one.command[0] if one.command[0] != "-m" else one.command[1].replace(".", "/")
    assert any((ROOT / (program + end)).is_file() for end in ("", ".py", "/__main__.py"))
    recipe = re.search(
        rf"^bench-{one.name}: .*\n\t@\$\((BIN|PEERS)\)\S* -m benchmarks.summary (\S+)$", MAKEFILE, re.M
    )
    assert recipe is not None
    assert recipe[2] == one.name
    assert (recipe[1] == "PEERS") is one.alone
    assert read_page((REFERENCE / one.page).read_text(encoding="utf-8")).headline


def test_make_bench_runs_all_that_need_no_environment_of_their_own() -> None:
    targets = set(re.findall(r"^bench-(\w+):", MAKEFILE, re.M))
    assert targets == {one.name for one in BENCHMARKS}
    assert re.search(r"^bench: .*\n\t@\$\(BIN\)/python -m benchmarks.summary$", MAKEFILE, re.M)
    assert [one.name for one in BENCHMARKS if one.alone] == ["peers"]


def test_the_page_over_all_pages_is_fresh() -> None:
    assert (REFERENCE / PAGE).read_text(encoding="utf-8") == summary(REFERENCE), (
        "run: python -m benchmarks.summary --only-page"
    )


def test_the_summary_keeps_what_has_a_goal_and_says_where_and_when(tmp_path: Path) -> None:
    made = [
        Row("slow", "9 s", "5 s", False),
        Row("quick", "1 s", "5 s", True),
        Row("only told", "3 s"),
    ]
    for one in BENCHMARKS:
        write_markdown(tmp_path / one.page, made, f"run {one.name}", f"Benchmarks of {one.name}")
    page = summary(tmp_path)
    cells = rows_of(page)
    assert cells["slow"] == ["9 s", "5 s", "MISSED"]
    assert cells["quick"] == ["1 s", "5 s", "reached"]
    assert "only told" not in cells
    assert page.count("- Machine ") == 1
    for one in BENCHMARKS:
        told = cells[f"[Benchmarks of {one.name}]({one.page})"]
        assert told[1:] == ["1", f"`make bench-{one.name}`", f"`run {one.name}`"]


def test_pages_of_two_machines_are_told_apart(tmp_path: Path) -> None:
    for one in BENCHMARKS:
        write_markdown(tmp_path / one.page, [Row("work", "1 s", "2 s", True)], "run", one.name)
    first = tmp_path / BENCHMARKS[0].page
    first.write_text(re.sub(r" on [^`]+\.$", " on a toaster.", first.read_text(), flags=re.M))
    page = summary(tmp_path)
    assert "- Machine 1: a toaster\n- Machine 2: " in page
    assert rows_of(page)[f"[{BENCHMARKS[1].name}]({BENCHMARKS[1].page})"][1] == "2"


def test_a_page_that_says_no_machine_is_refused() -> None:
    with pytest.raises(AssertionError, match="no line says"):
        read_page("# Title\n\n| work |\n")


def test_the_page_of_the_peers_has_figures_ratios_and_guarantees(tmp_path: Path) -> None:
    page = tmp_path / "peers.md"
    write_page(page, measured(300.0, 100.0), [("A way", OURS, [THEIRS]), ("None", OURS, [])], "run")
    text = page.read_text(encoding="utf-8")
    cells = rows_of(text)
    assert cells[OURS][0] == "450/s"
    assert cells[THEIRS][0] == "150/s (3.00 x)"
    assert cells[THEIRS][-1] == "p50 150.00 ms, p99 200.00 ms (3.00 x)"
    assert "Not measured: third: it is not there." in text
    assert "ours 1; theirs 2" in text
    assert "None" not in text.partition("## ")[0]
    assert text.endswith(GUARANTEES.read_text(encoding="utf-8"))
    headline = read_page(text).headline
    assert headline[0] == "**A way**"
    assert [line.split(" | ")[0] for line in headline[4:]] == [f"| {OURS}", f"| {THEIRS}"]


def test_the_rows_of_the_peers_say_theirs_ours_and_who_is_absent() -> None:
    told = {row.work: row.figure for row in rows(measured(50.0, 100.0))}
    assert told[f"{WORKS[0].name}: {THEIRS}"] == "150/s; ours 75/s = 0.50 x"
    assert told["third"] == "not measured: it is not there"


def test_every_guarantee_has_its_source() -> None:
    text = GUARANTEES.read_text(encoding="utf-8")
    named = set(re.findall(r"\[(\d+)\]", re.sub(r"^- \[\d+\].*(?:\n  .*)*", "", text, flags=re.M)))
    listed = re.findall(r"^- \[(\d+)\]", text, re.M)
    assert listed == [str(at) for at in range(1, len(listed) + 1)]
    assert named == set(listed)


def test_the_works_count_what_was_done() -> None:
    async def body() -> None:
        peer = InMemory()
        sent = await peer.sending(16, 0.005)
        assert sent.messages == peer.sent >= 16
        assert sent.rate == sent.messages / sent.seconds
        await peer.fresh()
        await peer.fill(250)
        drained = await peer.draining(3, 100, 250)
        assert (drained.messages, peer.most, peer.waiting.qsize()) == (250, 100, 0)
        assert (await peer.draining(2, 1, 10)).messages == 0
        assert len([one for one in await peer.waking(5, 0) if one > 0]) == 5

    asyncio.run(body())
