"""``/a2a``: what comes before an operation. Which mailbox is meant, who asks, in which version and binding.

A2A 1.0 is spoken here. Clients of 0.3 are served by the SDK's adapters, which are imported with the first
of them, in a thread: those who call meanwhile are answered, and others never pay for it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Scope, Send

from mq9_a2a import bindings, wire
from mq9_a2a import params as p
from mq9_a2a.desk import Ask, Desk
from mq9_a2a.discovery import Discovery
from mq9_a2a.errors import (
    CONTENT_TYPE,
    INTERNAL,
    INVALID_PARAMS,
    INVALID_REQUEST,
    NO_AGENT,
    NO_METHOD,
    PASSED,
    UNSUPPORTED,
    VERSION,
    A2aError,
    http_error,
    of_broker,
    rpc_error,
)
from mq9_a2a.words import NUMBERS
from mq9_mcp.broker.broker import Broker
from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.domain.names import is_address
from mq9_mcp.domain.state import Caller

if TYPE_CHECKING:
    from mq9_a2a.older import Older

PATH = "/a2a"
BELOW = "/v1"
CARD = "/.well-known/agent-card.json"
Who = Callable[[Iterable[tuple[bytes, bytes]]], Caller]
_VERSION = re.compile(r"1\.0(\.[0-9]+)?")
_USUAL = frozenset({wire.JSON, wire.A2A_JSON})
_JSON = re.compile(r"application/([a-z0-9.-]+\+)?json")
BODILESS = ("GET", "HEAD", "DELETE", "OPTIONS")
_OLDER = re.compile(r"0\.3(\.[0-9]+)?")


class Target:
    """What a path below ``/a2a`` names: a mailbox or none, and an operation of HTTP+JSON or none."""

    def __init__(self, path: str) -> None:
        inside = path.removeprefix(PATH).strip("/")
        first, _, rest = inside.partition("/")
        if first == "v1" or not first:  # the broker itself; a mailbox named so is reached by tenant
            self.mailbox, self.rest = "", inside
        else:
            self.mailbox, self.rest = first, rest
        self.operation = self.rest.removeprefix("v1/") if self.rest.startswith("v1/") else None
        self.known = not self.rest or self.operation is not None


class A2aDoor:
    """The ASGI application of everything below ``/a2a``. ``who`` tells who calls."""

    def __init__(self, broker: Broker, who: Who, block_s: float) -> None:
        self.broker = broker
        self.who = who
        self.desk = Desk(broker, block_s)
        self.discovery = Discovery(broker, self.desk.cards, who)
        self.listening = 0  # calls that only listen: they take no room among those in work
        self._older: asyncio.Task[Older] | None = None

    def serves(self, path: str) -> bool:
        """True if a path is this door's."""
        return path.startswith(PATH + "/") or path == PATH or path in self.discovery.paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; raises what HTTP itself answers, such as a missing credential."""
        path = scope["path"]
        if path in self.discovery.paths or path.endswith(CARD):
            await self.discovery(scope, receive, send)
            return
        target = Target(path)
        ask = self._ask(scope, target.mailbox)
        try:
            if scope["method"] not in BODILESS and not _is_json(scope):
                await _refuse_kind(send, target.operation is None)
                return
            if target.operation is not None:
                await self._http(ask, target.operation, scope, receive, send)
            elif target.known:
                await self._rpc(ask, scope, receive, send)
            else:
                error = A2aError(NO_METHOD, f"{path[:100]!a}: nothing is there")
                await wire.answer(send, http_error(error), 404)
        except wire.HungUp:
            return

    def _ask(self, scope: Scope, mailbox: str) -> Ask:
        heads = wire.heads(scope)
        base = f"{scope['scheme']}://{heads.get(b'host', b'').decode('latin-1')}"
        named, last = heads.get(b"a2a-extensions"), heads.get(b"last-event-id", b"")
        extensions = _listed(named.decode("latin-1")) if named else frozenset()
        after = int(last) if last.isdigit() and len(last) <= 16 else None
        return Ask(self.who(scope["headers"]), mailbox, extensions, base, after)

    # -- JSON-RPC

    async def _rpc(self, ask: Ask, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            error = A2aError(INVALID_REQUEST, f"{scope['method']}: accepted: POST")
            await wire.answer(send, http_error(error), 405, headers=((b"allow", b"POST"),))
            return
        body = await wire.read_body(receive)
        id: str | int | None = None
        try:
            rpc = bindings.read_rpc(body)
            id = rpc.id
            if "/" in rpc.method and not _is_new(scope):
                await (await self._begun()).rpc(ask, scope, body, receive, send)
                return
            bindings.check_method(rpc.method)
            check_version(scope)
            params = p.read_params(rpc.method, rpc.params)
            ask = _addressed(ask, params.tenant)
            if rpc.method in bindings.STREAMING:
                await self._stream(ask, params, rpc, receive, send)
                return
            result = await bindings.perform(self.desk, ask, rpc.method, params)
            await wire.answer(send, {"jsonrpc": "2.0", "id": id, "result": result}, headers=_echo(ask))
        except bindings.NoRpc as wrong:
            await wire.answer(send, rpc_error(wrong.id, wrong.error))
        except A2aError as error:
            await wire.answer(send, rpc_error(id, error))
        except Mq9Error as error:
            await wire.answer(send, rpc_error(id, _translated(error)))

    # -- HTTP+JSON

    async def _http(self, ask: Ask, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        kind = _kind(scope)
        try:
            if not _is_new(scope):
                await (await self._begun()).http(ask, path, scope, receive, send)
                return
            tenant, path = _tenant(path)
            method, given = _routed(scope["method"], path)
            check_version(scope)
            if scope["method"] == "POST":
                body = await wire.read_body(receive)
                read = bindings.read_json(body) if body else {}
                if not isinstance(read, dict):
                    raise A2aError(INVALID_PARAMS, "body: accepted: one JSON object")
                given = {**read, **given}
            else:
                given = {**bindings.read_query(scope["query_string"]), **given}
            params = p.read_params(method, given)
            ask = _addressed(ask, tenant or params.tenant)
            if method in bindings.STREAMING:
                await self._stream(ask, params, None, receive, send)
                return
            result = await bindings.perform(self.desk, ask, method, params)
            await wire.answer(send, result, kind=kind, headers=_echo(ask))
        except A2aError as error:
            allow = ((b"allow", error.metadata["allow"].encode()),) if "allow" in error.metadata else ()
            status = 405 if allow else error.kind.http
            await wire.answer(send, http_error(error), status, headers=allow)
        except Mq9Error as error:
            told = _translated(error)
            await wire.answer(send, http_error(told), told.kind.http, headers=_later(told))

    async def _stream(
        self, ask: Ask, params: p.Params, rpc: bindings.Rpc | None, receive: Receive, send: Send
    ) -> None:
        """The first event tells whether there is a stream at all."""
        events = await bindings.follow(self.desk, ask, params)
        try:
            first = await anext(events, None)
            if first is None:
                raise A2aError(UNSUPPORTED, "nothing more happens to the task")
        except BaseException:
            await events.aclose()
            raise
        told = bindings.frames(events, first, ask, rpc)
        del first  # it may be large, and the stream long
        self.listening += 1
        try:
            await wire.stream(send, receive, told, _echo(ask))
        finally:
            self.listening -= 1

    # -- clients of 0.3

    async def _begun(self) -> Older:
        """The SDK's part, made with the first client that needs it."""
        if self._older is None or (self._older.done() and self._older.exception() is not None):
            self._older = asyncio.create_task(self._begin())
        return await asyncio.shield(self._older)

    async def _begin(self) -> Older:
        make = await asyncio.to_thread(_maker)
        return make(self.desk)


def _maker() -> type[Older]:
    from mq9_a2a.older import Older

    return Older


def _is_json(scope: Scope) -> bool:
    """True if the body says that it is JSON: what a form on a page may send is never read.

    A POST that only listens, and that clients send without a body, needs not say of what kind it is.
    """
    heads = wire.heads(scope)
    kind = heads.get(b"content-type")
    if kind is None:
        nothing = heads.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in heads
        return nothing and scope["path"].endswith(":subscribe")
    return kind in _USUAL or _is_kind_of_json(kind.decode("latin-1").lower())


def _is_kind_of_json(kind: str) -> bool:
    name, *others = (one.strip() for one in kind.split(";"))
    charsets = [one.partition("=")[2].strip('" ') for one in others if one.startswith("charset")]
    return _JSON.fullmatch(name) is not None and set(charsets) <= {"utf-8"}


async def _refuse_kind(send: Send, rpc: bool) -> None:
    error = A2aError(CONTENT_TYPE, "Content-Type: accepted: application/json, application/a2a+json, in UTF-8")
    await wire.answer(send, rpc_error(None, error) if rpc else http_error(error), error.kind.http)


def _listed(named: str) -> frozenset[str]:
    return frozenset(filter(None, (one.strip() for one in named.split(","))))


def _version(scope: Scope) -> str:
    found = wire.header(scope, b"a2a-version").strip()
    if not found and b"A2A-Version" in scope["query_string"]:
        found = parse_qs(scope["query_string"].decode("latin-1")).get("A2A-Version", [""])[0].strip()
    return found


def _is_new(scope: Scope) -> bool:
    """False for a client of 0.3, which need not say so."""
    version = _version(scope)
    return bool(version) and not _OLDER.fullmatch(version)


def check_version(scope: Scope) -> None:
    """Refuse a version that is not spoken here; none is 0.3."""
    version = _version(scope)
    if not _VERSION.fullmatch(version):
        seen = version[:32] or "none, which means 0.3"
        raise A2aError(VERSION, f"A2A-Version: {seen}; accepted: 1.0, and 0.3 for its own methods")


def _addressed(ask: Ask, tenant: str) -> Ask:
    """The request with its mailbox, which the address or the tenant names; none is the broker itself."""
    if tenant and ask.mailbox and tenant != ask.mailbox:
        raise A2aError(INVALID_PARAMS, f"tenant: {tenant[:96]!a}; this address is {ask.mailbox!r} alone")
    mailbox = ask.mailbox or tenant
    if mailbox and not is_address(mailbox):
        raise A2aError(NO_AGENT, f"there is no mailbox {mailbox[:96]!a}")
    return ask if ask.mailbox else ask._replace(mailbox=mailbox)


def _tenant(path: str) -> tuple[str, str]:
    first, _, rest = path.partition("/")
    if first in ("tasks", "message:send", "message:stream", "extendedAgentCard"):
        return "", path
    return first, rest


def _routed(verb: str, path: str) -> tuple[str, dict[str, Any]]:
    found = bindings.route(verb, path)
    if found is not None:
        return found[0], dict(found[1])
    accepted = bindings.verbs(path)
    if accepted:
        raise A2aError(NO_METHOD, f"{verb}: accepted: {', '.join(accepted)}", allow=", ".join(accepted))
    raise A2aError(NO_METHOD, f"{path[:100]!a}: nothing is there")


def _translated(error: Mq9Error) -> A2aError:
    if error.code in PASSED:
        raise error
    return of_broker(error) if error.code != "INTERNAL" else A2aError(INTERNAL)


def _later(error: A2aError) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"retry-after", b"1"),) if error.kind.http in (429, 503) else ()


def _kind(scope: Scope) -> bytes:
    """Answers are of the kind that the client speaks."""
    spoken = wire.header(scope, b"content-type") or wire.header(scope, b"accept")
    return wire.JSON if spoken.partition(";")[0].strip() == "application/json" else wire.A2A_JSON


def _echo(ask: Ask) -> tuple[tuple[bytes, bytes], ...]:
    """Which of the extensions that the client asked for are in use."""
    return ((b"a2a-extensions", NUMBERS.encode()),) if NUMBERS in ask.extensions else ()


def before(others: ASGIApp, door: A2aDoor) -> ASGIApp:
    """An application that answers what is this door's and leaves the rest to ``others``."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        here = scope["type"] == "http" and door.serves(scope["path"])
        await (door if here else others)(scope, receive, send)

    return app
