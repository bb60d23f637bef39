"""The caller's end of the line protocol: one JSON object a line each way, one call at a time.

It belongs to the tests alone. It imports nothing of the product, so that a client starts quickly and
knows only what it is told.
"""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

SOCKET = "broker.sock"  # relative to the folder that all processes of a run work in: paths have a limit

Reply = dict[str, Any]


class Gone(Exception):
    """The connection ended before the answer came: nobody knows whether the call happened."""


class Said(Exception):
    """The broker refused."""

    def __init__(self, error: Reply) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code: str = error["code"]


class Line:
    """A connection to the broker's door in the working folder."""

    def __init__(self, agent: str, timeout_s: float = 60) -> None:
        self.agent = agent
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(SOCKET)
        except OSError as error:
            self._socket.close()
            raise Gone(str(error)) from error
        self._file = self._socket.makefile("rb")

    def call(self, name: str, **arguments: Any) -> Reply:
        """The reply to one command; raises ``Said`` or ``Gone``."""
        self.begin(name, **arguments)
        return self.answer()

    def begin(self, name: str, **arguments: Any) -> None:
        """Make a call and do not wait for its answer; raises ``Gone``."""
        asked = {"agent": self.agent, "call": name, "arguments": arguments}
        try:
            self._socket.sendall(json.dumps(asked).encode() + b"\n")
        except (ConnectionError, BrokenPipeError) as error:
            raise Gone(str(error)) from error

    def answer(self) -> Reply:
        """The reply to the call that was begun; raises ``Said`` or ``Gone``."""
        try:
            line = self._file.readline()
        except (ConnectionError, BrokenPipeError) as error:
            raise Gone(str(error)) from error
        if not line.endswith(b"\n"):
            raise Gone("no answer")
        answer: Reply = json.loads(line)
        if "error" in answer:
            raise Said(answer["error"])
        reply: Reply = answer["reply"]
        return reply

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()


class Log:
    """What one caller tries and is told, in memory."""

    def __init__(self) -> None:
        self.entries: list[Reply] = []

    def tries(self, what: str, **fields: Any) -> None:
        """Before a call. It need only outlive the broker."""
        self._keep({"kind": "try", "what": what, "at": time.monotonic(), **fields})

    def told(self, kind: str, **fields: Any) -> None:
        """After an answer: from here on the caller counts on it."""
        self._keep({"kind": kind, "at": time.monotonic(), **fields})

    def _keep(self, entry: Reply) -> None:
        self.entries.append(entry)


class FileLog(Log):
    """In a file; answers are synced before the caller goes on."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def told(self, kind: str, **fields: Any) -> None:
        """On disk when this returns."""
        super().told(kind, **fields)
        os.fdatasync(self._fd)

    def _keep(self, entry: Reply) -> None:
        line = json.dumps(entry).encode() + b"\n"
        assert os.write(self._fd, line) == len(line)

    def close(self) -> None:
        """No more lines."""
        os.close(self._fd)
