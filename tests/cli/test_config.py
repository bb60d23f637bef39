"""``mq9 config``: it prints what the host reads and what the pages show; the registry gets what is right."""

from __future__ import annotations

import json
import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import mq9_mcp
from mq9_mcp.cli.config import HOSTS
from mq9_mcp.engine.embedded.lock import OwnerLock
from tests.cli.person import Person
from tests.docs.markdown import anchors, broken_links, fences
from tests.house.source import ROOT

PAGES = ROOT / "docs" / "how-to" / "hosts"
UVX = ("--command", "uvx mq9-mcp")


@pytest.fixture(name="person")
def somebody(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Person:
    """Somebody at a command line, with nothing running."""
    for name in ("MQ9_AGENT", "MQ9_URL", "MQ9_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MQ9_DATA", "")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    return Person(capsys)


def entry(person: Person, host: str, *words: str) -> dict[str, Any]:
    """What the host reads of what is printed."""
    text = person.says("config", host, *words)
    if host == "claude-code":
        parts = shlex.split(text)
        assert parts[:6] == ["claude", "mcp", "add", "--scope", "user", "--transport"]
        kind, name, *rest = parts[6:]
        assert name == "mq9"
        if kind == "stdio":
            assert rest[0] == "--"
            return {"command": rest[1], "args": rest[2:]}
        assert rest[1] == "--header"
        return {"url": rest[0], "agent": rest[2].removeprefix("Mq9-Agent: ")}
    if host == "codex":
        [(name, found)] = tomllib.loads(text)["mcp_servers"].items()
        headers = found.pop("http_headers", None)
        assert (found.pop("startup_timeout_sec"), found.pop("tool_timeout_sec")) == (60, 90)
    else:
        [(servers, one)] = json.loads(text).items()
        assert servers == ("servers" if host == "vscode" else "mcpServers")
        [(name, found)] = one.items()
        headers = found.pop("headers", None)
        if host == "vscode":
            assert found.pop("type") == ("http" if "url" in found else "stdio")
    assert name == "mq9"
    return {**found, **({"agent": headers["Mq9-Agent"]} if headers else {})}


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_starts_the_bridge(person: Person, host: str, tmp_path: Path) -> None:
    assert entry(person, host, *UVX) == {"command": "uvx", "args": ["mq9-mcp"]}
    odd = tmp_path / 'a "b" \\ ü'
    found = entry(person, host, *UVX, "--data", str(odd), "--agent", "bo")
    assert found == {"command": "uvx", "args": ["mq9-mcp", "--data", str(odd), "--agent", "bo"]}


@pytest.mark.parametrize("host", [name for name, host in HOSTS.items() if host.over_http])
def test_a_host_calls_a_broker(person: Person, host: str) -> None:
    where = {"url": "http://127.0.0.1:9009/mcp"}
    assert entry(person, host, "--http") == {**where, "agent": host}
    for url in ("http://127.0.0.1:8000", "http://127.0.0.1:8000/mcp/"):
        found = entry(person, host, "--http", url, "--agent", "bo")
        assert found == {"url": "http://127.0.0.1:8000/mcp", "agent": "bo"}


def test_the_daemon_of_the_data_directory_is_called(person: Person, tmp_path: Path) -> None:
    lock = OwnerLock(tmp_path / "data")
    try:
        lock.tell("http://127.0.0.1:1234")
        found = entry(person, "cursor", "--http", "--data", str(tmp_path / "data"))
    finally:
        lock.release()
    assert found["url"] == "http://127.0.0.1:1234/mcp"


def test_what_the_environment_says_of_the_data_is_told(
    person: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MQ9_DATA", str(tmp_path))
    monkeypatch.setenv("MQ9_AGENT", "ann")
    assert entry(person, "codex", *UVX)["args"] == ["mq9-mcp", "--data", str(tmp_path)]


def test_the_bridge_beside_this_mq9_is_started_by_its_whole_path(
    person: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mq9-mcp").touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert entry(person, "cursor") == {"command": str(tmp_path / "mq9-mcp"), "args": []}
    passing = tmp_path / "archive-v0" / "x"
    passing.mkdir(parents=True)
    (passing / "mq9-mcp").touch()
    monkeypatch.setattr(sys, "executable", str(passing / "python"))
    assert entry(person, "cursor")["args"] == ["mq9-mcp"], "uvx removes it some day"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cursor", "--http", "ftp://x"), "http://HOST:PORT"),
        (("cursor", "--agent", "No Name"), "accepted"),
        (("cursor", "--command", " "), "--command"),
        (("claude-desktop", "--http"), "--http"),
        (("emacs",), "claude-code"),
    ],
)
def test_what_makes_no_sense_is_refused(person: Person, words: tuple[str, ...], said: str) -> None:
    assert person.mq9("config", *words) != 0
    assert person.out == ""
    assert said in person.err


def test_programs_read_where_it_belongs(person: Person) -> None:
    told = person.reply("config", "codex", *UVX)
    assert told["host"] == "codex"
    assert "config.toml" in told["where"]
    assert tomllib.loads(told["text"])["mcp_servers"]


@pytest.mark.parametrize("host", HOSTS)
def test_the_page_of_a_host_shows_what_is_printed(person: Person, host: str) -> None:
    page = PAGES / f"{host}.md"
    blocks = list(fences(page.read_text(encoding="utf-8")))
    commands = [at for at, block in enumerate(blocks) if block.language == "sh"]
    assert len(commands) == (3 if HOSTS[host].over_http else 2)
    for at in commands:
        assert person.says(*shlex.split(blocks[at].text)[1:]) == blocks[at + 1].text, blocks[at].text
    assert broken_links(page) == []
    assert f"({host}.md)" in (PAGES / "index.md").read_text(encoding="utf-8")
    assert anchors((PAGES / "index.md").read_text(encoding="utf-8"))


def test_the_registry_gets_what_is_true() -> None:
    """The rules of the schema of 2025-12-11 and of the registry, as far as this file goes."""
    server = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))
    assert server["$schema"].endswith("/schemas/2025-12-11/server.schema.json")
    assert set(server) == {"$schema", "name", "title", "description", "version", "packages"}
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", server["name"])
    assert 1 <= len(server["description"]) <= 100
    assert 1 <= len(server["title"]) <= 100
    [package] = server["packages"]
    assert server["version"] == package["version"] == mq9_mcp.__version__
    assert (package["registryType"], package["identifier"]) == ("pypi", "mq9-mcp")
    assert (package["runtimeHint"], package["transport"]) == ("uvx", {"type": "stdio"})
    for variable in package["environmentVariables"]:
        assert set(variable) <= {"name", "description", "format", "isSecret"}
        assert variable.get("format", "string") in ("string", "filepath")
    assert {one["name"]: one.get("isSecret") for one in package["environmentVariables"]}["MQ9_TOKEN"]


def test_the_readme_proves_whose_package_it_is() -> None:
    name = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))["name"]
    assert f"<!-- mcp-name: {name} -->" in (ROOT / "README.md").read_text(encoding="utf-8")
