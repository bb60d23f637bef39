"""Programs of others that check an MCP server: two from npm, at the versions of ``node/package-lock.json``.

They are put once into ``build/``; Node itself comes with the development dependencies.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.house.source import ROOT

PINNED = Path(__file__).parent / "node"
FILES = ("package.json", "package-lock.json")
BIN = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}", "NO_COLOR": "1"}
INSTALL_S = 300


class Said(NamedTuple):
    """How a program ended, and what it said."""

    code: int
    out: str


def from_npm(name: str) -> Path:
    """The path of a pinned program."""
    return installed(PINNED) / "node_modules" / ".bin" / name


def installed(pinned: Path) -> Path:
    """Where what ``pinned`` names is; the first test that needs it installs all, others wait for it."""
    texts = [(pinned / file).read_bytes() for file in FILES]
    folder = ROOT / "build" / "checkers" / hashlib.sha256(b"".join(texts)).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "installed"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            for file in FILES:
                shutil.copy(pinned / file, folder / file)
            command = [str(BIN / "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            ended = subprocess.run(
                command,
                cwd=folder,
                env=ENVIRONMENT,
                capture_output=True,
                text=True,
                timeout=INSTALL_S,
                check=False,
            )
            assert ended.returncode == 0, ended.stderr
            done.touch()
    return folder


async def say(folder: Path, *command: str | Path, **environment: str) -> Said:
    """Run a program in ``folder`` and hear it out."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=ENVIRONMENT | environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert process.returncode is not None
    return Said(process.returncode, out.decode() or errors.decode())
