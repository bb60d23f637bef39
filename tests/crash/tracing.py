"""Reads a system-call trace: the journal's writes and syncs and the replies, in the order they happened."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

from tests.crash.order import Order

CALLS = "pwrite64,fdatasync,fsync,sendto,unlink,unlinkat"
_LINE = re.compile(r"(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)", re.DOTALL)
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FILE = re.compile(r"^\d+<((?:\\x[0-9a-f]{2})*)>")


def command(output: Path) -> tuple[str, ...]:
    """What to put before a command to trace it and its threads and children."""
    options = ("-f", "-qq", "-xx", "-y", "-s", "10000000", "--seccomp-bpf", "-e", f"trace={CALLS}")
    return ("strace", *options, "-o", str(output))


def available() -> bool:
    """True where processes can be traced."""
    if shutil.which("strace") is None:
        return False
    ended = subprocess.run([*command(Path("/dev/null")), "true"], capture_output=True, check=False)
    return ended.returncode == 0


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


class Trace:
    """Feeds ``order`` from the lines of a trace; ``removed`` segments went after the tables were synced."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.removed = 0
        self.tables_synced: dict[str, int] = {}  # by segment: syncs of the tables since it was last written
        self.repliers: set[object] = set()
        self._begun: dict[str, str] = {}

    def read(self, path: Path) -> None:
        """The whole file."""
        with path.open(encoding="ascii") as lines:
            for line in lines:
                self._line(line)

    def _line(self, line: str) -> None:
        found = _LINE.match(line)
        if found is None:
            return  # a signal or an exit
        thread, resumed, name, rest = found.groups()
        if resumed:
            self._returned(resumed, thread, self._begun.pop(thread), rest)
            return
        self._entered(name, thread, rest)
        if rest.rstrip().endswith("<unfinished ...>"):
            self._begun[thread] = rest
        else:
            self._returned(name, thread, rest, rest)

    def _entered(self, name: str, thread: str, arguments: str) -> None:
        if name in ("fdatasync", "fsync") and (file := _file(arguments)).endswith(".mq9"):
            self.order.sync_begins(file, thread)
        elif name == "sendto" and (data := _string(arguments)).startswith(b'{"'):
            self.order.replied(json.loads(data))
            self.repliers.add(thread)
        elif name.startswith("unlink") and (file := _string(arguments).decode()).endswith(".mq9"):
            if Path(file).name not in self.tables_synced:  # nothing was written there: the name is made free
                return
            assert self.tables_synced[Path(file).name], f"{file} went before the tables were on disk"
            self.removed += 1

    def _returned(self, name: str, thread: str, arguments: str, rest: str) -> None:
        file = _file(arguments)
        succeeded = re.search(r"= (\d+)[^=]*$", rest) is not None
        if name == "pwrite64" and file.endswith(".mq9"):
            assert succeeded
            self.order.written(file, _string(arguments))
            self.tables_synced[Path(file).name] = 0
        elif name in ("fdatasync", "fsync") and succeeded:
            if file.endswith(".mq9"):
                self.order.sync_returned(file, thread)
            elif ".duckdb" in file:
                self.tables_synced = {segment: count + 1 for segment, count in self.tables_synced.items()}


def _file(arguments: str) -> str:
    found = _FILE.match(arguments)
    return _bytes(found[1]).decode(errors="replace") if found else ""


def _string(arguments: str) -> bytes:
    found = _STRING.search(arguments)
    return _bytes(found[1]) if found else b""
