"""Cards: every mailbox is an agent of A2A, at an address of ours; what its owner registered says the rest.

A card that was signed is signed for another address, so its signatures are left out here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from mq9_a2a.words import NUMBERS, PUSH_DELIVERY, View
from mq9_mcp import __version__
from mq9_mcp.broker.broker import Broker
from mq9_mcp.domain.commands import MailboxGet
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.state import Caller

MODES = ["text/plain", "application/json"]
BINDINGS = (("JSONRPC", ""), ("HTTP+JSON", "/v1"))
VERSIONS = ("1.0", "0.3")
OLDER = ("url", "preferredTransport", "protocolVersion", "supportsAuthenticatedExtendedCard")
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class Cards:
    """The registered cards, as the broker has them now."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.changed_ms = broker.clock.now()  # when a card last changed, as far as is known here
        self._mark: object = None
        self._cards: dict[str, str] = {}
        self._required: dict[str, frozenset[str]] = {}

    async def _follow(self) -> None:
        found = await self.broker.engine.registry(self._mark)
        if found is not None:
            self._mark, self._cards = found.mark, found.cards
            self._required = {}
            self.changed_ms = self.broker.clock.now()

    async def required(self, mailbox: str) -> frozenset[str]:
        """The extensions without which the agent takes no messages."""
        await self._follow()
        known = self._required.get(mailbox)
        if known is None:
            text = self._cards.get(mailbox)
            card = _decode(text) if text is not None else {}
            known = self._required[mailbox] = frozenset(_required(card))
        return known

    async def of(self, caller: Caller, mailbox: str, base: str) -> View | None:
        """The card of a mailbox that the caller may know of, else None."""
        await self._follow()
        text = self._cards.get(mailbox)
        if text is None and not await self._is_there(caller, mailbox):
            return None
        card = _decode(text) if text is not None else _minimal(mailbox)
        return _dressed(card, f"{base}/a2a/{mailbox}")

    async def entries(self, base: str) -> list[View]:
        """All registered agents as entries of an AI Catalog."""
        await self._follow()
        return [entry_of(name, _decode(text), base) for name, text in self._cards.items()]

    async def _is_there(self, caller: Caller, mailbox: str) -> bool:
        try:
            await self.broker.execute(caller, MailboxGet(address=mailbox))
        except Refused as error:
            return error.code == "FORBIDDEN"  # it may be sent to
        return True


def own_card(base: str) -> View:
    """The broker's own card: it is many agents, told apart by ``tenant``."""
    card = {
        **_minimal("mq9"),
        "description": "A durable mailbox for every agent. Say what is to be done: the agent whose skills "
        "fit best gets the task, online or not. The tenant of a request names a mailbox instead; "
        "/.well-known/ai-catalog.json and POST /search find agents.",
        "skills": [
            {
                "id": "route",
                "name": "Find the right agent",
                "description": "Gives a task that is described in words to the agent whose skills fit best.",
                "tags": ["routing", "discovery"],
            }
        ],
        "documentationUrl": f"{base}/.well-known/ai-catalog.json",
    }
    return _dressed(card, f"{base}/a2a", extended=False)


def entry_of(name: str, card: View, base: str) -> View:
    """An agent as an entry of an AI Catalog."""
    examples = [one for skill in card["skills"] for one in skill.get("examples", ())]
    tags = dict.fromkeys(tag for skill in card["skills"] for tag in skill.get("tags", ()))
    return {
        "identifier": f"urn:air:{base.partition('://')[2]}:mailbox:{name}",
        "displayName": card["name"],
        "type": "application/a2a-agent-card+json",
        "url": f"{base}/a2a/{name}/.well-known/agent-card.json",
        "description": card["description"],
        "representativeQueries": examples[:8],
        "tags": list(tags)[:32],
    }


def etag_of(body: bytes) -> str:
    """Names a card's content."""
    return f'W/"{hashlib.sha256(body).hexdigest()}"'


def fits(header: str, etag: str) -> bool:
    """True if ``If-None-Match`` names this content."""
    named = [one.strip().removeprefix("W/") for one in header.split(",")]
    return "*" in named or etag.removeprefix("W/") in named


def _required(card: View) -> Iterator[str]:
    for extension in card.get("capabilities", {}).get("extensions", ()):
        if extension.get("required") and extension.get("uri") != PUSH_DELIVERY:  # that one is for us
            yield extension.get("uri", "")


def _minimal(name: str) -> View:
    return {
        "name": name,
        "description": f"The mailbox {name}.",
        "version": __version__,
        "capabilities": {},
        "defaultInputModes": MODES,
        "defaultOutputModes": MODES,
        "skills": [],
    }


def _dressed(card: View, url: str, extended: bool = True) -> View:
    """The card with the addresses and capabilities of this door, for clients of both versions."""
    interfaces = [
        {"url": url + below, "protocolBinding": binding, "protocolVersion": version}
        for version in VERSIONS
        for binding, below in BINDINGS
        if version == "1.0" or binding == "JSONRPC"
    ]
    extensions = [one for one in card["capabilities"].get("extensions", ()) if one.get("uri") != NUMBERS]
    extensions.append({"uri": NUMBERS, "description": "Events have numbers, and streams resume by them."})
    capabilities = {
        **card["capabilities"],
        "streaming": True,
        "pushNotifications": True,
        "extendedAgentCard": extended,
        "extensions": extensions,
    }
    shown = {**card, "supportedInterfaces": interfaces, "capabilities": capabilities}
    shown.pop("signatures", None)
    older = {"url": url, "preferredTransport": "JSONRPC", "protocolVersion": "0.3.0"}
    return shown | older | {"supportsAuthenticatedExtendedCard": extended}


def without_older(card: View) -> View:
    """The card without what only clients of 0.3 read."""
    return {name: value for name, value in card.items() if name not in OLDER}


def encode(card: View) -> bytes:
    """A card as it goes over the wire."""
    return _encode(card)
