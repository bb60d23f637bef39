"""Where vectors outlive the process. They are no part of the truth: what cannot be had is made again."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from mq9_mcp.domain.errors import Unavailable
from mq9_mcp.routing.encoder import text_hash

if TYPE_CHECKING:  # numpy is slow to import: it comes with the engine, after the start
    from mq9_mcp.routing.seam import Model, Vectors


class Shelf(Protocol):
    """A memory of vectors; the engine is one."""

    async def find_vectors(
        self, model: str, version: str, hashes: Sequence[bytes]
    ) -> dict[bytes, Sequence[float]]:
        """Those of the texts with these hashes that are known."""

    async def keep_vectors(self, model: str, version: str, vectors: Mapping[bytes, Sequence[float]]) -> None:
        """Keep vectors by the hash of their text."""

    async def prune_vectors(self, model: str, version: str, hashes: Sequence[bytes]) -> None:
        """Keep only the vectors of this model and these texts."""


async def find(shelf: Shelf | None, model: Model, texts: Sequence[str]) -> dict[str, Vectors]:
    """The vectors of those texts that the shelf has."""
    import numpy as np

    if shelf is None:
        return {}
    hashes = {text_hash(text): text for text in texts}
    try:
        found = await shelf.find_vectors(*model, list(hashes))
    except Unavailable:
        return {}
    return {hashes[hash]: np.array(one, np.float32) for hash, one in found.items()}


async def keep(shelf: Shelf | None, model: Model, made: Mapping[str, Vectors]) -> bool:
    """Put vectors on the shelf; False if there were none, or it has no room."""
    if shelf is None or not made:
        return False
    try:
        kept = {text_hash(text): array("f", one.tobytes()) for text, one in made.items()}
        await shelf.keep_vectors(*model, kept)
    except Unavailable:
        return False
    return True
