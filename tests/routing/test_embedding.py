"""The engine that ships: its files are whole, its numbers right, and its absence is said."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mq9_mcp.domain.errors import Unavailable
from mq9_mcp.routing.embedding import MINILM, MODEL_FILE, SUMS_FILE, MiniLM
from mq9_mcp.routing.encoder import REMEMBERED_MAX, Encoder
from mq9_mcp.routing.seam import CannotLoad, Model, Vectors
from mq9_mcp.routing.wordpiece import WordPiece
from tests.house.source import ROOT

REFUND = "Please give me my money back for order 7."


@pytest.fixture(scope="module")
def engine() -> MiniLM:
    """The engine; loading it is dear."""
    return MiniLM()


def test_the_model_comes_with_its_licence_and_sums() -> None:
    for line in (MINILM / SUMS_FILE).read_text(encoding="ascii").splitlines():
        digest, name = line.split()
        assert hashlib.sha256((MINILM / name).read_bytes()).hexdigest() == digest
    assert "Apache License" in (MINILM / "LICENSE").read_text(encoding="utf-8")
    assert "all-MiniLM-L6-v2" in (MINILM / "NOTICE").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Hello, world!", [101, 7592, 1010, 2088, 999, 102]),
        ("unaffable", [101, 14477, 20961, 3468, 102]),
        ("Café  CAFE\u0301\tcafe", [101, 7668, 7668, 7668, 102]),
        ("日本", [101, 1864, 1876, 102]),
        ("a\x00b\u200dc\ufffd", [101, 5925, 102]),
        ("", [101, 102]),
        ("x" * 101, [101, 100, 102]),
    ],
)
def test_pieces_are_those_that_the_model_was_trained_with(text: str, pieces: list[int]) -> None:
    assert WordPiece(MINILM / "vocab.txt").encode(text) == pieces


def test_a_long_text_is_cut_and_no_text_fails() -> None:
    tokens = WordPiece(MINILM / "vocab.txt", 16)
    assert len(tokens.encode("word " * 100_000)) == 16
    rng = random.Random(3)
    for _ in range(300):
        text = "".join(chr(rng.randrange(0x110000)) for _ in range(60))
        assert 2 <= len(tokens.encode(text)) <= 16


def test_vectors_have_length_1_and_meaning(engine: MiniLM) -> None:
    near, far, asked = engine.embed(
        ["Refunds: returns payments to customers", "Weather: tells tomorrow's rain", REFUND]
    )
    assert near.shape == (384,)
    assert np.linalg.norm(near) == pytest.approx(1, abs=1e-5)
    assert float(asked @ near) > 0.4 > 0.2 > float(asked @ far)


def test_a_text_has_the_same_vector_in_any_company(engine: MiniLM) -> None:
    alone = engine.embed([REFUND])[0]
    assert np.array_equal(engine.embed(["x", REFUND, "A much longer text. " * 20])[1], alone)


def test_a_text_has_the_same_vector_whoever_waits_for_it(engine: MiniLM) -> None:
    texts = [REFUND, "", "日本の天気", "long words of many kinds " * 200]
    with ThreadPoolExecutor(2) as pool:
        patient = list(pool.map(lambda text: engine.patiently([text])[0], texts * 4))
    for soon, later in zip(engine.embed(texts * 4), patient, strict=True):
        assert soon.tobytes() == later.tobytes(), "however many threads share a calculation"


def test_files_that_are_not_whole_are_not_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(MINILM, folder)
    (folder / MODEL_FILE).write_bytes(b"half")
    with pytest.raises(CannotLoad, match="is not the file"):
        MiniLM(folder)
    (folder / "vocab.txt").unlink()
    (folder / MODEL_FILE).unlink()
    with pytest.raises(CannotLoad, match="No such file"):
        MiniLM(folder)


def test_a_broker_starts_without_the_engine() -> None:
    """What is slow to import is imported when it is needed, after the start."""
    code = "import sys, mq9_mcp.serve; print([n for n in ('numpy', 'onnxruntime') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


# -- off the event loop


class Counted:
    """An engine that counts what it is asked, and fails at some texts."""

    model = Model("counted", "1")

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        if "fail" in texts:
            raise ValueError("no such text")
        if "odd" in texts:
            return np.full((1, 4), np.nan, np.float32)
        return np.array([[len(text), 0, 0, 1] for text in texts], np.float32)


def test_a_text_is_embedded_once_and_a_failure_hurts_nobody_else() -> None:
    engine = Counted()

    async def body() -> None:
        encoder = Encoder(lambda: engine)
        try:
            one, two = await encoder.embed(["a", "bb"])
            assert (one[0], two[0]) == (1, 2)
            assert np.array_equal(await encoder.embed(["bb", "a"]), [two, one])
            assert engine.asked == ["a", "bb"]
            for text in ("fail", "odd"):
                with pytest.raises(Unavailable, match="could not be embedded"):
                    await encoder.embed([text])
            await encoder.embed([str(number) for number in range(REMEMBERED_MAX)])
            await encoder.embed(["a"])
            assert engine.asked.count("a") == 2, "the oldest was forgotten"
        finally:
            encoder.close()

    asyncio.run(body())


def test_the_urgent_come_before_the_patient() -> None:
    begun, gate = threading.Event(), threading.Event()

    class Held(Counted):
        def embed(self, texts: Sequence[str]) -> Vectors:
            begun.set()
            assert gate.wait(30)
            return super().embed(texts)

    engine = Held()

    async def body() -> None:
        encoder = Encoder(lambda: engine)
        patient = asyncio.ensure_future(encoder.embed(["p0", "p1", "p2"], patient=True))
        await asyncio.to_thread(begun.wait)
        urgent = asyncio.ensure_future(encoder.embed(["urgent"]))
        await asyncio.sleep(0)  # it is in line now
        gate.set()
        await asyncio.gather(patient, urgent)
        encoder.close()

    asyncio.run(body())
    assert engine.asked == ["p0", "urgent", "p1", "p2"]


def test_without_an_engine_it_says_why() -> None:
    def load() -> Counted:
        raise CannotLoad("no such library")

    async def body() -> None:
        encoder = Encoder(load)
        assert await encoder.ready() is None
        assert encoder.trouble == "no such library"
        with pytest.raises(Unavailable, match="no such library"):
            await encoder.embed(["a"])
        encoder.close()
        encoder.close()

    asyncio.run(body())


def test_the_library_below_reports_nothing_to_its_makers(tmp_path: Path) -> None:
    """Its telemetry would leave a session file and a device id at the first import, before it sends."""
    script = "from mq9_mcp.routing.embedding import MiniLM; print(MiniLM().embed(['a']).shape)"
    places = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
    inherited = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    ended = subprocess.run(
        [sys.executable, "-B", "-c", script],
        env={
            **inherited,
            **dict.fromkeys(places, str(tmp_path)),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'a2a'}",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stdout == "(1, 384)\n", ended.stderr
    assert list(tmp_path.rglob("*")) == []
