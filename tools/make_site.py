"""The site's pages and navigation, for ``make site``: mkdocs calls this (see ``hooks`` in mkdocs.yml).

Pages link to each other as they lie in the repository, so they are built from a copy of its documentation:
README, ``docs``, ``examples`` and what else they lead to. The navigation is what ``docs/index.md`` lists.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
INDEX = "docs/index.md"
TREES = ("docs", "examples")
FILES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE", "NOTICE", "a2a/README.md")
_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]+\.md)(?:#[^)]*)?\)")


def stage(folder: Path) -> None:
    """Copy what the site is made of."""
    shutil.rmtree(folder, ignore_errors=True)
    for tree in TREES:
        shutil.copytree(ROOT / tree, folder / tree, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)


def navigation(index: str) -> list[dict[str, Any]]:
    """The sections of the index with their links, each page once, where it is first named."""
    places = [(found[1], found.end()) for found in _SECTION.finditer(index)]
    ends = [*(found.start() for found in _SECTION.finditer(index)), len(index)][1:]
    known: set[str] = set()
    sections: list[dict[str, Any]] = [{"Start": [{"mq9-mcp": "README.md"}, {"All pages": INDEX}]}]
    for (title, begin), end in zip(places, ends, strict=True):
        pages = []
        for words, link in _LINK.findall(index[begin:end]):
            path = str((ROOT / "docs" / link).resolve().relative_to(ROOT))
            if path not in known:
                known.add(path)
                pages.append({words: path})
        sections.append({title: pages})
    return sections


def on_config(config: Any) -> Any:
    """Before mkdocs looks for pages."""
    stage(Path(config["docs_dir"]))
    config["nav"] = navigation((ROOT / INDEX).read_text(encoding="utf-8"))
    return config
