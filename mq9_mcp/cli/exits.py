"""Exit codes by kind of failure, once: the commands, ``--help`` and the reference page read ``EXITS``."""

from __future__ import annotations

from typing import NamedTuple

from mq9_mcp.domain.errors import CODES, Mq9Error

OK, FAILED, USAGE, DAMAGED, NOT_FOUND, FORBIDDEN, CONFLICT, FULL, UNAVAILABLE = range(9)
INTERRUPTED = 130  # 128 + SIGINT, as shells say it

Status = int


class Exit(NamedTuple):
    """What an exit code means, and the HTTP statuses of the error codes that end so."""

    meaning: str
    statuses: tuple[Status, ...] = ()


EXITS: dict[int, Exit] = {
    OK: Exit("done"),
    FAILED: Exit("a failure of mq9 itself, or one that no other code names", (500,)),
    USAGE: Exit("a call that makes no sense; nothing was done", (400,)),
    DAMAGED: Exit("the data directory is damaged (mq9 doctor)"),
    NOT_FOUND: Exit("what was named is not there", (404,)),
    FORBIDDEN: Exit("the caller may not do it, or is not known", (401, 403)),
    CONFLICT: Exit("it contradicts what is there: a lease lost, other settings, other content", (409,)),
    FULL: Exit("too large, too many, or full", (413, 429)),
    UNAVAILABLE: Exit("no broker answers, or it cannot serve now; try again", (503,)),
    INTERRUPTED: Exit("interrupted at the keyboard"),
}

_OF_STATUS = {status: code for code, one in EXITS.items() for status in one.statuses}


def exit_code(error: str) -> int:
    """The exit code of an error code of the broker; one that this version does not know is a failure."""
    known = CODES.get(error)
    return _OF_STATUS.get(known.status, FAILED) if known else FAILED


def exit_code_of(error: Mq9Error) -> int:
    """The exit code of a failure, also of one that only a client knows."""
    return _OF_STATUS.get(error.status, FAILED)


def error_codes(code: int) -> list[str]:
    """The error codes that end with exit code ``code``."""
    return [name for name in CODES if exit_code(name) == code]
