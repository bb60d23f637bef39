"""``mq9`` as a process of its own, for what lives long: its lines are waited for, never slept for."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO

DEADLINE_S = 60


class Process:
    """A running ``mq9``; ``next_line`` waits for what it says."""

    def __init__(self, words: tuple[str, ...], environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mq9_mcp.cli", *words],
            env={**os.environ, "PYTHONWARNINGS": "error", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.out = _lines(self.process.stdout)
        self.err = _lines(self.process.stderr)

    def next_line(self) -> str:
        """The next line of its output."""
        return self._next(self.out)

    def next_error(self) -> str:
        """The next line of its standard error."""
        return self._next(self.err)

    def _next(self, lines: queue.Queue[str | None]) -> str:
        line = lines.get(timeout=DEADLINE_S)
        assert line is not None, "it ended"
        return line

    def send_signal(self, number: int) -> None:
        """Signal this process alone."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(timeout=DEADLINE_S)


def _lines(stream: IO[str]) -> queue.Queue[str | None]:
    """The lines of a stream as they come, None at its end."""
    found: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        with stream:
            for line in stream:
                found.put(line.rstrip("\n"))
        found.put(None)

    threading.Thread(target=read, daemon=True).start()
    return found


@contextmanager
def running(*words: str, **environment: str) -> Iterator[Process]:
    """A process that is ended with the block, if it has not ended by then."""
    process = Process(words, environment)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.process.kill()
        process.wait()
