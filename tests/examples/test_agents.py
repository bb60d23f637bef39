"""Every example does what its README shows, word for word."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mq9_mcp.client import SyncMq9Client
from tests.docs.markdown import links
from tests.examples.stage import AGENTS, stage
from tests.house.source import Source, imports
from tests.serve.process import ENVIRONMENT, serving

NAMES = sorted(path.parent.name for path in AGENTS.glob("*/README.md"))
PROGRAMS = sorted(AGENTS.glob("*/*.py"))
PAGE = 3500  # characters of a page of paper
OURS = frozenset({"mq9_mcp.client", "mq9_a2a"})
UNANSWERED = "CONNECTION_FAILED: no answer from the broker at http://127.0.0.1:1"
NOT_OURS = "Network communication error"  # the words of the A2A client


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_offline_worker(tmp_path: Path) -> None:
    with stage("offline_worker", tmp_path) as play:
        play.runs()
        play.runs(killed_by_us=True)
        play.runs()
        play.runs()
        play.runs()


def test_request_reply_team(tmp_path: Path) -> None:
    with stage("request_reply_team", tmp_path) as play:
        two = play.starts()
        play.runs()
        third = play.starts()
        play.runs()
        play.runs()
        play.runs()
        play.goes_on(third)
        declined = [f"{name} declines: we have teapot, kettle\n" for name in ("price", "stock")]
        assert sorted(two.line() for _ in declined) == declined
        for program in (two, third):
            program.interrupted("the desk is empty")


def test_human_in_the_loop(tmp_path: Path) -> None:
    with stage("human_in_the_loop", tmp_path) as play:
        buyer = play.starts()
        play.runs()
        play.runs()
        play.goes_on(buyer)
        buyer.ends()
        play.runs()
        again = play.starts()
        play.runs()
        again.interrupted("buyer is away")


def test_helpdesk(tmp_path: Path) -> None:
    with stage("helpdesk", tmp_path) as play:
        desks = play.starts()
        for _ in range(3):
            play.runs()
        desks.plays("desk-billing: 'my lamp was paid two times'")
        desks.plays("desk-accounts: 'the site does not know my password any more'")
        desks.interrupted("the desks are closed")


def test_exactly_once_payments(tmp_path: Path) -> None:
    with stage("exactly_once_payments", tmp_path) as play:
        for _ in range(5):
            play.runs()
        slow = play.starts()
        quick = play.starts()
        play.goes_on(slow)
        play.runs()
        play.runs()
        for program in (slow, quick):
            program.interrupted("cashier is away")


def test_a2a_agent(tmp_path: Path) -> None:
    with stage("a2a_agent", tmp_path) as play:
        play.runs()
        asker = play.starts()
        agent = play.starts()
        play.goes_on(asker)
        asker.ends()
        agent.plays("asked: '1987'")
        agent.interrupted("roman is away")


# -- what holds for all


def test_the_index_names_every_example() -> None:
    folders = {path.name for path in AGENTS.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == {link.removesuffix("/README.md") for link in links(read(AGENTS / "README.md"))}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_small(name: str) -> None:
    lines = sum(len(read(path).splitlines()) for path in (AGENTS / name).rglob("*.py"))
    assert lines < 120
    assert len(read(AGENTS / name / "README.md")) < PAGE


@pytest.mark.parametrize("name", NAMES)
def test_an_example_uses_what_is_public(name: str) -> None:
    """Everybody's packages and our public ones: a reader can copy the file and has all of it."""
    for path in (AGENTS / name).glob("*.py"):
        source = Source(str(path), read(path))
        known = {
            module.partition(".")[0] if module not in OURS else module for _, module in imports(source, OURS)
        }
        assert known - sys.stdlib_module_names <= OURS | {"a2a", "httpx", "mcp"}, path


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_without_a_broker_a_program_says_so_in_one_line(program: Path, tmp_path: Path) -> None:
    environment = {**ENVIRONMENT, "MQ9_URL": "http://127.0.0.1:1"}
    ended = subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith((UNANSWERED, NOT_OURS)), ended
    assert ended.stderr.count("\n") == 1


def test_the_commands_in_passing_work(tmp_path: Path) -> None:
    """What a page says one could type, outside of its story."""
    pages = [*AGENTS.glob("*/README.md")]
    commands = {
        command for page in pages for command in re.findall(r"`\.venv/bin/mq9 ([^`\n]+)`", read(page))
    }
    assert commands
    with serving(tmp_path / "data") as server:
        with SyncMq9Client(server.url, agent="reader") as client:
            for mailbox in ("person", "roman", "stock.dead"):
                client.mailbox_create(address=mailbox)
        environment = {**ENVIRONMENT, "MQ9_URL": server.url}
        for command in commands:
            words = [sys.executable, "-m", "mq9_mcp.cli", *shlex.split(command)]
            ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
            assert (ended.returncode, ended.stderr) == (0, ""), command
