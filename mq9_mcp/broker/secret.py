"""Unguessable strings at little cost: the system's random bytes, drawn many at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator

SECRET_BYTES = 16
_DRAW = 256  # secrets drawn in one system call, which would let other threads in each time


def secrets() -> Iterator[str]:
    """32 hexadecimal digits that nobody can guess, and others, without end."""
    width = 2 * SECRET_BYTES
    while True:
        drawn = os.urandom(SECRET_BYTES * _DRAW).hex()
        for at in range(0, len(drawn), width):
            yield drawn[at : at + width]
