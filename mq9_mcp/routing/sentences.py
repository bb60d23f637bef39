"""Any model of the sentence-transformers library, by name or path; it comes with an extra, not by itself.

A name may be asked of the network by that library, unless HF_HUB_OFFLINE=1 says no; a path never is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mq9_mcp.routing.seam import CannotLoad, Model, Vectors

EXTRA = "pip install 'mq9-mcp[sentence-transformers]'"
PROBE = "Which numbers this model makes of one text tells it from others of the same name."


class Sentences:
    """A model of sentence-transformers, on the processor."""

    def __init__(self, name: str) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise CannotLoad(f"sentence-transformers cannot be imported ({error}); {EXTRA}") from error
        try:
            self._model: Any = SentenceTransformer(name, device="cpu")
            [probe] = self.embed([PROBE])
        except Exception as error:  # the library has no kind of its own for what it cannot load
            raise CannotLoad(f"the model {name!r} cannot be used: {error}") from error
        version = hashlib.blake2b(np.round(probe, 3).tobytes(), digest_size=6).hexdigest()
        self.model = Model(f"sentence-transformers:{name}", version)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """A vector of length 1 for each text."""
        found = self._model.encode(
            list(texts), normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        )
        return np.asarray(found, np.float32)
