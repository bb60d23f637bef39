"""A host that speaks plain JSON lines to ``mq9-mcp``, and servers that it meets there."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tests.serve.process import ENVIRONMENT

DEADLINE_S = 30
OLD, NEW = "2025-11-25", "2026-07-28"
CLIENT = {"name": "Test Host", "version": "1"}
META = {
    "io.modelcontextprotocol/protocolVersion": NEW,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": CLIENT,
}
ROOT = Path(__file__).parents[2]


class Host:
    """A bridge process, and what was said to it and by it."""

    def __init__(self, *words: str, version: str = NEW, folder: Path = ROOT, **environment: str) -> None:
        self.version = version
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mq9_mcp.bridge", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={**ENVIRONMENT, **environment},
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._out = _lines(self.process.stdout)
        self._err = _lines(self.process.stderr)
        self._next = 0
        self.heard: list[dict[str, Any]] = []  # all that came and was no answer that somebody waited for

    def write(self, line: bytes) -> None:
        """Any bytes."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def say(self, **message: Any) -> None:
        """A message."""
        self.write(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def ask(self, method: str, **params: Any) -> int:
        """Send a request; its id."""
        self._next += 1
        if self.version == NEW:
            params["_meta"] = {**META, **params.get("_meta", {})}
        self.say(id=self._next, method=method, params=params)
        return self._next

    def call(self, tool: str, /, _meta: dict[str, Any] | None = None, **arguments: Any) -> int:
        """Send a call of a tool; its id."""
        meta = {"_meta": _meta} if _meta is not None else {}
        return self.ask("tools/call", name=tool, arguments=arguments, **meta)

    def next(self) -> dict[str, Any]:
        """The next message."""
        line = self._out.get(timeout=DEADLINE_S)
        assert line is not None, "it ended"
        message: dict[str, Any] = json.loads(line)
        assert message["jsonrpc"] == "2.0"
        return message

    def answer(self, id: int) -> dict[str, Any]:
        """The answer to a request; what comes before it is ``heard``."""
        while (message := self.next()).get("id") != id or "method" in message:
            self.heard.append(message)
        return message

    def result(self, id: int) -> Any:
        """The result of a request."""
        answer = self.answer(id)
        assert "result" in answer, answer
        return answer["result"]

    def text(self, id: int) -> str:
        """What a tool said."""
        said: str = self.result(id)["content"][0]["text"]
        return said

    def hear(self, method: str) -> dict[str, Any]:
        """The next request or notification of that method; what comes before it is ``heard``."""
        while (message := self.next()).get("method") != method:
            self.heard.append(message)
        return message

    def open(self, **capabilities: Any) -> Any:
        """Begin, as the version has it; the result of the first request."""
        if self.version == NEW:
            return self.result(self.ask("server/discover"))
        found = self.result(
            self.ask("initialize", protocolVersion=OLD, capabilities=capabilities, clientInfo=CLIENT)
        )
        self.say(method="notifications/initialized")
        return found

    def end(self) -> int:
        """Close its stdin; the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(DEADLINE_S)

    def rest(self) -> tuple[list[str], list[str]]:
        """What is left of stdout and of stderr, after its end."""
        return list(iter(self._out.get, None)), list(iter(self._err.get, None))


def _lines(stream: IO[bytes]) -> queue.Queue[str | None]:
    """The lines of a stream as they come, None at its end."""
    found: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        with stream:
            for line in stream:
                found.put(line.decode().rstrip("\n"))
        found.put(None)

    threading.Thread(target=read, daemon=True).start()
    return found


@contextmanager
def hosting(*words: str, **options: Any) -> Iterator[Host]:
    """A host for the time of a block; its bridge must end well."""
    host = Host(*words, **options)
    try:
        yield host
        if host.process.poll() is None:
            assert host.end() == 0
    finally:
        if host.process.poll() is None:
            host.process.kill()
            host.process.wait(DEADLINE_S)
        if host.process.stdin is not None and not host.process.stdin.closed:
            host.process.stdin.close()


class Small:
    """The small server of ``sdk_server``: killed and started again at the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = "0"
        self.process: subprocess.Popen[str]
        self.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; return when it takes calls."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.bridge.sdk_server", self.port, str(self.folder)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**ENVIRONMENT, "PYTHONWARNINGS": "default"},
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline().strip()
        assert said, "it does not start"
        self.port = said

    def dies_after(self, tool: str) -> None:
        """It will end after that tool did its work, before it answers."""
        (self.folder / f"die-{tool}").touch()

    def gone(self) -> None:
        """Wait for its end."""
        self.process.wait(DEADLINE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def kill(self) -> None:
        """``kill -9``."""
        self.process.send_signal(signal.SIGKILL)
        self.gone()

    def calls(self, tool: str) -> list[dict[str, Any]]:
        """What was called so far."""
        found = map(json.loads, (self.folder / "calls").read_text().splitlines())
        return [one for one in found if one["tool"] == tool]


@contextmanager
def small(folder: Path) -> Iterator[Small]:
    """A small server for the time of a block."""
    server = Small(folder)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()
