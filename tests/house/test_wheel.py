"""The wheel ships the two packages and nothing that could overwrite another distribution's files."""

import subprocess
import sys
import zipfile
from pathlib import Path

import mq9_mcp
from tests.house.source import ROOT


def test_the_wheel_ships_the_two_packages(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    info = f"mq9_mcp-{mq9_mcp.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"mq9_mcp", "mq9_a2a", info}
    assert {"mq9_mcp/py.typed", "mq9_a2a/__init__.py", "mq9_a2a/py.typed"} <= {*names}
    assert {f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE"} <= {*names}
