"""Requests that an agent served, put to the skills they are nearest to; what is far from all is left out.

So nobody becomes known for what his card does not speak of, whatever tasks he is given by friends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from mq9_mcp.routing.cards import Card, CardTexts
from mq9_mcp.routing.seam import Vectors
from mq9_mcp.routing.words import words

LEAST = 0.1  # the cosine to a skill of the card below which a request teaches nothing
Placed = Mapping[int, Sequence[str]]  # requests by the number of the skill


def placed_by_words(card: Card, requests: Sequence[str]) -> Placed:
    """Each request at the skill that shares the most words with it, if one does."""
    known = [
        set(
            words(
                " ".join([card.name, card.description, one.name, one.description, *one.tags, *one.examples])
            )
        )
        for one in card.skills
    ]
    placed: dict[int, list[str]] = defaultdict(list)
    for request in requests:
        asked = set(words(request))
        shared = [len(asked & some) for some in known]
        best = max(range(len(known)), key=lambda number: (shared[number], -number))
        if shared[best]:
            placed[best].append(request)
    return placed


def placed_by_meaning(texts: CardTexts, vectors: Mapping[str, Vectors], requests: Sequence[str]) -> Placed:
    """Each request at the skill that its card has nearest to it, if one is near."""
    if not requests:
        return {}
    import numpy as np

    from mq9_mcp.routing.skills import skill_rows

    asked = np.stack([vectors[request] for request in requests])
    skills = [row.vector for row in skill_rows(texts, vectors)]
    near = np.stack([np.add.reduce(asked * skill, axis=1, dtype=np.float64) for skill in skills])
    placed: dict[int, list[str]] = defaultdict(list)
    for request, best, most in zip(requests, near.argmax(0).tolist(), near.max(0).tolist(), strict=True):
        if most >= LEAST and request not in texts.skills[best].examples:
            placed[best].append(request)
    return placed


def with_learnt(texts: CardTexts, placed: Placed) -> CardTexts:
    """The texts of a card with requests beside its own examples."""
    skills = [
        one._replace(examples=(*one.examples, *placed.get(number, ())))
        for number, one in enumerate(texts.skills)
    ]
    return texts._replace(skills=tuple(skills))
