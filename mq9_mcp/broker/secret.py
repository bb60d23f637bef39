"""Unguessable strings at little cost: the system's random bytes, drawn many at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain

SECRET_BYTES = 16
_DRAWN = 256  # secrets drawn in one system call, which would let other threads in each time


def secrets() -> Iterator[str]:
    """32 hexadecimal digits that nobody can guess, and others, without end."""
    return chain.from_iterable(iter(_draw, []))


def _draw() -> list[str]:
    return os.urandom(SECRET_BYTES * _DRAWN).hex(" ", SECRET_BYTES).split(" ")
