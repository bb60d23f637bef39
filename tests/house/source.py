"""What the house rules look at: the files of the tree, as text."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Source:
    """One Python file: its path from the root of the repository, and its text."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @property
    def is_package(self) -> bool:
        return self.path.endswith("/__init__.py")

    @property
    def module(self) -> str:
        """The dotted name it is imported by: `a2a/mq9_a2a/app.py` is `mq9_a2a.app`."""
        dotted = self.path.removeprefix("a2a/").removesuffix(".py").removesuffix("/__init__")
        return dotted.replace("/", ".")


def tree_paths() -> list[str]:
    """Every file that is tracked, or untracked and not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted(path for path in set(listed.split("\0")) if path and (ROOT / path).is_file())


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


def sources(*folders: str) -> list[Source]:
    """The Python files of the tree below these folders."""
    prefixes = tuple(f"{folder}/" for folder in folders)
    return [Source(p, read(p)) for p in tree_paths() if p.endswith(".py") and p.startswith(prefixes)]


def imports(source: Source, known: frozenset[str]) -> Iterator[tuple[int, str]]:
    """(line, module) of every import, inner ones too. `from a import b` is `a.b` if that is known."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(source, node)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield node.lineno, inner if inner in known else base


def _base(source: Source, node: ast.ImportFrom) -> str:
    """The absolute name of what a `from ... import` names, also for a relative one."""
    if not node.level:
        return node.module or ""
    parts = source.module.split(".")
    up = node.level - 1 if source.is_package else node.level
    parts = parts[: len(parts) - up]
    return ".".join([*parts, node.module] if node.module else parts)
