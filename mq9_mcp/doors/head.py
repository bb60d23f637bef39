"""The head of a request: who may knock. A page in a browser may not, under whatever name it has.

Without keys everybody on this machine is trusted, so what a browser would send in a stranger's name is
refused: a foreign Host (a name that was pointed here), a foreign Origin, a body that is no JSON (a form).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from starlette.types import Scope

from mq9_mcp.domain.errors import Refused

JSON_ONLY = ("/v1/", "/mcp")  # here a body is application/json and nothing else
A2A = "/a2a"  # there the door itself looks at the type of a body, and refuses it in A2A's words
REMEMBERED = 256  # header lines known to be fine; more are looked at each time
_SHOWN = 100
_HOST = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::[0-9]{1,5})?")

Line = tuple[bytes, bytes]


def loopback(host: str) -> bool:
    """True for ``localhost`` and for addresses that lead nowhere but to this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Heads:
    """Checks heads; lines that passed once are not looked at again."""

    def __init__(self, bytes_max: int, hosts: Sequence[str], origins: Sequence[str]) -> None:
        self.bytes_max = bytes_max
        self.hosts = frozenset(host.lower() for host in hosts)
        self.origins = frozenset(origin.lower() for origin in origins)
        self._fine: set[Line] = set()

    def check(self, scope: Scope) -> int | None:
        """The length of the body, None if the head does not tell it; raises what is wrong."""
        size, hosts, length = len(scope["raw_path"]) + len(scope["query_string"]), 0, 0
        kind: Line | None = None
        told: int | None = 0
        for line in scope["headers"]:
            name = line[0]
            size += len(name) + len(line[1])
            if name == b"host":
                hosts += 1
                if line not in self._fine:
                    self._host(line)
            elif name == b"content-type":
                if kind not in (None, line):
                    raise Refused("INVALID_ARGUMENT", "Content-Type: stands twice; accepted: once")
                kind = line
            elif name == b"content-length":
                told = length = int(line[1])
            elif name == b"transfer-encoding":
                told = None
            elif name == b"origin" and line not in self._fine:
                self._origin(line)
        if size > self.bytes_max:
            what = f"head of the request: {size} bytes; accepted: header_bytes_max, {self.bytes_max}"
            raise Refused("INVALID_ARGUMENT", what, "send fewer or shorter headers")
        if hosts != 1:
            raise Refused("POLICY_VIOLATION", f"Host: {hosts} of them; accepted: exactly one")
        if scope["method"] not in ("GET", "HEAD", "DELETE", "OPTIONS"):
            self._content(kind, scope["path"])
        return told if told is None else length

    def _remember(self, line: Line) -> None:
        if len(self._fine) < REMEMBERED:
            self._fine.add(line)

    def _host(self, line: Line) -> None:
        text = line[1].decode("latin-1").lower()
        name = _name(text)
        if not (loopback(name) or name in self.hosts):
            raise Refused(
                "POLICY_VIOLATION",
                f"Host: {text[:_SHOWN]!r}; accepted: {_words('a loopback name or address', self.hosts)}",
                "call by http://127.0.0.1, or have the operator add the name to allowed_hosts",
            )
        self._remember(line)

    def _origin(self, line: Line) -> None:
        text = line[1].decode("latin-1").lower()
        scheme, _, host = text.partition("://")
        name = _name(host) if scheme in ("http", "https") else ""
        if not (loopback(name) or name in self.hosts or text in self.origins):
            raise Refused(
                "POLICY_VIOLATION",
                f"Origin: {text[:_SHOWN]!r}; accepted: {_words('none, a loopback origin', self.origins)}",
                "call from a program, or have the operator add the origin to allowed_origins",
            )
        self._remember(line)

    def _content(self, kind: Line | None, path: str) -> None:
        if kind in self._fine or path == A2A or path.startswith(A2A + "/"):
            return
        if kind is None or not _json(kind[1], path.startswith(JSON_ONLY)):
            shown = repr(kind[1].decode("latin-1")[:_SHOWN]) if kind is not None else "none"
            raise Refused(
                "INVALID_ARGUMENT",
                f"Content-Type: {shown}; accepted: application/json",
                "send the body as JSON, in UTF-8, with Content-Type: application/json",
            )
        if _json(kind[1], True):
            self._remember(kind)


def _name(text: str) -> str:
    """The name in ``name:port``; empty if it is anything else, such as a name and a path behind it."""
    found = _HOST.fullmatch(text)
    return (found["address"] or found["name"]) if found else ""


def _json(value: bytes, strict: bool) -> bool:
    """True for JSON in UTF-8; unless ``strict``, for a kind of JSON too."""
    kind, *parameters = (part.strip() for part in value.decode("latin-1").lower().split(";"))
    if not all(
        part.removeprefix("charset=").strip('"') == "utf-8" for part in parameters if part[:8] == "charset="
    ):
        return False
    return kind == "application/json" or (
        not strict and kind.startswith("application/") and kind.endswith("+json")
    )


def _words(always: str, allowed: frozenset[str]) -> str:
    return ", ".join([always, *sorted(allowed)])
