"""Which engine makes vectors, as the setting ``embedding`` says; each is imported when it is loaded."""

from __future__ import annotations

from functools import partial

from mq9_mcp.routing.seam import Embedder, Load
from mq9_mcp.settings import SENTENCES


def embedder(name: str) -> Load | None:
    """What loads the engine, when callers are answered already; None where keywords alone are wanted."""
    if name == "keywords":
        return None
    return _minilm if name == "minilm" else partial(_sentences, name.removeprefix(SENTENCES))


def _minilm() -> Embedder:
    from mq9_mcp.routing.embedding import MiniLM  # slow to import

    return MiniLM()


def _sentences(name: str) -> Embedder:
    from mq9_mcp.routing.sentences import Sentences  # slow to import, from an extra

    return Sentences(name)
