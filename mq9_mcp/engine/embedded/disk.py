"""The system calls under the journal, in one place so that a test can make them fail."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path

_ZEROS = bytes(1 << 20)
_ADVICE = {
    errno.ENOSPC: "free room on the disk",
    errno.EDQUOT: "free room within the user's disk quota, or raise it",
    errno.EFBIG: "raise the process's limit on the size of a file (ulimit -f)",
    errno.EROFS: "mount the file system writable again",
    errno.EIO: "look after the disk: it reports errors",
}


def advice(error: OSError) -> str:
    """What a person does about a call that failed; the broker needs no more than that."""
    what = _ADVICE.get(error.errno or 0, "mend what the system names")
    return f"{what}; the broker goes on by itself"


def lacks_room(text: str) -> bool:
    """True if an error text of somebody else names one of the errors above as its cause."""
    return any(os.strerror(number) in text for number in _ADVICE)


class Disk:
    """Plain file calls. Every error is an ``OSError`` of the system."""

    def allocate(self, path: Path, size: int) -> int:
        """Create ``path`` with ``size`` bytes of real space behind it; returns its descriptor."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            self.fill(fd, 0, size)
        except OSError:
            os.close(fd)
            with contextlib.suppress(OSError):
                self.remove(path)
            raise
        return fd

    def remove(self, path: Path) -> None:
        """Delete a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def fill(self, fd: int, start: int, end: int) -> None:
        """Reserve the bytes from ``start`` to ``end``, so that writing there cannot lack room."""
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, start, end - start)
            return
        for offset in range(start, end, len(_ZEROS)):
            self.write(fd, _ZEROS[: end - offset], offset)

    def clear(self, fd: int, size: int) -> None:
        """Write the reserved bytes once, so that no sync has to note anew which of them are in use."""
        for offset in range(0, size, len(_ZEROS)):
            os.pwrite(fd, _ZEROS[: size - offset], offset)

    def write(self, fd: int, data: bytes, offset: int) -> None:
        """Write all of ``data`` at ``offset``."""
        view = memoryview(data)
        while view:
            written = os.pwrite(fd, view, offset)
            if not written:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            view = view[written:]
            offset += written

    def sync(self, fd: int) -> None:
        """Return when what was written is on the medium."""
        if sys.platform == "darwin":
            import fcntl

            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(fd)

    def sync_file(self, fd: int) -> None:
        """Return when data and metadata of a new or cut file are on the medium."""
        if sys.platform == "darwin":
            self.sync(fd)
        else:
            os.fsync(fd)

    def sync_folder(self, path: Path) -> None:
        """Return when the names in ``path`` are on the medium."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def make_folder(self, path: Path) -> None:
        """Make ``path`` and what is missing above it; its name is on the medium when this returns."""
        made = [one for one in path.absolute().parents if not one.exists()]
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for one in (path, *made):
            with contextlib.suppress(PermissionError):  # a folder of somebody else that may not be listed
                self.sync_folder(one.absolute().parent)

    def cut(self, fd: int, offset: int, size: int) -> None:
        """Remove everything from ``offset`` on; keep room for ``size`` bytes in all, if there is room."""
        os.ftruncate(fd, offset)
        with contextlib.suppress(OSError):  # then a later write fails, and is taken back like this one
            self.fill(fd, offset, size)
        self.sync_file(fd)
