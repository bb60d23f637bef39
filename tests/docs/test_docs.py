"""The documentation is true: reference pages match the code, links lead somewhere, every example runs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from mq9_mcp.broker.catalogue import CATALOGUE
from mq9_mcp.cli import main
from mq9_mcp.domain.commands import SettingsArguments
from mq9_mcp.domain.delivery import DeliveryState, Step
from mq9_mcp.domain.errors import CODES
from mq9_mcp.domain.events import AnyEvent
from mq9_mcp.domain.limits import LIMITS
from mq9_mcp.settings import SETTINGS
from tests.client.serving import serving
from tests.docs.markdown import Code, anchors, broken_links, fences, links, python_blocks, run_block, run_page
from tests.house.source import ROOT, tree_paths
from tools.make_docs import NOTE, REFERENCE, pages

DOCS = ROOT / "docs"
MADE = pages()
PAGES = [ROOT / path for path in tree_paths() if path.endswith(".md")]
# For a shell: tests/cli and test_shell.py run what can be run.
SHELL = {"from-the-command-line.md", "run-the-server.md", "operate.md", "first-hour.md"}
LEARNT = [*(DOCS / "tutorial").glob("*.md"), *(DOCS / "how-to").glob("*.md")]
RUN = sorted(page for page in LEARNT if page.name not in SHELL)
KINDS = ("tutorial", "how-to", "reference", "why")


def text(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", MADE)
def test_a_reference_page_is_fresh(name: str) -> None:
    assert (REFERENCE / name).exists(), "run: make docs"
    assert text(name) == MADE[name], "the page is stale; run: make docs"


def test_no_made_page_is_left_over() -> None:
    made = {path.name for path in REFERENCE.glob("*.md") if path.read_text(encoding="utf-8").startswith(NOTE)}
    assert made == set(MADE)


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("commands.md", list(CATALOGUE)),
        ("errors.md", [code.lower() for code in CODES]),
        ("events.md", [kind.__struct_config__.tag for kind in get_args(AnyEvent)]),
    ],
)
def test_everything_has_a_heading(page: str, names: list[str]) -> None:
    assert set(names) <= anchors(text(page))


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("limits.md", list(LIMITS)),
        ("settings.md", [*SettingsArguments.__struct_fields__, *SETTINGS]),
        ("states.md", [*DeliveryState, *Step]),
    ],
)
def test_everything_has_a_row(page: str, names: list[str]) -> None:
    rows = {line.split("`")[1] for line in text(page).splitlines() if line.startswith("| `")}
    assert set(names) <= rows


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_every_page_can_be_reached_from_the_index() -> None:
    seen: set[Path] = set()
    todo = [DOCS / "index.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        targets = (link.partition("#")[0] for link in links(page.read_text(encoding="utf-8")))
        todo += [(page.parent / target).resolve() for target in targets if target and "://" not in target]
    assert {page for kind in KINDS for page in (DOCS / kind).glob("*.md")} <= seen


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The server that the page's reader has started."""
    with serving(tmp_path / "server") as running:
        monkeypatch.setenv("MQ9_URL", running.url)
        yield


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_code_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    async def body() -> None:
        async with asyncio.timeout(60):
            await run_page(page)

    text = page.read_text(encoding="utf-8")
    assert python_blocks(text)
    if "mq9_mcp.client" in text or "MQ9_URL" in text:
        request.getfixturevalue("server")
    monkeypatch.chdir(tmp_path)
    asyncio.run(body())


@pytest.mark.usefixtures("server")
def test_the_script_of_the_readme_runs(tmp_path: Path) -> None:
    [script] = python_blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    (tmp_path / "first.py").write_text(script.text, encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "first.py"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'a2a'}",
            "PYTHONWARNINGS": "error",
            "PYTHONMALLOC": "debug",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == script.shows


def test_the_paste_of_the_readme_is_what_mq9_config_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "claude-code", "--command", "mq9-mcp"]) == 0
    printed, program = capsys.readouterr().out.strip().rsplit(" ", 1)
    assert program == "mq9-mcp"
    assert f'{printed} "$PWD/.venv/bin/mq9-mcp"\n' in (ROOT / "README.md").read_text(encoding="utf-8")


# -- the checks bite


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One two\n[a](#one-two) [b](page.md#three) [c](none.md)\n```\n[d](none.md)\n```\n")
    assert broken_links(page) == ["page.md: page.md#three", "page.md: none.md"]


def test_a_block_that_fails_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n\n```text\n2\n```\n")
    with pytest.raises(AssertionError, match="line 2: it prints\n1"):
        asyncio.run(run_page(page))


def test_a_block_may_await_and_sees_those_before_it() -> None:
    async def body() -> str:
        namespace = {"asyncio": asyncio, "a": 1}
        return await run_block(Code("python", "await asyncio.sleep(0)\nprint(a)\n", 1, None), "x", namespace)

    assert asyncio.run(body()) == "1\n"


def test_fences_are_seen_with_what_they_show() -> None:
    page = "```python\na\n```\n\n```text\nb\n```\nwords\n```sh\nc\n```\n"
    assert [(code.language, code.shows) for code in fences(page)] == [
        ("python", "b\n"),
        ("text", None),
        ("sh", None),
    ]
