"""What is found without knowing it: cards at their well-known places, the AI Catalog, and ARD's search."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from starlette.types import Receive, Scope, Send

from mq9_a2a import wire
from mq9_a2a.cards import Cards, encode, entry_of, etag_of, fits, own_card
from mq9_a2a.errors import INVALID_PARAMS, NO_AGENT, NO_METHOD, A2aError, http_error, of_broker
from mq9_a2a.words import View
from mq9_mcp.broker.broker import Broker
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.names import is_address
from mq9_mcp.domain.state import Caller

CARD = "/.well-known/agent-card.json"
CATALOG = "/.well-known/ai-catalog.json"
SEARCH = "/search"
A2A_CARD = "application/a2a-agent-card+json"
FRESH_S = 60
READ = ("GET", "HEAD")
Who = Callable[[Iterable[tuple[bytes, bytes]]], Caller]
Headers = tuple[tuple[bytes, bytes], ...]


class Filter(Struct):
    """What results must be."""

    type: str | list[str] | None = None
    tags: list[str] = []


class Wish(Struct):
    """What is searched for."""

    text: Annotated[str, Meta(min_length=1)]
    filter: Filter | None = None


class Search(Struct, rename="camel"):
    """The body of ARD's search."""

    query: Wish
    page_size: Annotated[int, Meta(ge=1, le=100)] = 10
    page_token: str | None = None


class Discovery:
    """Answers without a mailbox of its own."""

    paths = frozenset({CARD, CATALOG, SEARCH})

    def __init__(self, broker: Broker, cards: Cards, who: Who) -> None:
        self.broker = broker
        self.cards = cards
        self.who = who

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path, verb = scope["path"], scope["method"]
        accepted = ("POST",) if path == SEARCH else READ
        if verb not in accepted:
            error = A2aError(NO_METHOD, f"{verb}: accepted: {', '.join(accepted)}")
            allow = (b"allow", ", ".join(accepted).encode())
            await wire.answer(send, http_error(error), 405, headers=(allow,))
            return
        caller, base = self.who(scope["headers"]), f"{scope['scheme']}://{wire.header(scope, b'host')}"
        try:
            if path == SEARCH:
                await self._search(caller, base, await wire.read_body(receive), send)
            elif path == CATALOG:
                await self._cached(scope, send, await self._catalog(base), b"application/ai-catalog+json")
            else:
                await self._cached(scope, send, await self._card(caller, path, base), wire.JSON)
        except A2aError as error:
            await wire.answer(send, http_error(error), error.kind.http)
        except Refused as refused:
            told = of_broker(refused)
            await wire.answer(send, http_error(told), told.kind.http)

    async def _card(self, caller: Caller, path: str, base: str) -> View:
        name = path.removesuffix(CARD).removeprefix("/a2a").strip("/")
        if not name:
            return own_card(base)
        card = await self.cards.of(caller, name, base) if is_address(name) else None
        if card is None:
            raise A2aError(NO_AGENT, f"there is no mailbox {name[:96]!a}")
        return card

    async def _catalog(self, base: str) -> View:
        host = base.partition("://")[2]
        registry = {
            "identifier": f"urn:air:{host}:registry:mq9",
            "displayName": "mq9",
            "type": "application/ai-registry+json",
            "url": base,
            "description": "Search agents by what is to be done: POST /search.",
        }
        entries = [*(await self.cards.entries(base)), registry]
        return {"specVersion": "1.0", "host": {"displayName": "mq9", "identifier": host}, "entries": entries}

    async def _search(self, caller: Caller, base: str, body: bytes, send: Send) -> None:
        try:
            search = msgspec.json.decode(body, type=Search)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise A2aError(INVALID_PARAMS, f"body: {error}; accepted: {{query: {{text, filter?}}}}") from None
        wish = search.query.filter or Filter()
        types = [wish.type] if isinstance(wish.type, str) else wish.type
        reply: dict[str, Any] = {"results": []}
        if types is None or A2A_CARD in types:
            arguments: dict[str, Any] = {"text": search.query.text, "limit": search.page_size}
            if wish.tags:
                arguments["tags_any"] = wish.tags
            if search.page_token:
                arguments["cursor"] = search.page_token
            page = await self.broker.call(caller, "agent_discover", arguments)
            reply["results"] = [_result(agent, base) for agent in page["agents"]]
            if "next_cursor" in page:
                reply["pageToken"] = page["next_cursor"]
        await wire.answer(send, reply)

    async def _cached(self, scope: Scope, send: Send, value: View, kind: bytes) -> None:
        """Answer with what a client may keep for a while, or tell that it has it."""
        body = encode(value)
        etag = etag_of(body)
        headers = (
            (b"etag", etag.encode()),
            (b"last-modified", formatdate(self.cards.changed_ms // 1000, usegmt=True).encode()),
            (b"cache-control", f"public, max-age={FRESH_S}".encode()),
        )
        if fits(wire.header(scope, b"if-none-match"), etag):
            await send({"type": "http.response.start", "status": 304, "headers": [*headers]})
            await send({"type": "http.response.body", "body": b""})
            return
        if scope["method"] == "HEAD":
            body = b""
        await wire.answer(send, body, kind=kind, headers=headers)


def _result(agent: View, base: str) -> View:
    entry = entry_of(agent["name"], agent["card"], base)
    return {**entry, "score": round(100 * agent["score"]), "source": base}
