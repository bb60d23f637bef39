"""mq9's headers on ``mailbox_send``: each is one argument of the message that the body holds.

A header that says nothing clear is refused by its name, as an argument would be, and never overrules one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from mq9_mcp.broker.arguments import read_arguments
from mq9_mcp.domain.errors import Refused
from mq9_mcp.doors.caller import AGENT_HEADER

COMMAND = "mailbox_send"
PREFIX = b"mq9-"
_AGENT = AGENT_HEADER.encode()


_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")


def _tags(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _seconds(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError("a number of seconds, such as 60 or 0.5")
    return float(text)


class Header(NamedTuple):
    """The argument that a header stands for, how its text is read, and what it means."""

    argument: str
    read: Callable[[str], Any]
    help: str


HEADERS: dict[str, Header] = {
    "mq9-key": Header("dedup_key", str, "A second send with this key stores nothing."),
    "mq9-tags": Header("tags", _tags, "Words to filter by, with commas between them."),
    "mq9-delay": Header("delay_s", _seconds, "Invisible for so many seconds."),
    "mq9-ttl": Header("ttl_s", _seconds, "Lifetime in seconds, counted from visibility."),
    "mq9-priority": Header("priority", str, "critical, urgent or normal."),
}


def mq9_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of mq9 that say something about the call; who calls is another matter."""
    return [one for one in headers if one[0].startswith(PREFIX) and one[0] != _AGENT]


def add_headers(name: str, arguments: dict[str, Any], headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """``arguments`` of the command ``name`` with what ``headers`` say, or ``INVALID_ARGUMENT``."""
    given: dict[str, Any] = {}
    for raw_name, raw_value in headers:
        header = raw_name.decode("latin-1")
        known = HEADERS.get(header)
        if known is None:
            raise Refused(
                "INVALID_ARGUMENT", f"{header}: unknown; accepted: {', '.join(HEADERS)}", "leave it out"
            )
        if name != COMMAND:
            raise Refused(
                "INVALID_ARGUMENT", f"{header}: {name} takes no such header; {COMMAND} does", "leave it out"
            )
        value = _read(header, known, raw_value)
        if known.argument in given and isinstance(value, list):
            value = given[known.argument] + value
        elif known.argument in given:
            raise Refused("INVALID_ARGUMENT", f"{header}: stands twice; accepted: once")
        _check(header, known.argument, value)
        given[known.argument] = value
    _check_body(arguments, headers)
    return arguments | given


def _read(header: str, known: Header, value: bytes) -> Any:
    try:
        return known.read(value.decode())
    except UnicodeDecodeError:
        raise Refused("INVALID_ARGUMENT", f"{header}: not UTF-8; accepted: text in UTF-8") from None
    except ValueError as error:
        raise Refused("INVALID_ARGUMENT", f"{header}: {value.decode()[:80]!a}; accepted: {error}") from None


def _check(header: str, argument: str, value: Any) -> None:
    """Refuse a value that the argument would not take, by the name of the header."""
    try:
        read_arguments(COMMAND, {argument: value})
    except Refused as refused:
        where = refused.message.removeprefix(argument)
        raise Refused(refused.code, f"{header}{where}", refused.hint, **refused.details) from None


def _check_body(arguments: dict[str, Any], headers: list[tuple[bytes, bytes]]) -> None:
    """A header belongs to one message, and says what its body does not."""
    for raw_name, _ in headers:
        header = raw_name.decode("latin-1")
        argument = HEADERS[header].argument
        if arguments.get("messages") is not None:
            raise Refused(
                "INVALID_ARGUMENT",
                f"{header}: stands beside messages; accepted: with one message only",
                f"give each message its {argument}",
            )
        if arguments.get(argument) is not None:
            raise Refused(
                "INVALID_ARGUMENT",
                f"{header}: the body has {argument} too; accepted: one of the two",
                "leave one of them out",
            )
