"""Servers of peers: on 127.0.0.1 and free ports, in folders that go afterwards, ended by their own id."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

READY_S = 20.0
END_S = 15.0
UNPRIVILEGED = "nobody"
One = TypeVar("One")


class Unavailable(Exception):
    """This peer cannot be measured here; the message says why."""


def script(name: str) -> str:
    """A program that a package has put into this environment."""
    path = Path(sysconfig.get_path("scripts")) / name
    if not path.exists():
        raise Unavailable(f"{name} is not installed: make bench-peers installs it")
    return str(path)


def package_folder(package: str) -> Path:
    """Where an installed package is, without importing it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise Unavailable(f"{package} is not installed: make bench-peers installs it")
    return Path(spec.origin).parent


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def user_of_servers() -> str | None:
    """PostgreSQL refuses to run as root; then an account without rights runs it."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(UNPRIVILEGED).pw_name
    except KeyError:
        raise Unavailable(f"it refuses to run as root, and there is no account {UNPRIVILEGED}") from None


@contextmanager
def data_folder(owner: str | None = None) -> Iterator[Path]:
    """A folder for one server beside those of all others."""
    path = Path(tempfile.mkdtemp(prefix="mq9-bench-"))
    try:
        if owner:
            shutil.chown(path, owner)
        yield path
    finally:
        shutil.rmtree(path)


@contextmanager
def process(
    command: Sequence[str], folder: Path, user: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server; what it says is kept until it ends in order."""
    with (folder / "said").open("wb") as said:
        started = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said, user=user)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(END_S)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


async def ready(connect: Callable[[], Awaitable[One]], errors: Any, said: Path) -> One:
    """The connection, as soon as the server takes it."""
    over = time.monotonic() + READY_S
    while True:
        try:
            return await connect()
        except errors as error:
            if time.monotonic() > over:
                told = said.read_text(errors="replace")[-500:] if said.exists() else ""
                raise Unavailable(f"it does not start: {error}: {told}") from error
            await asyncio.sleep(0.05)
