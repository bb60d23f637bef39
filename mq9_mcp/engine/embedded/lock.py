"""One process owns a data directory; a second one is told who does."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path

from mq9_mcp.domain.errors import Unavailable

LOCK_FILE = "owner.lock"


class OwnerLock:
    """The lock on a data directory, with the owner's process id and address written in it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = folder / LOCK_FILE
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = read_owner(folder)
            os.close(self._fd)
            where = f" at {owner['address']}" if owner.get("address") else ""
            raise Unavailable(
                "STORAGE_UNAVAILABLE",
                f"{folder} belongs to the broker with process id {owner.get('pid', 'unknown')}{where}",
                "use that broker, stop it, or choose another data directory",
                owner=owner,
            ) from None
        self.tell()

    def tell(self, address: str | None = None) -> None:
        """Write who owns the directory and where it listens; on a full disk nobody is told."""
        owner = {"pid": os.getpid()} | ({"address": address} if address else {})
        data = json.dumps(owner).encode() + b"\n"
        with contextlib.suppress(OSError):  # the lock holds all the same
            os.pwrite(self._fd, data, 0)
            os.ftruncate(self._fd, len(data))

    def release(self) -> None:
        """Let the directory go."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


def read_owner(folder: Path) -> dict[str, object]:
    """What the lock file says of the owner; empty if there is none."""
    try:
        owner = json.loads((folder / LOCK_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}
