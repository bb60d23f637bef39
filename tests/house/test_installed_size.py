"""What people install stays small: the product and all that it needs, without what only developers need.

Counted are the files that the packages bring, in MiB, on this machine. Byte code comes on top where an
installer writes it (pip does, some 50 MB, uv does not).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
MOST_MIB = 300
HEAVY = {"torch", "sentence-transformers", "transformers", "triton"}


def locked() -> dict[str, str]:
    """The pinned packages and their versions."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", text, re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pins}


def closure(first: list[str]) -> dict[str, Distribution]:
    """The installed distributions that these requirements bring, markers of this machine applied."""
    found: dict[str, Distribution] = {}
    todo = [Requirement(text) for text in first]
    while todo:
        wanted = todo.pop()
        extras = ["", *wanted.extras]
        name = canonicalize_name(wanted.name)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        known = found.get(name)
        if known is not None and not wanted.extras:
            continue
        found[name] = distribution(name)
        for text in found[name].requires or []:
            one = Requirement(text)
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras):
                one.marker = None
                if not (canonicalize_name(one.name) in found and not one.extras):
                    todo.append(one)
    return found


def size(one: Distribution) -> int:
    """The bytes of its files as they are installed."""
    return _bytes(Path(str(file.locate())) for file in one.files or [])


def _bytes(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.suffix != ".pyc" and path.is_file())


def product() -> list[str]:
    """What the product asks for, as pyproject.toml says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted: list[str] = project["dependencies"]
    return wanted


def test_the_product_with_all_it_needs_stays_under_300_mib() -> None:
    needed = closure(product())
    own = _bytes((ROOT / "mq9_mcp").rglob("*"))
    sizes = {name: size(one) for name, one in needed.items()}
    assert sizes["onnxruntime"] > 1_000_000, "sizes are read"
    assert own > 20_000_000, "the model ships"
    total = own + sum(sizes.values())
    largest = sorted(sizes.items(), key=lambda one: -one[1])[:8]
    assert total < MOST_MIB * 2**20, f"{total / 2**20:.0f} MiB; the largest: {largest}"


def test_all_that_is_needed_is_pinned_and_nothing_heavy_is() -> None:
    pins = locked()
    assert not HEAVY & pins.keys()
    for name, one in closure(product()).items():
        assert name in pins, f"{name} is not in requirements.lock"
        assert one.version


def test_what_is_missing_is_noticed() -> None:
    with pytest.raises(PackageNotFoundError):
        closure(["no-such-package-at-all"])
