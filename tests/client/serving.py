"""A real server process on a data directory: started, killed, started again at the same address."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
READY_S = 60
_URL = re.compile(r"http://[0-9.:]+")
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("MQ9_")},
    "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'a2a'}",
    "PYTHONWARNINGS": "error",
}
_PROGRAM = """
import json, sys
from pathlib import Path
from mq9_mcp.serve import run
from mq9_mcp.settings import Settings
run(Settings(data=Path(sys.argv[1]), port=int(sys.argv[2]), **json.loads(sys.argv[3])))
"""


class Server:
    """One server; each process is ended by its own id."""

    def __init__(self, data: Path, **settings: Any) -> None:
        self.data = data
        self.settings = settings
        self.url = ""
        self.process: subprocess.Popen[str]
        self.start()

    def start(self) -> None:
        """Start it, at its old port if it had one; return when callers are answered."""
        port = self.url.rpartition(":")[2] or "0"
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(self.data), port, json.dumps(self.settings)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=ENVIRONMENT,
        )
        assert self.process.stdout is not None
        found = _URL.search(self.process.stdout.readline())
        assert found is not None, "the server does not start"
        self.url = found[0]

    def kill(self) -> None:
        """``kill -9``."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def _end(self, by: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(by)
        self.process.wait(READY_S)
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextmanager
def serving(data: Path, **settings: Any) -> Iterator[Server]:
    """A server for the time of a test."""
    server = Server(data, **settings)
    try:
        yield server
    finally:
        server.stop()
