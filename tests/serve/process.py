"""A server in a process of its own, ended by its own process id."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("MQ9_")},
    "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'a2a'}",
    "PYTHONWARNINGS": "error",
}


class Server:
    """``python -m mq9_mcp.serve`` on ``data``; its words are kept in files next to it."""

    def __init__(self, data: Path, **settings: Any) -> None:
        self.data = data
        data.parent.mkdir(exist_ok=True)
        self.words = data.parent / f"{data.name}-{len(list(data.parent.iterdir()))}.err"
        flags = {"data": data, "port": 0, "log_format": "json", **settings}
        command = [sys.executable, "-m", "mq9_mcp.serve"]
        for name, value in flags.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        with self.words.open("ab") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=ENVIRONMENT
            )
        self.url = ""

    def ready(self) -> str:
        """Return the address once calls are taken."""
        assert self.process.stdout is not None
        first = self.process.stdout.readline().decode()
        assert " listens on " in first, self.words.read_text()
        self.url = first.split()[-1]
        return self.url

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal to this very process."""
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for its end; the exit code."""
        assert self.process.stdout is not None
        self.process.stdout.close()
        try:
            return self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(DEADLINE_S)
            raise

    def events(self) -> list[dict[str, Any]]:
        """What it logged."""
        return [json.loads(line) for line in self.words.read_text().splitlines()]

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The logged events of one kind."""
        return [one for one in self.events() if one.get("event") == event]


@contextmanager
def serving(data: Path, **settings: Any) -> Iterator[Server]:
    """A server that takes calls; it must end with success."""
    server = Server(data, **settings)
    try:
        server.ready()
        yield server
    except BaseException:
        server.process.kill()
        server.end()
        raise
    if server.process.poll() is None:
        server.signal()
    assert server.end() == 0, server.words.read_text()


def eventually(true: Callable[[], object], what: str) -> None:
    """Look again until it is true; fails after a while."""
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, what
