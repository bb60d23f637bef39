"""The leases that a person took with ``mq9 inbox --take``, so that ``mq9 reply ID`` can settle them later.

A small file of one's own, readable by nobody else: a lease is a secret. It holds no mail.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

HELD_MAX = 1_000


def held_file() -> Path:
    """Where they are kept."""
    from platformdirs import user_state_path

    return user_state_path("mq9", appauthor=False) / "held.json"


def remember(url: str, message: dict[str, Any]) -> None:
    """Keep the lease of a message that was just taken."""
    leases = _read()
    leases[_key(url, message["id"])] = message["lease"]
    _write(dict(list(leases.items())[-HELD_MAX:]))


def lease_of(url: str, message: int) -> str | None:
    """The lease that was taken on a message, or None."""
    return _read().get(_key(url, message))


def forget(url: str, message: int) -> None:
    """The lease is settled or lost."""
    leases = _read()
    if leases.pop(_key(url, message), None) is not None:
        _write(leases)


def _key(url: str, message: int) -> str:
    return f"{url} {message}"


def _read() -> dict[str, str]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(held_file().read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return {str(key): str(lease) for key, lease in found.items()}
    return {}


def _write(leases: dict[str, str]) -> None:
    """All or nothing, so that two commands at once leave one whole file."""
    path = held_file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(leases, file)
    new.replace(path)
