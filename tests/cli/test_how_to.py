"""The shell blocks of the how-to page are run, against a real server; what they print is what it shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.docs.markdown import fences
from tests.house.source import ROOT

PAGE = ROOT / "docs" / "how-to" / "from-the-command-line.md"
# What is never the same twice: times, and ages in whole seconds.
_CHANGING = ((re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "TIME"), (re.compile(r"\b\d{1,2}s( *)\b"), "AGE "))


def plain(text: str) -> str:
    """``text`` without what changes from run to run, and without the width of columns."""
    for pattern, word in _CHANGING:
        text = pattern.sub(word, text)
    return re.sub(r" {2,}", "  ", text)


def test_the_shell_blocks_of_the_page_run(url: str, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "mq9"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m mq9_mcp.cli "$@"\n')
    program.chmod(0o700)
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path),
        "LOGNAME": "ann",
        "MQ9_URL": url,
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'a2a'}",
        "PYTHONWARNINGS": "error",
    }
    blocks = [block for block in fences(PAGE.read_text(encoding="utf-8")) if block.language == "sh"]
    assert len(blocks) > 5
    for block in blocks:
        ended = subprocess.run(
            ["sh", "-eu", "-c", block.text],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (ended.returncode, ended.stderr) == (0, ""), f"line {block.line}: {ended.stderr}"
        assert plain(ended.stdout) == plain(block.shows or ""), f"line {block.line}:\n{ended.stdout}"


def test_what_changes_is_left_out() -> None:
    assert plain("1  2s   2026-01-31T12:00:00.000Z") == plain("1  15s  2026-11-23T03:07:55.592Z")
    assert plain("1  acked") != plain("1  waiting")
