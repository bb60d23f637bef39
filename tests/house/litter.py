"""What must not lie about: shadowing names, leftovers, addresses. Each rule returns what breaks it.

The patterns are put together from pieces, so that this file does not match itself.
"""

import re
import tomllib
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

# The SDKs that the doors are for are no dependencies yet, but their names are taken already.
TAKEN = frozenset({"a2a", "mcp"})
CODE_FOLDERS = ("mq9_mcp/", "a2a/", "tests/")

LEFTOVERS = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b|raise Not" r"ImplementedError")
MACHINE_PATHS = re.compile(
    r"(?<![\w.~/-])(?:/(?:home|Users|work)/[\w.-]+|/ro"
    r"ot(?:/|\b)|/var/fol"
    r"ders/|[A-Z]:\\Users\\\w)"
)
REGISTRIES = re.compile(r"pypi\.o" r"rg|pythonhosted\.o" r"rg|registry\.npmjs\.o" r"rg|yarnpkg\.c" r"om")


def dependency_names(pyproject: str) -> frozenset[str]:
    """The import names of everything that `pyproject.toml` depends on, by the usual spelling."""
    data = tomllib.loads(pyproject)
    wanted = [*data["project"]["dependencies"], *data["build-system"]["requires"]]
    for group in data["dependency-groups"].values():
        wanted += group
    names = (re.match(r"[\w.-]+", one) for one in wanted)
    return TAKEN | {name[0].lower().replace("-", "_") for name in names if name}


def shadowing_names(paths: Sequence[str], taken: Collection[str]) -> list[str]:
    """No module, package or test folder is named like a dependency; `a2a/` itself is no package.

    A benchmark has the name of what it measures: it is a script, and takes its folder out of the path.
    """
    paths = [path for path in paths if not path.startswith("benchmarks/")]
    found = [f"{path}: a2a/ must never be a package" for path in paths if path == "a2a/__init__.py"]
    for path in paths:
        if path.endswith(".py") or path.startswith(CODE_FOLDERS):
            inner = PurePosixPath(path.removeprefix("a2a/"))
            names = {*inner.parent.parts, inner.stem if inner.suffix == ".py" else ""}
            found += [f"{path}: {name} is the name of a dependency" for name in sorted(names & {*taken})]
    return found


def leftovers(path: str, text: str) -> list[str]:
    """Nothing half-finished is left behind."""
    return _matches(LEFTOVERS, path, text)


def machine_paths(path: str, text: str) -> list[str]:
    """No path that exists on one machine only."""
    return _matches(MACHINE_PATHS, path, text)


def registry_addresses(path: str, text: str) -> list[str]:
    """No address of a package registry: which one is used is up to the machine."""
    return _matches(REGISTRIES, path, text)


def _matches(pattern: re.Pattern[str], path: str, text: str) -> list[str]:
    lines = enumerate(text.splitlines(), 1)
    return [f"{path}:{number}: {match[0]}" for number, line in lines for match in pattern.finditer(line)]
