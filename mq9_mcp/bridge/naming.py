"""Who the bridge is: the agent it was told to be, else named after its host and the folder it works in."""

from __future__ import annotations

import base64
import hashlib
import os
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

from mq9_mcp import __version__
from mq9_mcp.domain.names import ADDRESS_MAX
from mq9_mcp.doors.mcp_tools.names import agent_of_client

UNKNOWN_CLIENT = "mcp"
_CLIENT_MAX = 40  # characters, so that the folder's name has room
_DIGEST = 6


class Agent(NamedTuple):
    """An agent's name, and whether somebody chose it."""

    name: str
    chosen: bool

    def says(self) -> str:
        """What models and people are told of it."""
        why = (
            "" if self.chosen else ", named after this client and its folder; --agent or MQ9_AGENT changes it"
        )
        return f"The agent here is {self.name}{why}."


class Identity:
    """Who calls, as the headers say it. If nobody chose a name, the first client that is met settles it."""

    def __init__(self, agent: str | None, token: str | None, folder: str, say: Callable[[str], None]) -> None:
        self.met = False  # a broker answered once
        self._agent = Agent(agent, chosen=True) if agent else None
        self._token = token
        self._folder = folder
        self._say = say
        if self._agent is not None:
            say(self._agent.says())

    def meet(self, client: str) -> None:
        """The host sends a request, and perhaps says what it is."""
        if self._agent is None:
            self._agent = agent_of(client, self._folder)
            self._say(self._agent.says())

    def says(self) -> str:
        """What models are told of it."""
        return self._agent.says() if self._agent is not None else ""

    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        found = {"user-agent": f"mq9-mcp/{__version__}"}
        if self._agent is not None:
            found["mq9-agent"] = self._agent.name
        if self._token:
            found["authorization"] = f"Bearer {self._token}"
        return found


def header_value(words: str) -> str:
    """Words as MCP writes them in a header, where not every character may stand."""
    plain = words.isascii() and words.isprintable() and words == words.strip()
    if plain and not words.startswith("=?base64?"):
        return words
    return f"=?base64?{base64.b64encode(words.encode('utf-8', 'surrogatepass')).decode()}?="


def agent_of(client: str, folder: str) -> Agent:
    """``<client>-<project folder>``, by the rule for addresses (contract, section 11)."""
    first = (agent_of_client(client) or UNKNOWN_CLIENT)[:_CLIENT_MAX].rstrip("-")
    second = _slug(os.path.basename(folder.rstrip("/")))
    name = f"{first}-{second}" if second else first
    if len(name) > ADDRESS_MAX:
        name = f"{name[: ADDRESS_MAX - _DIGEST - 1].rstrip('-')}-{_digest(folder)}"
    return Agent(name, chosen=False)


def _slug(words: str) -> str:
    """As a client's name is written; a digest stands for letters that have no place in an address."""
    plain = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode()
    lost = any(letter.isalnum() and not letter.isascii() for letter in _bare(words))
    return "-".join(filter(None, (agent_of_client(plain), _digest(words) if lost else "")))


def _bare(words: str) -> str:
    return "".join(one for one in unicodedata.normalize("NFKD", words) if not unicodedata.combining(one))


def _digest(words: str) -> str:
    return hashlib.sha256(os.fsencode(words)).hexdigest()[:_DIGEST]
