"""The engine that ships: all-MiniLM-L6-v2 on ONNX Runtime; equal texts give equal vectors.

It works on one text at a time: with 8-bit numbers the scale of a calculation is that of all texts
in it, so in company a text would get another vector each time. Nothing is asked of the network.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mq9_mcp.routing.seam import MINILM as NAME
from mq9_mcp.routing.seam import CannotLoad, Model, Vectors
from mq9_mcp.routing.wordpiece import WordPiece

MINILM = Path(__file__).with_name("minilm")
MODEL_FILE, VOCABULARY_FILE, SUMS_FILE = "model.int8.onnx", "vocab.txt", "SHA256SUMS"
CHUNK_BYTES = 1024 * 1024


class MiniLM:
    """all-MiniLM-L6-v2 in 8-bit numbers, as it ships with the product."""

    side_by_side = True

    def __init__(self, folder: Path = MINILM) -> None:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # else its first import prepares to report to its makers
        try:
            import onnxruntime
        except ImportError as error:
            raise CannotLoad(f"onnxruntime cannot be imported: {error}") from error
        check_sums(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # beside a broker that has calls to answer
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(folder / MODEL_FILE), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the library has no kind of its own for what it cannot read
            raise CannotLoad(f"{folder / MODEL_FILE} cannot be used: {error}") from error
        self._tokens = WordPiece(folder / VOCABULARY_FILE)
        self.model = Model(NAME, _sums(folder)[MODEL_FILE][:12])

    def embed(self, texts: Sequence[str]) -> Vectors:
        """A vector of length 1 for each text."""
        return np.concatenate([self._embed(text) for text in texts])

    def _embed(self, text: str) -> Vectors:
        numbers = np.array([self._tokens.encode(text)], dtype=np.int32)
        inputs = {
            "input_ids": numbers,
            "token_type_ids": np.zeros_like(numbers),
            "attention_mask": np.ones_like(numbers),
        }
        found: Vectors = self._session.run(None, inputs)[0]
        return found


def check_sums(folder: Path) -> None:
    """Raise ``CannotLoad`` unless the model's files are those that the product was tested with."""
    try:
        for name, expected in _sums(folder).items():
            if _sum(folder / name) != expected:
                raise CannotLoad(f"{folder / name} is not the file that {SUMS_FILE} names")
    except OSError as error:
        raise CannotLoad(f"{error.filename}: {error.strerror}") from error


def _sums(folder: Path) -> dict[str, str]:
    lines = (folder / SUMS_FILE).read_text(encoding="ascii").splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def _sum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
