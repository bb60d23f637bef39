"""Which engine makes vectors, as the setting ``embedding`` says; each is imported when it is loaded."""

from __future__ import annotations

from functools import partial

from mq9_mcp.routing.seam import MINILM, Embedder, Load
from mq9_mcp.settings import SENTENCES


def embedder(name: str) -> Load | None:
    """What loads the engine, when callers are answered already; None where keywords alone are wanted."""
    if name == "keywords":
        return None
    return _minilm if name == "minilm" else partial(_sentences, name.removeprefix(SENTENCES))


def formerly(model: str) -> Load | None:
    """What loads the engine whose vectors were kept under this name."""
    if model.startswith(SENTENCES):
        return embedder(model)
    return _minilm if model == MINILM else None


def _minilm() -> Embedder:
    from mq9_mcp.routing.embedding import MiniLM  # slow to import

    return MiniLM()


def _sentences(name: str) -> Embedder:
    from mq9_mcp.routing.sentences import Sentences  # slow to import, from an extra

    return Sentences(name)
