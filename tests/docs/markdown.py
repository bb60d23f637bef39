"""What the documentation tests see of a page: its headings, links and code, and a way to run the code."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+)$", re.MULTILINE)


class Code(NamedTuple):
    """A fenced block: its language, its text, its line, and the text block right after it."""

    language: str
    text: str
    line: int
    shows: str | None


def fences(page: str) -> Iterator[Code]:
    """Every fenced block of a page."""
    found = list(_FENCE.finditer(page))
    for index, one in enumerate(found):
        shows = None
        if index + 1 < len(found):
            following = found[index + 1]
            if following[1] == "text" and not page[one.end() : following.start()].strip():
                shows = following[2]
        yield Code(one[1], one[2], page.count("\n", 0, one.start()) + 2, shows)


def python_blocks(page: str) -> list[Code]:
    """The blocks that are run."""
    return [code for code in fences(page) if code.language == "python"]


def prose(page: str) -> str:
    """The page without its code blocks."""
    return _FENCE.sub("", page)


def links(page: str) -> list[str]:
    """Where the page's links lead."""
    return _LINK.findall(prose(page))


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    found = set()
    for heading in _HEADING.findall(prose(page)):
        words = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
        found.add(words.strip().replace(" ", "-"))
    return found


def broken_links(path: Path) -> list[str]:
    """The links of a page that lead nowhere; addresses on the net are not looked at."""
    broken = []
    for link in links(path.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        known = target.exists()
        if known and anchor:
            known = anchor in anchors(target.read_text(encoding="utf-8"))
        if not known:
            broken.append(f"{path.name}: {link}")
    return broken


async def run_page(path: Path) -> None:
    """Run a page's Python as ``python -m asyncio`` does: one namespace, ``await`` at the top level.

    What a block prints must be what the text block after it shows.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    page = path.read_text(encoding="utf-8")
    try:
        for code in python_blocks(page):
            printed = await run_block(code, path.name, namespace)
            assert printed == (code.shows or ""), f"{path.name}, line {code.line}: it prints\n{printed}"
    finally:
        if "broker" in namespace:
            await namespace["broker"].close()


async def run_block(code: Code, name: str, namespace: dict[str, Any]) -> str:
    """Run one block; returns what it printed."""
    tree = compile(
        "\n" * (code.line - 1) + code.text,
        name,
        "exec",
        flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        dont_inherit=True,
    )
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        result = eval(tree, namespace)
        if inspect.iscoroutine(result):
            await result
    return printed.getvalue()
