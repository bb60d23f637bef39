"""Where the skills nearest to a request have examples: whose examples is it like, and unlike the others'?

A kernel ridge regression over the examples of those few skills alone, made for each request anew: nothing
is trained ahead, a card that changes costs nothing here, and equal skills give an equal answer. Two
requests are alike in meaning (the closer the more) and in words; many copies of one count as one.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mq9_mcp.routing.seam import Vectors
from mq9_mcp.routing.words import words

SKILLS_MAX = 12  # that meet in a contest
SERVED_MAX = 16  # examples of one, those nearest to the request: a contest of so many takes 2 ms
SHARPNESS = 3.0  # how fast likeness in meaning fades
WORDS_SHARE = 0.3  # how much words count beside meaning
DOUBT = 0.2  # how far single examples are trusted: less with more of it
MARK_MOST = 127  # that a byte holds; a text of so many words at one place says nothing by them
WIDTH = 256  # of words as numbers; two words that share a number are told apart by others
Array = npt.NDArray[Any]


class Served(NamedTuple):
    """The text of a skill (the first row) and its examples, one by one."""

    vectors: Vectors
    words: Array  # counted in single bytes: an agent may have 150 examples


def served(text: Vectors, examples: Sequence[str], vectors: Mapping[str, Vectors]) -> Served:
    """What a skill brings to contests."""
    rows = np.stack([text, *(vectors[one] for one in examples)])
    return Served(rows, np.stack([np.zeros(WIDTH, np.int8), *map(word_marks, examples)]))


def alone(text: Vectors) -> Served:
    """The same for a skill without examples."""
    return Served(text[None], np.zeros((1, WIDTH), np.int8))


def word_marks(text: str) -> Array:
    """The words of a text as numbers: one more or less at the place of each."""
    numbers = np.array([zlib.crc32(word.encode()) for word in set(words(text))], np.int64)
    signs = (numbers >> 20 & 1) * 2 - 1
    counted = np.bincount(numbers % WIDTH, signs, WIDTH)
    marks: Array = counted.clip(-MARK_MOST, MARK_MOST).astype(np.int8)
    return marks


def contest(query: Vectors, marks: Array, sides: Sequence[Served]) -> list[float]:
    """How much the request is like what each side has served and the others have not; about 0 to 1."""
    known = [_nearest(side, query) for side in sides]
    rows = np.concatenate([one.vectors for one in known]).astype(np.float64)
    said, asked_words = _unit(np.concatenate([one.words for one in known])), _unit(marks)
    pairs = np.exp(SHARPNESS * (rows @ rows.T - 1)) + WORDS_SHARE * (said @ said.T)
    pairs[np.diag_indices(len(rows))] += DOUBT
    asked = np.exp(SHARPNESS * (rows @ query - 1)) + WORDS_SHARE * (said @ asked_words)
    weights = np.linalg.solve(pairs, asked)
    ends = np.cumsum([len(one.vectors) for one in known])
    return [float(part.sum()) for part in np.split(weights, ends[:-1])]


def _unit(marks: Array) -> Array:
    """Rows of length 1; those without words stay 0."""
    rows = marks.astype(np.float64)
    lengths = np.sqrt((rows * rows).sum(-1, keepdims=True))
    found: Array = rows / np.maximum(lengths, 1)
    return found


def _nearest(side: Served, query: Vectors) -> Served:
    """A side with no more requests than one skill brings."""
    if len(side.vectors) <= SERVED_MAX:
        return side
    chosen = np.sort(np.argsort(-(side.vectors @ query), kind="stable")[:SERVED_MAX])
    return Served(side.vectors[chosen], side.words[chosen])
