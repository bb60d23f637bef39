"""What makes vectors stands behind this seam; every engine is one class with these two members."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:  # numpy is slow to import: whoever needs vectors now has it
    import numpy as np
    import numpy.typing as npt

Vectors: TypeAlias = "npt.NDArray[np.float32]"  # a row for each text, of length 1


class Model(NamedTuple):
    """Which vectors can be compared with each other: those of one model and version."""

    name: str
    version: str


MINILM = "all-MiniLM-L6-v2-int8"  # the model that ships


class Embedder(Protocol):
    """Makes vectors; called in a thread of its own, by one caller at a time.

    One that has a method ``patiently`` beside ``embed``, which makes the same of a text, may be called by it
    in several threads at once: for texts that nobody waits for.
    """

    @property
    def model(self) -> Model:
        """What the vectors are made by."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """A vector of length 1 for each text."""


class CannotLoad(Exception):
    """The engine cannot be used here; the message says why."""


Load = Callable[[], Embedder]
