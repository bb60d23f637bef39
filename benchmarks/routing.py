"""How often routing finds the right agent, on public requests: ``python -m benchmarks.routing [--quick]``.

It ranks with what the broker ranks with. ``--quick`` asks fewer requests; ``--data`` names another folder
with files of the same names.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from benchmarks.routing_data import Asked, Trial, clinc150, livemcpbench, metatool
from benchmarks.table import Row, machine, write_markdown
from mq9_mcp.domain.names import LOCAL
from mq9_mcp.domain.outcome import Outcome, learnt_requests
from mq9_mcp.domain.registry import Match
from mq9_mcp.routing.cards import read_card, texts_of
from mq9_mcp.routing.embedding import MiniLM
from mq9_mcp.routing.keywords import Keywords
from mq9_mcp.routing.learnt import placed_by_meaning, with_learnt
from mq9_mcp.routing.ranking import Ranking
from mq9_mcp.routing.seam import Vectors
from mq9_mcp.routing.skills import skill_rows

DATA = Path(__file__).with_name("data")
SEEDS = (1, 2, 3)
QUICK = 600
KEPT = 0.95  # share of the requests in scope that is to be kept where strange ones are to be told


class Memory:
    """Each text is embedded once, whatever trial it is in."""

    def __init__(self) -> None:
        self._engine = MiniLM()
        self._known: dict[str, Vectors] = {}

    def embed(self, texts: Iterable[str]) -> Vectors:
        """A vector for each text."""
        found = []
        for text in texts:
            if text not in self._known:
                self._known[text] = self._engine.embed([text])[0]
            found.append(self._known[text])
        return np.stack(found)


class Score(NamedTuple):
    """Shares in percent: the right agent is first, or among three; kept and refused by the threshold."""

    first: float
    among_three: float
    kept: float  # requests in scope that are near enough
    refused: float  # requests out of scope that are not
    refused_at_kept: float  # the same with the threshold at which KEPT of those in scope pass
    skill_at_kept: float  # requests in scope that pass that threshold and find the right skill
    skill_of_kept: float  # of those that pass it, the ones that find the right skill


def rank(trial: Trial, memory: Memory) -> Callable[[str], dict[str, Match]]:
    """The ranking over the agents of a trial; they learn of what they served as a broker's agents do."""
    keywords, ranking = Keywords(), Ranking(384)
    for name, raw in trial.cards.items():
        card = read_card(msgspec.json.encode(raw).decode())
        texts = texts_of(card)
        learnt = learnt_requests(served(name, text) for text in trial.past.get(name, ()))
        vectors = {text: memory.embed([text])[0] for text in [*texts.all(), *learnt]}
        placed = placed_by_meaning(texts, vectors, learnt)
        ranking.skills.put(name, vectors[texts.head], skill_rows(with_learnt(texts, placed), vectors))
        keywords.learn(name, card, placed)
    return lambda text: ranking.rank(text, memory.embed([text])[0], keywords)


def served(agent: str, text: str) -> Outcome:
    """A task that the agent completed, asked by the one client of the trial."""
    return Outcome(agent, "client", LOCAL, LOCAL, False, True, 1_000, text)


def score(trial: Trial, memory: Memory, most: int | None, seed: int) -> Score:
    """How well the agents of a trial are found."""
    ranked = rank(trial, memory)
    requests = list(trial.requests)
    random.Random(seed).shuffle(requests)
    inside = [one for one in requests if one.right][:most]
    found = [ranked(one.text) for one in inside]
    places = [_place(one, made) for one, made in zip(inside, found, strict=True)]
    leads = [_lead(made) for made in found]
    skills = [_skill(made) == one.skill for one, made in zip(inside, found, strict=True)]
    strange = [_lead(ranked(one.text)) for one in requests if not one.right]
    least = sorted(leads)[int(len(leads) * (1 - KEPT))]
    near = [right for lead, right in zip(leads, skills, strict=True) if lead >= least]
    return Score(
        _percent(place < 1 for place in places),
        _percent(place < 3 for place in places),
        _percent(lead >= 0 for lead in leads),
        _percent(lead < 0 for lead in strange),
        _percent(lead < least for lead in strange),
        100 * sum(near) / len(leads),
        _percent(near),
    )


def _place(asked: Asked, found: dict[str, Match]) -> int:
    """How many agents stand before the first right one."""
    order = sorted(found, key=lambda name: (-found[name].score, name))
    places = [index for index, name in enumerate(order) if name in asked.right]
    return places[0] if places else len(found)


def _skill(found: dict[str, Match]) -> str | None:
    """The skill of the agent that stands first."""
    return found[min(found, key=lambda name: (-found[name].score, name))].skill


def _lead(found: dict[str, Match]) -> float:
    """How far the best skill is over what is needed."""
    return max((one.meaning or 0.0) - one.needed for one in found.values())


def _percent(values: Iterable[bool]) -> float:
    known = list(values)
    return 100 * sum(known) / len(known) if known else float("nan")


class Found(NamedTuple):
    """The score of one set of requests, and the share of right agents that it was to reach."""

    name: str
    score: Score
    goal: int

    @property
    def has_strangers(self) -> bool:
        """Whether there are requests out of scope."""
        return self.score.refused == self.score.refused

    def goals(self) -> tuple[str, str]:
        """What is to be reached where 95% are kept, as the table shows it: right skills, and refusals."""
        return (" (84)", " (77)") if self.name == WITH_GOALS else ("", "")


WITH_GOALS = "CLINC150, 5 examples"
HEAD = (
    "| requests | first (goal) | among three | kept | out of scope refused "
    "| at 95% kept: right skill, of the kept (goal), of all (goal) | out of scope refused (goal) |"
)


METATOOL = (  # name, most requests of a tool that are given, share of them that was served before, goal
    ("0 examples", 0, 0, 57),
    ("3 examples", 3, 0, 66),
    ("10 examples", 10, 0, 72),
    ("half of the requests past, 50 an agent at most", 50, 0.5, 82),
    ("four fifths of the requests past, 41 an agent in the mean", 1_000, 0.8, 82),
)


def measure(data: Path, most: int | None) -> Iterable[Found]:
    """The scores, in the order of the table."""
    memory = Memory()
    for part, goal in (("steps", 77), ("tasks", 63)):
        made = score(livemcpbench(data, part), memory, most, 1)
        yield Found(f"LiveMCPBench, {part}", made, goal)
    for name, examples, past, goal in METATOOL:
        trials = [metatool(data, examples, seed, past) for seed in SEEDS]
        scores = [score(trial, memory, most, seed) for trial, seed in zip(trials, SEEDS, strict=True)]
        yield Found(f"MetaTool, {name}", _mean(scores), goal)
    for examples, goal in ((0, 85), (5, 95), (10, 96)):
        scores = [score(clinc150(data, examples, seed), memory, most, seed) for seed in SEEDS]
        yield Found(f"CLINC150, {examples} examples", _mean(scores), goal)


def rows(found: Found) -> list[Row]:
    """What is said of one set of requests beside its goals."""
    made = found.score
    figure = f"{made.first:.1f}%, among three {made.among_three:.1f}%"
    told = [Row(f"{found.name}: right agent first", figure, f"{found.goal}%", made.first >= found.goal)]
    if found.name == WITH_GOALS:
        kept = f"{found.name}, 95% kept"
        parts = (
            ("right skill, of the kept", made.skill_of_kept, 84),
            ("right skill, of all", made.skill_at_kept, 84),
            ("out of scope refused", made.refused_at_kept, 77),
        )
        told += [
            Row(f"{kept}: {what}", f"{part:.1f}%", f"{goal}%", part >= goal) for what, part, goal in parts
        ]
    return told


def _mean(scores: list[Score]) -> Score:
    return Score(*(sum(values) / len(values) for values in zip(*scores, strict=True)))


def _line(found: Found) -> str:
    made = found.score
    parts = [found.name, f"{made.first:.1f} ({found.goal})", f"{made.among_three:.1f}", f"{made.kept:.0f}"]
    if found.has_strangers:
        skill, refused = found.goals()
        parts += [f"{made.refused:.0f}", f"{made.skill_of_kept:.1f}{skill}, {made.skill_at_kept:.1f}{skill}"]
        parts += [f"{made.refused_at_kept:.1f}{refused}"]
    return f"| {' | '.join([*parts, '', '', ''][:7])} |"


def main() -> None:
    """Print the table, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--markdown", type=Path, help="write what has a goal to this file too")
    given = parser.parse_args()
    print(machine(), "", HEAD, "|---|---|---|---|---|---|---|", sep="\n")
    reached: list[Row] = []
    for found in measure(given.data, QUICK if given.quick else None):
        print(_line(found), flush=True)
        reached += rows(found)
    if given.markdown:
        command = f"python -m benchmarks.routing {' '.join(sys.argv[1:])}".strip()
        write_markdown(given.markdown, reached, command, "Benchmarks of routing")


if __name__ == "__main__":
    main()
