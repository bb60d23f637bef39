"""One process owns a data directory; a second one is told who does."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path

from mq9_mcp.domain.errors import Unavailable

LOCK_FILE = "owner.lock"

# What a server keeps beside the engine's own files; here, as whoever examines the directory must know them.
START_LOCK = "start.lock"
LOG_FILE = "daemon.log"
CONFIG_FILE = "mq9.toml"
SERVER_FILES = frozenset({START_LOCK, LOG_FILE, f"{LOG_FILE}.1", CONFIG_FILE})

_PATIENCE_S = 0.5  # whoever looks for an owner holds the lock for a moment
_PAUSE_S = 0.02
_PID_MAX = 2**31 - 1  # what a system call takes
_OWN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW  # what is written is no file elsewhere


class OwnerLock:
    """The lock on a data directory, with the owner's process id and address written in it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = folder / LOCK_FILE
        self._fd = os.open(self.path, _OWN, 0o600)
        deadline = time.monotonic() + _PATIENCE_S
        while not _locked(self._fd, fcntl.LOCK_EX):
            owner = owner_of(folder)
            if owner is not None or time.monotonic() > deadline:
                os.close(self._fd)
                raise taken(folder, owner or {}) from None
            time.sleep(_PAUSE_S)
        self.tell()

    def tell(self, address: str | None = None) -> None:
        """Write who owns the directory and where it listens; on a full disk nobody is told."""
        owner = {"pid": os.getpid()} | ({"address": address} if address else {})
        data = json.dumps(owner).encode() + b"\n"
        with contextlib.suppress(OSError):  # the lock holds all the same
            written = 0
            try:
                written = os.pwrite(self._fd, data, 0)
            finally:  # what an owner before left is never taken for ours
                os.ftruncate(self._fd, written if written == len(data) else 0)

    def release(self) -> None:
        """Let the directory go."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


def _locked(fd: int, kind: int) -> bool:
    """Take the lock if nobody has it."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def taken(folder: Path, owner: dict[str, object]) -> Unavailable:
    """What somebody is told who cannot have the directory: who has it."""
    where = f" at {owner['address']}" if owner.get("address") else ""
    return Unavailable(
        "STORAGE_UNAVAILABLE",
        f"{folder} belongs to the broker with process id {owner.get('pid', 'unknown')}{where}",
        "use that broker, stop it, or choose another data directory",
        owner=owner,
    )


def unusable(folder: Path, error: OSError) -> Unavailable:
    """What somebody is told whose data directory cannot be one, such as a path below a file."""
    return Unavailable(
        "STORAGE_UNAVAILABLE",
        f"{folder} cannot be a data directory: {error.strerror}",
        "name a directory that you may write to, or one that can be made, with --data or MQ9_DATA",
    )


def owner_of(folder: Path) -> dict[str, object] | None:
    """What the living owner of the directory says of itself; None if nobody owns it.

    What a killed owner left in the file does not count: the lock went with its process.
    """
    try:
        fd = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unusable(folder, error) from None
    try:
        return None if _locked(fd, fcntl.LOCK_SH) else read_owner(folder)
    finally:
        os.close(fd)


def read_owner(folder: Path) -> dict[str, object]:
    """What the lock file says of the owner; empty if there is none, or if no broker wrote it."""
    try:
        owner = json.loads((folder / LOCK_FILE).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    known = isinstance(owner, dict) and type(owner.get("pid")) is int and 0 < owner["pid"] <= _PID_MAX
    return owner if known and isinstance(owner.get("address", ""), str) else {}
