"""HTTP as bytes on a socket: what a test wants to send, also what no client library would."""

from __future__ import annotations

import json
import socket
from typing import Any, NamedTuple
from urllib.parse import urlsplit

JSON = {"Content-Type": "application/json"}
DEADLINE_S = 30


class Answer(NamedTuple):
    """One answer: status, headers by lower-case name, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the refusal."""
        code: str = self.json["error"]["code"]
        return code


class Line:
    """One connection to a server."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.host = parts.netloc
        self.socket = socket.create_connection((parts.hostname, parts.port or 80), timeout=DEADLINE_S)
        self._read = self.socket.makefile("rb")

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def begin(self, path: str, headers: dict[str, str], length: int) -> None:
        """Send the head of a POST whose body has ``length`` bytes."""
        self.write(head("POST", path, {"Host": self.host, **headers, "Content-Length": str(length)}))

    def post(self, name: str, arguments: dict[str, Any], agent: str = "anna") -> None:
        """Send a command, and do not wait for the answer."""
        body = json.dumps(arguments).encode()
        self.begin(f"/v1/{name}", {**JSON, "Mq9-Agent": agent}, len(body))
        self.write(body)

    def answer(self) -> Answer:
        """The next answer; fails if the connection ends first."""
        status = self._read.readline().split()
        assert status, "the connection ended"
        headers = {}
        while line := self._read.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        return Answer(int(status[1]), headers, self._read.read(int(headers.get("content-length", 0))))

    def ended(self) -> bool:
        """True if the server has closed the connection."""
        try:
            return self._read.read(1) == b""
        except ConnectionError:
            return True

    def hang_up(self) -> None:
        """Close the connection."""
        self._read.close()
        self.socket.close()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *exception: object) -> None:
        self.hang_up()


def head(method: str, path: str, headers: dict[str, str]) -> bytes:
    """The head of a request."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def ask(url: str, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Answer:
    """One request on a connection of its own; a Host of one's own replaces the right one."""
    with Line(url) as line:
        sized = {"Content-Length": str(len(body))} if body else {}
        line.write(head(method, path, {"Host": line.host, **sized, **headers}) + body)
        return line.answer()


def get(url: str, path: str) -> Answer:
    """A plain GET."""
    return ask(url, "GET", path, {})


def call(url: str, name: str, agent: str = "anna", **arguments: Any) -> Answer:
    """One command."""
    headers = {**JSON, "Mq9-Agent": agent}
    return ask(url, "POST", f"/v1/{name}", headers, json.dumps(arguments).encode())


def metric(url: str, name: str) -> float:
    """The value of a metric without labels, or with all of them written out."""
    lines = get(url, "/metrics").body.decode().splitlines()
    return float(next(line.rpartition(" ")[2] for line in lines if line.rpartition(" ")[0] == name))
