"""The engine that ships: all-MiniLM-L6-v2 on ONNX Runtime; equal texts give equal vectors.

It works on one text at a time: with 8-bit numbers the scale of a calculation is that of all texts
in it, so in company a text would get another vector each time. How many threads share a calculation
changes no number of it. Nothing is asked of the network.
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
QUICKLY = min(os.cpu_count() or 1, 2)  # threads that share a text that is waited for


class MiniLM:
    """all-MiniLM-L6-v2 in 8-bit numbers, as it ships with the product."""

    def __init__(self, folder: Path = MINILM) -> None:
        check_sums(folder)
        self._quick = _session(folder / MODEL_FILE, QUICKLY)
        self._slow = _session(folder / MODEL_FILE, 1)
        self._tokens = WordPiece(folder / VOCABULARY_FILE)
        self.model = Model(NAME, _sums(folder)[MODEL_FILE][:12])

    def embed(self, texts: Sequence[str]) -> Vectors:
        """A vector of length 1 for each text, soon."""
        return np.concatenate([self._embed(self._quick, text) for text in texts])

    def patiently(self, texts: Sequence[str]) -> Vectors:
        """The same in the thread that calls and no other, so that its priority holds."""
        return np.concatenate([self._embed(self._slow, text) for text in texts])

    def _embed(self, session: Any, text: str) -> Vectors:
        numbers = np.array([self._tokens.encode(text)], dtype=np.int32)
        inputs = {
            "input_ids": numbers,
            "token_type_ids": np.zeros_like(numbers),
            "attention_mask": np.ones_like(numbers),
        }
        found: Vectors = session.run(None, inputs)[0]
        return found


def _session(model: Path, threads: int) -> Any:
    """The model, ready to run; raises ``CannotLoad``."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # else its first import prepares to report to its makers
    try:
        import onnxruntime
    except ImportError as error:
        raise CannotLoad(f"onnxruntime cannot be imported: {error}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")  # between texts all threads sleep
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library has no kind of its own for what it cannot read
        raise CannotLoad(f"{model} cannot be used: {error}") from error


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
