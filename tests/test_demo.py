"""The demo as a newcomer runs it: a process of its own, real kills, a clean end, and no promise unchecked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mq9_mcp import demo

COMMAND = [sys.executable, "-m", "mq9_mcp.cli", "demo"]
# For the broker's process too: a leak is told, and one that corrupts memory does not end in order.
STRICT = {"PYTHONWARNINGS": "error", "PYTHONMALLOC": "debug"}


def test_the_demo_runs_and_every_promise_holds(tmp_path: Path) -> None:
    data = tmp_path / "data"
    ended = subprocess.run(
        [*COMMAND, "--keep", str(data)],
        env={**os.environ, **STRICT},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    assert "BROKEN" not in ended.stdout
    assert ended.stdout.count("  ok  ") == 15
    assert "All 15 promises held" in ended.stdout
    assert "kill -9 after " in ended.stdout
    assert f"mq9 journal {data}" in ended.stdout


def test_a_promise_that_does_not_hold_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    async def lie(story: demo.Story) -> None:
        story.check("two is two", True)
        story.check("two is three", False)

    monkeypatch.setattr(demo.Story, "tell", lie)
    lines: list[str] = []
    assert demo.run_demo(say=lines.append) == 1
    assert lines[-2:] == ["1 of 2 promises did not hold:", "  two is three"]


def test_a_broker_that_cannot_start_fails_the_demo(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "file"
    data.write_text("in the way")
    lines: list[str] = []
    assert demo.run_demo(data, lines.append) == 1
    assert any("the broker did not start" in line for line in lines)
    assert "Traceback" in capfd.readouterr().err
