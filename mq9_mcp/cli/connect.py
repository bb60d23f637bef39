"""Who calls, and which broker: options, then ``MQ9_*``, then what a person at this machine expects."""

from __future__ import annotations

import argparse
import getpass
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mq9_mcp.cli.parser import Parser
from mq9_mcp.domain.errors import Refused, Unavailable
from mq9_mcp.domain.names import check_new_address

if TYPE_CHECKING:
    from mq9_mcp.client import Mq9Client, SyncMq9Client

# What mq9 reads of its environment when it calls a broker; the settings of the broker itself are more.
ENVIRONMENT = {
    "MQ9_URL": "The broker's address, as `--url`.",
    "MQ9_DATA": "The data directory whose broker is called, as `--data`; the platform's user data directory "
    "if left out. If no broker owns it, http://127.0.0.1:9009 is tried.",
    "MQ9_AGENT": "The agent to act as, as `--agent`. Empty: none.",
    "MQ9_TOKEN": "A credential, as `--token`, but seen in no list of processes.",
    "NO_COLOR": "If it is set, tables on a terminal have no colours. Text in a pipe never has any.",
}

_FOREIGN = re.compile(r"[^a-z0-9]+")


def add_connection(parser: Parser) -> None:
    """The options of every command that calls a broker."""
    group = parser.add_argument_group("which broker, and who calls")
    group.add_argument("--url", help="the broker's address (MQ9_URL; else the one that owns the data)")
    group.add_argument(
        "--data", metavar="DIR", type=Path, help="the broker of this data directory (MQ9_DATA)"
    )
    group.add_argument(
        "--agent", metavar="NAME", help="the agent to act as (MQ9_AGENT; else your login name; '' for none)"
    )
    group.add_argument("--token", help="a credential (better: MQ9_TOKEN, which no process list shows)")
    group.add_argument("--timeout", metavar="SECONDS", type=float, help="give a call up after so long")


def add_json(parser: Parser) -> None:
    """The option that every command has."""
    parser.add_argument("--json", action="store_true", help="for programs: JSON, as the broker answers")


def wants_json(chosen: argparse.Namespace) -> bool:
    """True if a program reads the output."""
    return bool(getattr(chosen, "json", False))


def agent_of(chosen: argparse.Namespace) -> str | None:
    """The agent to act as. None with a credential and no name: the credential decides then."""
    named: str | None = getattr(chosen, "agent", os.environ.get("MQ9_AGENT"))
    if named is not None:
        return named or None
    return None if token_of(chosen) else login_agent()


def login_agent() -> str | None:
    """The login name as an address; None if there is none, or it cannot be one."""
    try:
        name = _FOREIGN.sub("-", getpass.getuser().lower()).strip("-")
        return check_new_address(name)
    except (OSError, KeyError, ImportError, Refused):
        return None


def token_of(chosen: argparse.Namespace) -> str | None:
    """The credential, if there is one."""
    return getattr(chosen, "token", os.environ.get("MQ9_TOKEN")) or None


def url_of(chosen: argparse.Namespace) -> str | None:
    """The broker's address; None leaves it to the client: ``MQ9_URL``, then the data directory."""
    url: str | None = getattr(chosen, "url", None)
    data: Path | None = getattr(chosen, "data", None)
    if url or data is None:
        return url or None
    from mq9_mcp.daemon import find

    running = find(data)
    if running is None:
        raise Unavailable("SHUTTING_DOWN", f"no broker owns {data}", f"run: mq9 daemon start --data {data}")
    return running.url


class Connection:
    """A broker and who calls it: ``connection(command, **arguments)`` replies, or raises ``Mq9Error``."""

    def __init__(self, client: SyncMq9Client, agent: str | None) -> None:
        self._client = client
        self.agent = agent

    @property
    def url(self) -> str:
        """Where the broker is."""
        return self._client.url

    def __call__(self, command: str, /, **arguments: Any) -> dict[str, Any]:
        """One command with arguments as the wire has them."""
        return self._client.call(command, arguments)

    def task_follow(self, task: str, after: int | None) -> Iterator[dict[str, Any]]:
        """A task, then each later entry of its history."""
        return self._client.task_follow(task, after)


@contextmanager
def connected(chosen: argparse.Namespace) -> Iterator[Connection]:
    """The broker that the options name."""
    from mq9_mcp.client import SyncMq9Client

    with SyncMq9Client(url_of(chosen), **client_options(chosen)) as client:
        yield Connection(client, agent_of(chosen))


def async_client(chosen: argparse.Namespace) -> Mq9Client:
    """A client for a command that does several things at a time."""
    from mq9_mcp.client import Mq9Client

    return Mq9Client(url_of(chosen), **client_options(chosen))


def client_options(chosen: argparse.Namespace) -> dict[str, Any]:
    """Who calls, and how patiently, as the client takes it."""
    if getattr(chosen, "agent", None) == "":
        os.environ.pop("MQ9_AGENT", None)  # the client would read it
    options: dict[str, Any] = {"agent": agent_of(chosen), "token": token_of(chosen)}
    if "timeout" in chosen:
        options["timeout_s"] = chosen.timeout
    return options
