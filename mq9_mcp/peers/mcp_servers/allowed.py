"""Which commands may be run: none, but for the command lines that the operator wrote down.

Whoever may register an agent could otherwise run any program as the user of the broker.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from mq9_mcp.domain.errors import Refused

ANY = "*"  # as the last word: more may follow


def read_commands(texts: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Command lines such as ``uvx mcp-server-git *``; ``ValueError`` says which is none."""
    found = tuple(tuple(shlex.split(text)) for text in texts)
    if not all(found):
        raise ValueError("an empty command line")
    return found


class Commands:
    """The command lines of the setting ``mcp_commands``."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._lines = read_commands(texts)

    def check(self, command: str, args: Sequence[str]) -> None:
        """Refuse a command that is not allowed, and say how it could be."""
        words = (command, *args)
        if any(_fits(words, line) for line in self._lines):
            return
        raise Refused(
            "INVALID_ARGUMENT",
            f"mcp_server.command: {shlex.join(words)[:200]!a} is not allowed to run on the broker's machine",
            "the operator can allow this command line with the setting mcp_commands",
        )


def _fits(words: tuple[str, ...], line: tuple[str, ...]) -> bool:
    if line[-1] != ANY:
        return words == line
    return words[: len(line) - 1] == line[:-1]
