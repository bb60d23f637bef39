"""Unguessable strings at little cost: the system's random bytes, drawn many at a time."""

from __future__ import annotations

import os

SECRET_BYTES = 16
_DRAW = 256  # secrets drawn in one system call, which would let other threads in each time


class Secrets:
    """An endless supply of secrets, each given out once."""

    def __init__(self) -> None:
        self._left: list[str] = []

    def next(self) -> str:
        """32 hexadecimal digits that nobody can guess."""
        if not self._left:
            drawn = os.urandom(SECRET_BYTES * _DRAW).hex()
            width = 2 * SECRET_BYTES
            self._left = [drawn[at : at + width] for at in range(0, len(drawn), width)]
        return self._left.pop()
