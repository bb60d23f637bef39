"""Pages with shell blocks between their Python run from top to bottom, as a reader does beside a server."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.client.serving import serving
from tests.docs.markdown import Code, fences, run_block
from tests.house.source import ROOT

DOCS = ROOT / "docs"
PAGES = [DOCS / "tutorial" / "first-hour.md", DOCS / "how-to" / "operate.md"]
# What the test has done already when the page comes to it, and what takes long; tests/cli has that one.
DONE = {"make setup\n.venv/bin/mq9 serve\n", ".venv/bin/python\n", "mq9 bench --seconds 1 > figures.txt\n"}


def programs(folder: Path) -> None:
    """A ``.venv`` as in a checkout."""
    bin = folder / ".venv" / "bin"
    bin.mkdir(parents=True)
    program = bin / "mq9"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m mq9_mcp.cli "$@"\n')
    program.chmod(0o700)


def run_shell(code: Code, folder: Path, url: str) -> str:
    """What a shell block prints; it must succeed without a word of complaint."""
    path = f"{folder / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MQ9_")},
        **{"PATH": path, "MQ9_URL": url, "HOME": str(folder), "XDG_DATA_HOME": str(folder)},
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'a2a'}",
    }
    ended = subprocess.run(
        ["sh", "-eu", "-c", code.text],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, ""), f"line {code.line}: {ended.stderr}"
    return ended.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path)

    async def body(url: str) -> None:
        namespace: dict[str, Any] = {"__name__": "__main__"}
        for code in fences(page.read_text(encoding="utf-8")):
            if code.language == "python":
                printed = await run_block(code, page.name, namespace)
                assert printed == (code.shows or ""), f"line {code.line}: it prints\n{printed}"
            elif code.language == "sh" and code.text not in DONE:
                printed = await asyncio.to_thread(run_shell, code, tmp_path, url)
                assert code.shows is None or printed == code.shows, f"line {code.line}: it prints\n{printed}"

    with serving(tmp_path / "data") as server:
        monkeypatch.setenv("MQ9_URL", server.url)
        asyncio.run(body(server.url))


def test_a_shell_block_that_fails_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="line 3"):
        run_shell(Code("sh", "exit 7\n", 3, None), tmp_path, "http://127.0.0.1:9")
    with pytest.raises(AssertionError, match="a word"):
        run_shell(Code("sh", "echo a word >&2\n", 3, None), tmp_path, "http://127.0.0.1:9")
