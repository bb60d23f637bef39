"""One daemon for all programs of a data directory: find it, join it or start it, stop it.

``owner.lock`` is lock and port file in one: the kernel says whether its owner lives, its text who that is
and where it listens. What a killed owner left there counts for nothing. ``start.lock`` lets one starter
at a time look and start, so two at once end with one daemon.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mq9_mcp.domain.errors import Unavailable
from mq9_mcp.engine.embedded.lock import LOG_FILE, START_LOCK, owner_of, unusable
from mq9_mcp.settings import CONFIG, SETTINGS, Settings, flag, variable

START_S = 60  # a start replays what the tables lack; that is seconds, even after a crash under load
STOP_S = 30
_LOOK_S = 0.02
_LAST_LINES = 5


class Running(NamedTuple):
    """A live daemon: where it listens, and its process id."""

    url: str
    pid: int


def find(data: Path) -> Running | None:
    """The daemon of the data directory; None if nobody has it, or nobody who takes calls now."""
    return _running(owner_of(data))


def _running(owner: dict[str, object] | None) -> Running | None:
    if owner is None:
        return None
    url, pid = owner.get("address"), owner.get("pid")
    return Running(url, pid) if isinstance(url, str) and isinstance(pid, int) else None


def join(settings: Settings) -> Running:
    """The daemon of the data directory; if none runs, one is started and outlives the caller.

    Blocks until it takes calls; raises ``Unavailable`` if it cannot start. A port that nobody asked for
    gives way to a free one.
    """
    running = find(settings.data)
    if running is not None:
        return running
    deadline = time.monotonic() + START_S
    try:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise unusable(settings.data, error) from None
    with _alone(settings.data / START_LOCK, deadline):
        return _joined(settings, deadline)


def _joined(settings: Settings, deadline: float) -> Running:
    """Wait for whoever has the directory to take calls; if nobody has it, start a daemon."""
    child: subprocess.Popen[bytes] | None = None
    while time.monotonic() < deadline:
        owner = owner_of(settings.data)
        running = _running(owner)
        if running is not None:
            return running
        if owner is None and child is None:
            child = _start(settings)
        elif owner is None and child is not None and child.poll() is not None:
            raise Unavailable(
                "STORAGE_UNAVAILABLE",
                f"the daemon ended at its start: {_last_words(settings)}",
                f"mq9 serve --data {settings.data} shows the same on a terminal",
            )
        time.sleep(_LOOK_S)
    owner = owner_of(settings.data) or {}
    raise Unavailable(
        "STORAGE_UNAVAILABLE",
        f"process {owner.get('pid', 'unknown')} has {settings.data}, and takes no calls",
        f"it is no server, or still begins: see {_log_file(settings)}",
    )


def _start(settings: Settings) -> subprocess.Popen[bytes]:
    """Start a daemon: a process of its own session, with nothing of ours but the settings."""
    log = _log_file(settings)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment.pop(variable(CONFIG), None)  # it was read already
    only = 0 if settings.log_file else os.O_NOFOLLOW  # ours is no file elsewhere; theirs is where they say
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | only, 0o600), "wb") as errors:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "mq9_mcp.serve", *_flags(settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
    threading.Thread(target=child.wait, name="mq9-daemon", daemon=True).start()  # leaves no zombie
    return child


def _flags(settings: Settings) -> list[str]:
    """The settings as flags, so that the daemon has exactly these."""
    found = [] if "port" in settings.given else ["--any-port"]
    for name in SETTINGS:
        value: Any = getattr(settings, name)
        if isinstance(value, tuple):
            value = ",".join(value)
        if name == "log_file":
            value = _log_file(settings)
        if isinstance(value, Path):
            value = value.absolute()  # the daemon works in no folder of ours
        if value not in (None, ""):
            found += [flag(name), str(value)]
    return found


def _log_file(settings: Settings) -> Path:
    return settings.log_file or settings.data / LOG_FILE


def _last_words(settings: Settings) -> str:
    lines = _log_file(settings).read_text(encoding="utf-8", errors="replace").splitlines()
    return " / ".join(lines[-_LAST_LINES:]) or "without a word"


@contextlib.contextmanager
def _alone(path: Path, deadline: float) -> Iterator[None]:
    """One starter at a time; the lock goes with its process."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise Unavailable(
                        "STORAGE_UNAVAILABLE",
                        f"another process has been starting a daemon in {path.parent} for {START_S} s",
                        "end it, and try again",
                    ) from None
                time.sleep(_LOOK_S)
        yield
    finally:
        os.close(fd)


def stop(data: Path, timeout_s: float = STOP_S) -> bool:
    """End the daemon of the data directory in order; True when nobody has the directory any more.

    Only a process that holds the lock, and takes calls, gets the signal.
    """
    deadline = time.monotonic() + timeout_s
    told = 0
    while (owner := owner_of(data)) is not None:
        running = _running(owner)
        if running is not None and running.pid != told:
            told = running.pid
            _end(data, running)
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_S)
    return True


def _end(data: Path, running: Running) -> None:
    """Send SIGTERM to that very process: a number that was given to another one meanwhile is left alone."""
    with contextlib.suppress(ProcessLookupError):
        if not hasattr(os, "pidfd_open"):
            os.kill(running.pid, signal.SIGTERM)
            return
        process = os.pidfd_open(running.pid)
        try:
            if find(data) == running:  # it still holds the lock, so the descriptor is its own
                signal.pidfd_send_signal(process, signal.SIGTERM)
        finally:
            os.close(process)
