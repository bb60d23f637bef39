"""A disk that forgets at a power loss what was not synced: any subset of it, torn at sectors.

The real files are what the process sees, as its page cache would show them. Beside them stands what
the medium holds for sure, and what is on its way there. ``picture`` writes down one way in which the
power may leave the folder. Names come to the medium in the order in which they were changed.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mq9_mcp.engine.embedded.disk import Disk

SECTOR = 512


class Change(NamedTuple):
    """A change of a file that is not synced: a write, or a new size where ``data`` is None."""

    offset: int
    data: bytes | None


class LossyDisk(Disk):
    """``on_moment`` is called before and after every step towards the medium, with its name."""

    def __init__(self, folder: Path, on_moment: Callable[[str], None], slow_s: float = 0.0) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self._on_moment = on_moment
        self._slow_s = slow_s
        self._allocating = False
        self._never = threading.Event()
        self._medium: dict[str, bytearray] = {}
        self._names: set[str] = set()  # on the medium
        self._on_the_way: dict[str, list[Change]] = {}
        self._files: dict[int, str] = {}
        for path in folder.glob("*"):
            self._medium[path.name] = bytearray(path.read_bytes())
            self._names.add(path.name)
            self._files[path.stat().st_ino] = path.name

    # -- what the journal asks for

    def allocate(self, path: Path, size: int) -> int:
        """A new file: its name, its size and its content come to the medium apart from each other."""
        self._allocating = True
        try:
            fd = super().allocate(path, size)
        finally:
            self._allocating = False
        with self.lock:
            self._files[os.fstat(fd).st_ino] = path.name
            self._medium[path.name] = bytearray()
            self._on_the_way[path.name] = [Change(size, None)]
        self._on_moment("allocated")
        return fd

    def fill(self, fd: int, start: int, end: int) -> None:
        """A new size."""
        super().fill(fd, start, end)
        if not self._allocating:
            self._change(self._name(fd), Change(end, None))

    def write(self, fd: int, data: bytes, offset: int) -> None:
        """Seen by the process, on its way to the medium."""
        self._on_moment("before write")
        super().write(fd, data, offset)
        self._change(self._name(fd), Change(offset, bytes(data)))
        self._on_moment("written")

    def sync(self, fd: int) -> None:
        """On the medium when it returns."""
        self._synced(fd, super().sync)

    def sync_file(self, fd: int) -> None:
        """On the medium when it returns."""
        self._synced(fd, super().sync_file)

    def cut(self, fd: int, offset: int, size: int) -> None:
        """Shorter, then filled up again."""
        self._change(self._name(fd), Change(offset, None))
        super().cut(fd, offset, size)

    def sync_folder(self, path: Path) -> None:
        """The names are on the medium when it returns."""
        super().sync_folder(path)
        if path == self.folder:
            with self.lock:
                self._names = {one.name for one in path.iterdir()}
                for gone in self._medium.keys() - self._names:
                    del self._medium[gone]
                    self._on_the_way.pop(gone, None)
            self._on_moment("names synced")

    def _synced(self, fd: int, sync: Callable[[int], None]) -> None:
        name = self._name(fd)
        self._never.wait(self._slow_s)
        with self.lock:
            covered = list(self._on_the_way.get(name, ()))
        sync(fd)
        with self.lock:
            for change in covered:
                apply(self._medium[name], change)
            self._on_the_way[name] = self._on_the_way.get(name, [])[len(covered) :]
        self._on_moment("synced")

    def _name(self, fd: int) -> str:
        return self._files[os.fstat(fd).st_ino]

    def _change(self, name: str, change: Change) -> None:
        with self.lock:
            self._on_the_way.setdefault(name, []).append(change)

    # -- the loss

    def picture(self, target: Path, rng: random.Random) -> int:
        """Write one way in which the power leaves the folder; how many files lost something."""
        target.mkdir(parents=True)
        torn = 0
        with self.lock:
            there = {path.name for path in self.folder.iterdir()}
            made = sorted(there - self._names)
            removed = sorted(self._names - there)
            back = removed[rng.randint(0, len(removed)) :]  # removed in this order: the first are gone first
            names = (self._names & there) | set(made[: rng.randint(0, len(made))]) | set(back)
            for name in names:
                changes = self._on_the_way.get(name, [])
                # a file that is being made right now may be there by its name alone
                content, whole = survive(self._medium.get(name, bytearray()), changes, rng)
                (target / name).write_bytes(content)
                torn += not whole
        return torn


def survive(medium: bytearray, changes: list[Change], rng: random.Random) -> tuple[bytearray, bool]:
    """The content with some of the changes, and whether it is all of them."""
    content, whole = bytearray(medium), bytearray(medium)
    way = rng.choice(("none", "all", "some", "some"))
    for change in changes:
        apply(whole, change)
        if change.data is None:
            if way == "all" or (way == "some" and rng.random() < 0.5):
                apply(content, change)
            continue
        share = {"none": 0.0, "all": 1.0, "some": rng.random()}[way]
        for sector in sectors(change.offset, change.data):
            if rng.random() < share:
                apply(content, sector)
    return content, content == whole


def sectors(offset: int, data: bytes) -> list[Change]:
    """A write in pieces that the medium writes whole or not at all."""
    pieces, at = [], 0
    while at < len(data):
        size = SECTOR - (offset + at) % SECTOR
        pieces.append(Change(offset + at, data[at : at + size]))
        at += size
    return pieces


def apply(content: bytearray, change: Change) -> None:
    """Change the content; what lies between its end and a write is zero."""
    if change.data is None:
        del content[change.offset :]
    end = change.offset + len(change.data or b"")
    content.extend(bytes(max(0, end - len(content))))
    if change.data is not None:
        content[change.offset : end] = change.data
