"""A real server for the tests of the command line, and people who call it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.person import Person

_URL = re.compile(r"http://[\w.:]+")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with a data directory of its own."""
    data = tmp_path_factory.mktemp("data")
    command = [sys.executable, "-m", "mq9_mcp.cli", "serve", "--data", str(data), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = _URL.search(server.stdout.readline())
        assert found
        yield found[0]
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=60) == 0


@pytest.fixture
def person(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Person:
    """Somebody at a command line, with a home of his own."""
    for name in ("MQ9_AGENT", "MQ9_TOKEN", "MQ9_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MQ9_URL", url)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Person(capsys)
