"""``mq9 config HOST``: what an MCP host must be told to start ``mq9-mcp``, or to call a running broker.

It is printed, for people to put where it belongs: a host's files are not ours to edit.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mq9_mcp.cli.connect import add_json, wants_json
from mq9_mcp.cli.exits import OK
from mq9_mcp.cli.parser import Misuse, Parser, Run
from mq9_mcp.cli.printing import print_json
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.names import check_new_address

SERVER = "mq9"  # the name that hosts show and put before the names of tools
PROGRAM = "mq9-mcp"
MCP_PATH = "/mcp"
_RUNNER = "uvx"


class Start(NamedTuple):
    """A process that the host starts."""

    command: str
    arguments: list[str]


class Address(NamedTuple):
    """A broker that runs already, and who calls."""

    url: str
    agent: str


class Host(NamedTuple):
    """An MCP host: where its configuration belongs, and how it is written."""

    name: str
    where: str
    write: Callable[[Start | Address], str]
    over_http: bool = True


def _claude_code(server: Start | Address) -> str:
    """A command line: Claude Code writes its file itself."""
    words = ["claude", "mcp", "add", "--scope", "user", "--transport"]
    if isinstance(server, Start):
        return shlex.join([*words, "stdio", SERVER, "--", server.command, *server.arguments]) + "\n"
    # --header takes all words behind it, so it comes last.
    return shlex.join([*words, "http", SERVER, server.url, "--header", f"Mq9-Agent: {server.agent}"]) + "\n"


def _json(servers: str, typed: bool, server: Start | Address) -> str:
    entry: dict[str, Any]
    if isinstance(server, Start):
        entry = {"type": "stdio"} if typed else {}
        entry |= {"command": server.command, "args": server.arguments}
    else:
        entry = {"type": "http"} if typed else {}
        entry |= {"url": server.url, "headers": {"Mq9-Agent": server.agent}}
    return json.dumps({servers: {SERVER: entry}}, indent=2, ensure_ascii=False) + "\n"


def _toml(server: Start | Address) -> str:
    lines = [f"[mcp_servers.{SERVER}]"]
    if isinstance(server, Start):
        lines += [f"command = {_quoted(server.command)}", f"args = {_listed(server.arguments)}"]
    else:
        lines += [
            f"url = {_quoted(server.url)}",
            f'http_headers = {{ "Mq9-Agent" = {_quoted(server.agent)} }}',
        ]
    # Codex's own are 10 and 60: too short for a first download, and for a wait of 50 with a restart in it.
    lines += ["startup_timeout_sec = 60", "tool_timeout_sec = 90"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _listed(texts: list[str]) -> str:
    return "[" + ", ".join(map(_quoted, texts)) + "]"


_DESKTOP = (
    "claude_desktop_config.json (Settings, Developer, Edit Config), then quit Claude Desktop and start it"
)
HOSTS: dict[str, Host] = {
    host.name: host
    for host in (
        Host("claude-code", "run it in a shell; claude mcp list then shows mq9", _claude_code),
        Host("claude-desktop", _DESKTOP, partial(_json, "mcpServers", False), over_http=False),
        Host(
            "cursor",
            "~/.cursor/mcp.json, or .cursor/mcp.json in one project",
            partial(_json, "mcpServers", False),
        ),
        Host(
            "vscode",
            ".vscode/mcp.json in a project, or the file that 'MCP: Open User Configuration' opens",
            partial(_json, "servers", True),
        ),
        Host("codex", "~/.codex/config.toml, or .codex/config.toml in a trusted project", _toml),
    )
}


def _add(name: str, parser: Parser) -> Run:
    host = HOSTS[name]
    parser.epilog = f"Where it belongs: {host.where}. Nothing is edited."
    parser.add_argument("--agent", metavar="NAME", help="who calls; else <client>-<project folder>")
    parser.add_argument("--data", metavar="DIR", type=Path, help="the data directory (MQ9_DATA)")
    if host.over_http:
        parser.add_argument(
            "--http",
            metavar="URL",
            nargs="?",
            const="",
            help="no process: call a broker that runs, at this address or that of the daemon",
        )
    parser.add_argument(
        "--command",
        metavar="WORDS",
        help=f"how to start it ({PROGRAM} beside this mq9, else {_RUNNER} {PROGRAM})",
    )
    add_json(parser)
    return partial(_print, host)


# What `mq9` finds by name.
add_claude_code, add_claude_desktop, add_cursor, add_vscode, add_codex = (
    partial(_add, name) for name in HOSTS
)


def _print(host: Host, chosen: argparse.Namespace) -> int:
    server = _address(host, chosen) if "http" in chosen else _start(chosen)
    text = host.write(server)
    if wants_json(chosen):
        print_json({"host": host.name, "where": host.where, "text": text})
        return OK
    print(text, end="", flush=True)
    if sys.stderr.isatty():
        print(f"\n# {host.where}", file=sys.stderr)
    return OK


def _start(chosen: argparse.Namespace) -> Start:
    words = shlex.split(chosen.command) if "command" in chosen else _program()
    if not words:
        raise Misuse("--command: it is empty", f'accepted: a command line, such as "{_RUNNER} {PROGRAM}"')
    data = getattr(chosen, "data", None) or os.environ.get("MQ9_DATA")
    arguments = ["--data", str(Path(data).expanduser().absolute())] if data else []
    agent = _agent(chosen)
    return Start(words[0], [*words[1:], *arguments, *(["--agent", agent] if agent else [])])


def _agent(chosen: argparse.Namespace) -> str | None:
    named: str | None = getattr(chosen, "agent", None)
    return check_new_address(named) if named else None


def _program() -> list[str]:
    """The bridge that belongs to this ``mq9``. Hosts start it with a path of their own, so it is absolute."""
    beside = Path(sys.executable).parent / PROGRAM
    if beside.is_file() and f"{os.sep}archive-v" not in str(beside):  # which is uvx's own, for a while
        return [str(beside)]
    return [shutil.which(_RUNNER) or _RUNNER, PROGRAM]


def _address(host: Host, chosen: argparse.Namespace) -> Address:
    url = (chosen.http or _running(chosen)).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise Refused(
            "INVALID_ARGUMENT", f"--http: {url[:120]!r}; accepted: http://HOST:PORT or https://HOST:PORT"
        )
    return Address(url.removesuffix(MCP_PATH) + MCP_PATH, _agent(chosen) or host.name)


def _running(chosen: argparse.Namespace) -> str:
    """Where the daemon of the data directory listens, or would."""
    from mq9_mcp.client.find import DEFAULT_URL
    from mq9_mcp.daemon import find
    from mq9_mcp.settings import data_directory

    running = find(data_directory({"data": getattr(chosen, "data", None)}, os.environ))
    return running.url if running is not None else DEFAULT_URL
