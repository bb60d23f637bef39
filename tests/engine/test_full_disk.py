"""Full disks as an ordinary user has them: no file may grow, in a process of its own.

Refusals say what to do, reads go on, nothing acknowledged is lost, and nobody restarts anything.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.full_disk_worker import SCENARIOS

WORKER = Path(__file__).with_name("full_disk_worker.py")
ROOT = Path(__file__).parents[2]
IN_TURN = ("killed_while_full", "opened_while_full")

pytestmark = pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="the limit of the folder process is set from outside"
)


def worked(name: str, data: Path) -> subprocess.CompletedProcess[str]:
    """The scenario, run to its end."""
    return subprocess.run(
        [sys.executable, "-W", "error", str(WORKER), name, str(data)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'a2a'}"},
        capture_output=True,
        text=True,
        timeout=90,
    )


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in IN_TURN])
def test_without_room(name: str, tmp_path: Path) -> None:
    ended = worked(name, tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_what_was_killed_without_room_opens(tmp_path: Path) -> None:
    killed, opened = (worked(name, tmp_path) for name in IN_TURN)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (opened.returncode, opened.stderr) == (0, "")
