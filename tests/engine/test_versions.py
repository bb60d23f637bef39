"""Data of every earlier version opens, and answers what it answered then."""

from __future__ import annotations

import asyncio
import json
import tarfile
from pathlib import Path

import pytest

from mq9_mcp.domain.events import RECORD_VERSION
from mq9_mcp.engine.embedded.tables import SCHEMA_VERSION
from tests.engine.versions import ANSWERS, DATA, FOLDER, ask_all

ARCHIVES = sorted(FOLDER.glob("v*.tar.gz"))


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name)
def test_data_of_an_earlier_version_answers_as_it_did(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    recorded = json.loads((tmp_path / ANSWERS).read_text(encoding="utf-8"))
    answers = asyncio.run(ask_all(tmp_path / DATA, recorded["calls"]))
    for call, expected, answer in zip(recorded["calls"], recorded["answers"], answers, strict=True):
        assert answer == expected, call
    assert asyncio.run(ask_all(tmp_path / DATA, [])) == [], "it opens again after this version wrote to it"


def test_there_is_data_of_this_version() -> None:
    version = max(RECORD_VERSION, SCHEMA_VERSION)
    assert f"v{version}.tar.gz" in [path.name for path in ARCHIVES], (
        "run python tools/make_version_fixture.py"
    )


def test_an_archive_is_small() -> None:
    assert all(path.stat().st_size <= 200 * 1024 for path in ARCHIVES)
