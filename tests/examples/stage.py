"""The README of an example as a play: its commands are run as a reader runs them, its texts are transcripts.

In a transcript ``> yes`` is what the reader types at the prompt ``> ``; ``^D`` and ``^C`` are the keys, and
``> (Enter)`` is that one alone; ``Killed`` is what a shell says of a program that ended by ``kill -9``.
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.docs.markdown import Code, fences
from tests.house.source import ROOT
from tests.serve.process import ENVIRONMENT, serving

AGENTS = ROOT / "examples" / "agents"
DEADLINE_S = 60
SERVE = ".venv/bin/mq9 serve\n"
PROMPT = "> "
IDS = (
    (r"task-[0-9a-zA-Z_-]+", "task-ID"),
    (r"message \d+", "message ID"),
    (r"fence \d+ is stale, \d+", "fence"),
    (r"\b0\.\d+", "0.SCORE"),
)


def plain(text: str) -> str:
    """The text with what differs from run to run replaced."""
    for pattern, name in IDS:
        text = re.sub(pattern, name, text)
    return text


class Program:
    """One process, and what it has printed."""

    def __init__(
        self, command: list[str], folder: Path, environment: dict[str, str], *, killed_by_us: bool = False
    ) -> None:
        self.command = command
        self._by_us = killed_by_us
        self._code = 0
        self._printed = bytearray()
        self._all = bytearray()
        self._moved = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        while piece := self.process.stdout.read(4096):
            with self._moved:
                self._printed += piece
                self._all += piece
                self._moved.notify()
        with self._moved:
            self._ended = True
            self._moved.notify()

    def _take(self, end: bytes) -> str:
        """What it prints next, up to and with ``end``."""
        with self._moved:
            seen = self._moved.wait_for(lambda: end in self._printed or self._ended, DEADLINE_S)
            assert seen, f"{self.command} says no more; it said {bytes(self._printed)!r}"
            size = self._printed.index(end) + len(end) if end in self._printed else len(self._printed)
            taken = bytes(self._printed[:size])
            del self._printed[:size]
        return taken.decode()

    def line(self) -> str:
        """The next line that it prints."""
        return self._take(b"\n")

    def plays(self, transcript: str) -> None:
        """It prints these lines; what the reader types in them is typed."""
        for line in transcript.splitlines():
            if line == "^C":
                self.process.send_signal(signal.SIGINT)
            elif line == "Killed":
                if self._by_us:
                    self.process.kill()
                self._code = -signal.SIGKILL
            elif line.startswith(PROMPT):
                assert self._take(PROMPT.encode()) == PROMPT
                self._type(line.removeprefix(PROMPT))
            else:
                said, shown = plain(self.line()), plain(line + "\n")
                assert said == shown, f"{self.command} says {said!r}, the page shows {shown!r}"

    def _type(self, line: str) -> None:
        assert self.process.stdin is not None
        if line == "^D":
            self.process.stdin.close()
        else:
            self.process.stdin.write(line.removeprefix("(Enter)").encode() + b"\n")

    def ends(self) -> None:
        """It ends well, or by ``kill -9`` if the transcript says so, and without another word."""
        ended = self.process.wait(DEADLINE_S)
        self._reader.join()
        left = (bytes(self._printed).decode(), ended)
        assert left == ("", self._code), left

    def interrupted(self, last: str) -> None:
        """Ctrl-C ends it well, with a last word."""
        self.process.send_signal(signal.SIGINT)
        self.plays(last)
        self.ends()

    def stops(self) -> None:
        """Ctrl-C ends it well, whatever it has said."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(DEADLINE_S) == 0

    @property
    def everything(self) -> str:
        """All that it has printed."""
        return self._all.decode()

    def close(self) -> None:
        """Leave nothing behind."""
        self.process.kill()
        self.process.wait(DEADLINE_S)
        self._reader.join()
        for end in (self.process.stdin, self.process.stdout):
            assert end is not None
            end.close()


class Stage:
    """A checkout with a running broker, and the blocks of one README, which are played in order."""

    def __init__(self, name: str, folder: Path, environment: dict[str, str]) -> None:
        blocks = list(fences((AGENTS / name / "README.md").read_text(encoding="utf-8")))
        assert (blocks[0].language, blocks[0].text) == ("sh", SERVE)
        self._blocks = iter(blocks[1:])
        self._folder = folder
        self._environment = environment
        self._programs: list[Program] = []
        (folder / ".venv").symlink_to(sys.prefix)
        (folder / "examples").symlink_to(ROOT / "examples")

    def starts(self, *, killed_by_us: bool = False) -> Program:
        """The next command is run, and prints what the README shows; it may run on."""
        block = next(self._blocks)
        assert block.language == "sh", block
        [command] = block.text.splitlines()
        words = shlex.split(command)
        program = Program(words, self._folder, self._environment, killed_by_us=killed_by_us)
        self._programs.append(program)
        program.plays(self._transcript())
        return program

    def runs(self, *, killed_by_us: bool = False) -> None:
        """The next command is run, prints what the README shows, and ends as it is shown there."""
        self.starts(killed_by_us=killed_by_us).ends()

    def goes_on(self, program: Program) -> None:
        """The README shows what a running program prints next."""
        program.plays(self._transcript())

    def _transcript(self) -> str:
        block: Code = next(self._blocks)
        assert block.language == "text", block
        return block.text

    def close(self, *, well: bool) -> None:
        """Every block was played."""
        for program in self._programs:
            program.close()
        assert not well or list(self._blocks) == []


@contextmanager
def stage(name: str, folder: Path) -> Iterator[Stage]:
    """The example ``name`` with a broker of its own in ``folder``; the reader has no key for a model."""
    with serving(folder / "data"):
        keys = ("OPENAI_", "ANTHROPIC_")
        known = {name: value for name, value in ENVIRONMENT.items() if not name.startswith(keys)}
        reader = {**known, "PYTHONUNBUFFERED": "1", "MQ9_DATA": str(folder / "data")}
        checkout = folder / "checkout"
        checkout.mkdir()
        played = Stage(name, checkout, reader)
        try:
            yield played
        except BaseException:
            played.close(well=False)
            raise
        played.close(well=True)
