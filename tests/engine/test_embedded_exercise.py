"""The embedded engine keeps the contract, folding in a process of its own and in a thread."""

from __future__ import annotations

from pathlib import Path

import pytest

from mq9_mcp.engine.base import Engine
from mq9_mcp.engine.embedded.engine import open_engine
from tests.engine.exercise import exercise


@pytest.mark.parametrize("fold_apart", [True, False])
def test_the_embedded_engine_keeps_the_contract(fold_apart: bool, tmp_path: Path) -> None:
    async def opened(folder: Path) -> Engine:
        return await open_engine(folder, fold_apart=fold_apart, segment_bytes=256 * 1024)

    exercise(opened, tmp_path)
