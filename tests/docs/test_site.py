"""What ``make site`` is made of; that it builds and its links lead somewhere, it says itself."""

from __future__ import annotations

from pathlib import Path

from tests.house.source import ROOT
from tools.make_site import INDEX, navigation, stage

KINDS = ("tutorial", "how-to", "reference", "why")


def test_the_navigation_has_every_page_once() -> None:
    sections = navigation((ROOT / INDEX).read_text(encoding="utf-8"))
    paths = [
        path for section in sections for pages in section.values() for page in pages for path in page.values()
    ]
    assert len(paths) == len(set(paths))
    pages = {str(page.relative_to(ROOT)) for kind in KINDS for page in (ROOT / "docs" / kind).glob("*.md")}
    assert pages <= set(paths)
    assert all((ROOT / path).is_file() for path in paths)


def test_what_pages_lead_to_is_copied(tmp_path: Path) -> None:
    stage(tmp_path / "pages")
    stage(tmp_path / "pages")
    for path in ("README.md", INDEX, "docs/demo.svg", "examples/agents/a2a_agent/ask.py", "a2a/README.md"):
        assert (tmp_path / "pages" / path).read_bytes() == (ROOT / path).read_bytes()
