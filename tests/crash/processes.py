"""Starting, watching and killing the processes of a run. Each is ended by its own process id."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.crash.line import Gone, Line

ROOT = Path(__file__).parents[2]
READY_S = 60
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'a2a'}", "PYTHONWARNINGS": "error"}


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """The socket's path is relative to the working folder."""
    before = Path.cwd()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


class Process:
    """A Python module in a process of its own, in the working folder."""

    def __init__(self, module: str, *arguments: str, before: tuple[str, ...] = ()) -> None:
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=ENVIRONMENT,
        )

    @property
    def alive(self) -> bool:
        """It has not ended."""
        return self.process.poll() is None

    def lives_for(self, seconds: float) -> bool:
        """Wait; False as soon as it ends before that."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
            return False
        return True

    def stop(self) -> None:
        """Stop it, and return when it does nothing any more."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def go_on(self) -> None:
        """Let it continue."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """``kill -9``, and wait for its end."""
        self.process.kill()
        self.end()

    def end(self) -> int:
        """Wait for its end; the exit code."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        return self.process.wait(READY_S)


class BrokerProcess(Process):
    """The broker, from its start on."""

    def __init__(self, before: tuple[str, ...] = (), **options: Any) -> None:
        super().__init__("tests.crash.broker_process", json.dumps(options), before=before)

    def ready(self) -> None:
        """Return when its door is open."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n", "the data does not open"

    def folder_pid(self) -> int:
        """The folder process's id."""
        for _ in deadline(READY_S):
            line = Line("harness")
            try:
                pid: int = line.call("folder_pid")["pid"]
                return pid
            except Gone:  # the door may be one that loses replies
                assert self.alive
            finally:
                line.close()
        raise AssertionError


def deadline(seconds: float) -> Iterator[None]:
    """Turns of a loop until time is over; then it fails."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
    raise AssertionError(f"not within {seconds} s")
