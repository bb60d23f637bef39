"""The public requests that routing is measured with, as agents with cards and requests with their answers."""

from __future__ import annotations

import gzip
import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

Row = dict[str, Any]


class Asked(NamedTuple):
    """A request, and the agents that are right for it (none: it is out of scope)."""

    text: str
    right: frozenset[str]
    skill: str | None = None  # the skill of theirs that is right, where it is known


class Trial(NamedTuple):
    """Agents by name with their cards, requests, and requests that agents served before, the newest first."""

    cards: dict[str, Row]
    requests: list[Asked]
    past: Mapping[str, Sequence[str]] = {}


def rows(folder: Path, name: str) -> list[Row]:
    """The rows of a file, packed or not."""
    packed = folder / f"{name}.jsonl.gz"
    if packed.exists():
        text = gzip.decompress(packed.read_bytes()).decode()
    else:
        text = (folder / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def metatool(data: Path, examples: int, seed: int, past: float = 0) -> Trial:
    """Requests for one of 199 tools; ``examples`` of each tool's requests stand in its card.

    With ``past`` they were served before instead, at most that share of a tool's requests, so that none is
    left without requests to be asked.
    """
    cards = {row["name"]: _bare(row) for row in rows(data / "metatool", "cards")}
    by_tool: dict[str, list[str]] = defaultdict(list)
    for row in rows(data / "metatool", "queries_dev"):
        by_tool[row["gold"][0]].append(row["query"])
    requests = []
    served: dict[str, Sequence[str]] = {}
    rng = random.Random(seed)
    for name, card in cards.items():
        texts = sorted(by_tool[name])
        rng.shuffle(texts)
        count = min(examples, int(len(texts) * past) if past else max(0, len(texts) - 1))
        if past:
            served[name] = texts[:count]
        elif count:
            skill = {"id": "all", "name": name, "description": card["description"]}
            card["skills"] = [{**skill, "examples": texts[:count]}]
        requests += [Asked(text, frozenset({name})) for text in texts[count:]]
    return Trial(cards, requests, served)


def livemcpbench(data: Path, part: str) -> Trial:
    """Requests for one of 70 servers with many tools each; ``part`` is steps or tasks."""
    cards = {}
    for row in rows(data / "livemcpbench", "cards"):
        skills = [{"id": one["name"], **one} for one in row["skills"]]
        cards[row["name"]] = {**_bare(row), "skills": skills}
    asked = rows(data / "livemcpbench", f"{part}_dev")
    return Trial(cards, [Asked(row["query"], frozenset(row["gold"])) for row in asked])


def clinc150(data: Path, examples: int, seed: int) -> Trial:
    """150 intents as the skills of ten agents, with requests that none of them serves."""
    by_intent: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows(data / "clinc150", "train"):
        by_intent[row["domain"], row["intent"]].append(row["query"])
    cards: dict[str, Row] = {}
    rng = random.Random(seed)
    for (domain, intent), texts in sorted(by_intent.items()):
        card = cards.setdefault(
            domain, {"name": domain, "description": domain.replace("_", " "), "skills": []}
        )
        rng.shuffle(texts)
        name = intent.replace("_", " ")
        card["skills"].append({"id": intent, "name": name, "description": name, "examples": texts[:examples]})
    asked = rows(data / "clinc150", "dev")
    return Trial(
        cards,
        [Asked(row["query"], frozenset({row["domain"]} & cards.keys()), row["intent"]) for row in asked],
    )


def _bare(row: Row) -> Row:
    return {"name": row["name"], "description": row["description"], "skills": []}
