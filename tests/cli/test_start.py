"""``mq9`` starts fast: what a command does not need is not imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from mq9_mcp import __version__
from mq9_mcp.cli import exits
from tests.cli.person import Person
from tests.cli.processes import running
from tests.house.source import ROOT

HEAVY = ("duckdb", "starlette", "uvicorn", "rich", "prometheus_client")
NOWHERE = ["--url", "http://127.0.0.1:9", "--timeout", "0.01"]
SCRIPT = f"""
import sys
from mq9_mcp.cli import main
code = main(sys.argv[1:])
print([name for name in {HEAVY} if name in sys.modules], code)
"""


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (["--version"], exits.OK),
        (["--help"], exits.OK),
        (["errors"], exits.OK),
        (["mailbox", "send", "bob", "hello", *NOWHERE], exits.UNAVAILABLE),
        (["inbox", *NOWHERE], exits.UNAVAILABLE),
        (["daemon", "status", "--data", "none"], exits.UNAVAILABLE),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else str(value),
)
def test_nothing_heavy_is_imported(line: list[str], code: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, *line],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'a2a'}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stdout.splitlines()[-1] == f"[] {code}", ended.stderr


def test_it_runs_as_a_module() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "mq9_mcp.cli", "--version"],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'a2a'}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"mq9 {__version__}\n", "")


def test_an_interrupted_wait_takes_nothing(person: Person) -> None:
    box = person.mailbox()
    with running("mailbox", "fetch", box, "--wait-s", "50") as waiting:
        while not person.reply("group", "list", box)["groups"]:  # its fetch makes the group
            assert waiting.process.poll() is None
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait() == exits.INTERRUPTED
        assert waiting.err.get() is None
    person.send(box, "still there")
    [message] = person.reply("mailbox", "fetch", box)["messages"]
    assert message["attempt"] == 1
