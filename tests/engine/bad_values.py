"""Bad values for every argument of every command, made from the types in the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect as types

from mq9_mcp.broker.catalogue import CATALOGUE

LEVELS = 10_000
HUGE = 2 * 1024 * 1024  # characters: over every limit of a string, message_bytes_max included
SAMPLES: dict[str, Any] = {
    "str": "7x",
    "int": 7,
    "float": 1.5,
    "bool": True,
    "list": [7, {}],
    "dict": {"x": 7},
}

Case = tuple[str, str, dict[str, Any]]  # what is bad, where, the arguments


def nested(level: int = LEVELS, kind: str = "list") -> Any:
    """Lists in lists, or objects in objects."""
    value: Any = []
    for _ in range(level):
        value = [value] if kind == "list" else {"x": value}
    return value


def kinds(type_: types.Type) -> set[str]:
    """The kinds of JSON values that a type takes."""
    if isinstance(type_, types.UnionType):
        return set().union(*(kinds(one) for one in type_.types))
    if isinstance(type_, types.Metadata):
        return kinds(type_.type)
    for classes, found in (
        ((types.IntType,), {"int"}),
        ((types.FloatType,), {"int", "float"}),
        ((types.StrType, types.LiteralType, types.DateTimeType), {"str"}),
        ((types.BoolType,), {"bool"}),
        ((types.ListType,), {"list"}),
        ((types.StructType, types.DictType), {"dict"}),
        ((types.NoneType,), set()),
    ):
        if isinstance(type_, classes):
            return set(found)
    assert isinstance(type_, types.AnyType), type_
    return set()  # only arguments of later versions take anything: nothing of it is accepted yet


def bad(type_: types.Type, lease: str) -> Iterator[tuple[str, str, Any]]:
    """``(what is bad, where below the argument, the bad value)`` for a value of ``type_``."""
    if is_json(type_):
        yield from _bad_json()
        return
    accepted = kinds(type_)
    for kind, sample in SAMPLES.items():
        if kind not in accepted:
            yield f"a {kind}", "", sample
    yield "lists 10,000 deep", "", nested()
    yield "objects 10,000 deep", "", nested(kind="dict")
    if not isinstance(type_, types.AnyType):
        yield "a number of 5,000 digits", "", 10**5_000
    yield from _bad_inside(type_, lease)


def is_json(type_: types.Type) -> bool:
    """True for an argument that takes any JSON value."""
    if isinstance(type_, types.Metadata):
        return is_json(type_.type)
    if isinstance(type_, types.UnionType):
        return any(is_json(one) for one in type_.types)
    return isinstance(type_, types.ListType) and isinstance(type_.item_type, types.AnyType)


def _bad_json() -> Iterator[tuple[str, str, Any]]:
    yield "lists 10,000 deep", "", nested()
    yield "objects 10,000 deep", "", nested(kind="dict")
    yield "a number of 5,000 digits", "", 10**5_000
    yield "huge", "", ["a" * HUGE]
    for value in (float("nan"), float("inf"), "\ud800", ["a\ud800"], {"\ud800": 1}, {1: 2}, b"bytes"):
        yield f"{value!a:.12}", "", value


def _bad_inside(type_: types.Type, lease: str) -> Iterator[tuple[str, str, Any]]:
    if isinstance(type_, types.UnionType):
        for one in type_.types:
            yield from _bad_inside(one, lease)
    elif isinstance(type_, types.Metadata):
        yield from _bad_inside(type_.type, lease)
    elif isinstance(type_, types.IntType | types.FloatType):
        yield from _bad_numbers(type_)
    elif isinstance(type_, types.StrType):
        yield from _bad_strings(type_)
    elif isinstance(type_, types.LiteralType):
        yield from [
            ("another word", "", "other"),
            ("a lone surrogate", "", "\ud800"),
            ("huge", "", "a" * HUGE),
        ]
    elif isinstance(type_, types.DateTimeType):
        for text in ("yesterday", "", "2026-01-31", "2026-01-31T12:00:00", "\ud800", "1" * HUGE):
            yield "no time", "", text
    elif isinstance(type_, types.ListType):
        yield from _bad_lists(type_, lease)
    elif isinstance(type_, types.StructType):
        yield from _bad_structs(type_, lease)
    elif isinstance(type_, types.DictType):
        yield "a key that is a lone surrogate", "", {"\ud800": 1}
        yield "a lone surrogate", "", {"x": ["\ud800"]}
        yield "not a number", "", {"x": float("nan")}
        yield "infinity", "", {"x": [float("inf")]}
        yield "a number of 5,000 digits inside", "", {"x": 10**5_000}
        yield "huge", "", {"x": "a" * HUGE}


def _bad_numbers(type_: types.IntType | types.FloatType) -> Iterator[tuple[str, str, Any]]:
    if type_.ge is not None:
        yield "below", "", type_.ge - 1
    if type_.gt is not None:
        yield "at the open bound", "", type_.gt
    if type_.le is not None:
        yield "above", "", type_.le + 1
    if type_.lt is not None:
        yield "at the open bound", "", type_.lt
    for value in (float("nan"), float("inf"), float("-inf"), -(10**400), 1e308):
        yield f"{value!s:.8}", "", value


def _bad_strings(type_: types.StrType) -> Iterator[tuple[str, str, Any]]:
    if type_.min_length:
        yield "empty", "", ""
    if type_.max_length is not None:
        yield "one character over", "", "a" * (type_.max_length + 1)
    if type_.pattern is not None and re.search(type_.pattern, "a\0") is None:
        yield "against the pattern", "", "a\0"
    yield "huge", "", "a" * HUGE
    yield "a lone surrogate", "", "a\ud800"
    yield "half of a pair", "", "\udc00a"


def _bad_lists(type_: types.ListType, lease: str) -> Iterator[tuple[str, str, Any]]:
    sample = good(type_.item_type, lease)
    if type_.min_length:
        yield "empty", "", []
    if type_.max_length is not None:
        yield "one over", "", [sample] * (type_.max_length + 1)
    for what, where, value in bad(type_.item_type, lease):
        yield what, f"[0]{where}", [value]
    yield "a bad second item", "[1]", [sample, None]


def _bad_structs(type_: types.StructType, lease: str) -> Iterator[tuple[str, str, Any]]:
    base = good(type_, lease)
    for name in ("nonsense", "\ud800", "", "a`b\nc", "x" * HUGE):
        yield "an unknown name", "." + name, {**base, name: 1}
    for field in type_.fields:
        for what, where, value in bad(field.type, lease):
            yield what, f".{field.encode_name}{where}", {**base, field.encode_name: value}


def good(type_: types.Type, lease: str) -> Any:
    """A value that the type takes and that means something on the test's desk."""
    if isinstance(type_, types.UnionType):
        return good(type_.types[0], lease)
    if isinstance(type_, types.Metadata):
        return good(type_.type, lease)
    if isinstance(type_, types.StructType):
        names = {field.encode_name for field in type_.fields}
        if "lease" in names:
            return {"lease": lease, "outcome": "release"}
        return {"to": "box", "text": "x"} if "to" in names else {}
    return 1 if isinstance(type_, types.IntType) else {} if isinstance(type_, types.DictType) else "box"


def base_of(command: str, lease: str, work: dict[str, Any]) -> dict[str, Any]:
    """Arguments that are well but for the one that a case spoils."""
    bases: dict[str, dict[str, Any]] = {
        "mailbox_create": {"address": "other"},
        "mailbox_send": {"to": "box", "text": "x"},
        "mailbox_fetch": {"mailbox": "box"},
        "mailbox_ack": {"items": [{"lease": lease}]},
        "mailbox_query": {"mailbox": "box"},
        "mailbox_delete": {"mailbox": "box", "ids": [1]},
        "mailbox_list": {},
        "mailbox_get": {"address": "box"},
        "mailbox_redrive": {"mailbox": "box.dead"},
        "group_list": {"mailbox": "box"},
        "task_get": {"task": work["task"]},
        "task_cancel": {"task": work["task"]},
        "task_update": {"task": work["task"], "lease": work["lease"]},
        "task_list": {},
        "group_reset": {"mailbox": "box", "group": "default", "to": "earliest"},
        "group_delete": {"mailbox": "box", "group": "default"},
        "agent_register": {"card": {"name": "robot", "description": "works"}},
        "agent_report": {"name": "agent", "status": "busy"},
        "agent_unregister": {"name": "agent"},
        "agent_discover": {},
        "session_list": {},
        "session_get": {"session": "box"},
        "session_close": {"session": "box"},
        "session_reopen": {"session": "box"},
        "push_set": {"task": work["task"], "url": "https://hooks.example/"},
        "push_list": {},
        "push_delete": {"task": work["task"], "id": "none"},
    }
    return bases.get(command, {"address": "box"})


def cases(command: str, lease: str, work: dict[str, Any]) -> Iterator[Case]:
    """Every bad call of one command."""
    info = msgspec.inspect.type_info(CATALOGUE[command].arguments)
    assert isinstance(info, types.StructType)
    base = base_of(command, lease, work)
    for name in ("nonsense", "\ud800", "", "a`b\nc", "x" * HUGE):
        yield "an unknown name", name, {**base, name: 1}
    for field in info.fields:
        name = field.encode_name
        rest = {
            key: value for key, value in base.items() if not (name == "messages" and key in ("to", "text"))
        }
        if name == "parts":
            rest.pop("text", None)
        if name in ("card_url", "mcp_server"):
            rest.pop("card", None)
        if field.required:
            yield "missing", name, {key: value for key, value in base.items() if key != name}
        for what, where, value in bad(field.type, lease):
            yield what, name + where, {**rest, name: value}
        for value in MEANINGLESS.get((command, name), MEANINGLESS.get(("", name), ())):
            yield "meaningless", name, {**rest, name: value}


ADDRESSES = ("", "A", "a b", "a..b", ".a", "a.", "-a", "a_", "ä", "a\n", "a@node", "a" * 97)
URLS = (
    "example.org",
    "ftp://example.org/card.json",
    "file:///etc/passwd",
    "http://",
    "http:///card.json",
    "http://user:word@example.org/",
    "http://example.org:port/",
    "http://127.0.0.1:1/card.json",
    "http://[::1]:1/card.json",
)
STARTS = (
    "yesterday",
    "",
    "latests",
    "2026-13-01T00:00:00Z",
    "2026-01-01T00:00:00",
    "0001-01-01T00:00:00+23:59x",
)

# What the types cannot tell, by command and argument.
MEANINGLESS: dict[tuple[str, str], tuple[Any, ...]] = {
    ("", "address"): ADDRESSES,
    ("", "mailbox"): ADDRESSES,
    ("", "name"): ADDRESSES,
    ("agent_register", "name"): (*ADDRESSES, "mq9.mine"),
    ("agent_register", "card"): (
        {},
        {"name": "robot"},
        {"name": "robot", "description": "works", "skills": [{}]},
        {"name": "robot", "description": "works", "nonsense": 1},
        {"name": "..", "description": "works"},
    ),
    ("agent_register", "card_url"): URLS,
    ("agent_discover", "cursor"): ("x", "0.5/0/a", "1.0000/4/a", "1.0000/0/A", "1.0000/0/a\n"),
    ("", "to"): ADDRESSES,
    ("mailbox_send", "to"): (*ADDRESSES, ["box", "box"], ["box"] * 1001, ["box", "A"]),
    ("mailbox_fetch", "mailbox"): (*ADDRESSES, ["box", "box"], ["box", "A"]),
    ("group_reset", "to"): STARTS,
    ("mailbox_fetch", "deliver"): STARTS,
    ("mailbox_create", "address"): (*ADDRESSES, "mq9.mine"),
    ("mailbox_query", "cursor"): ("x", "-1", "1.5", "\u0661", "9" * 17),
    ("session_get", "after"): ("x", "-1", "1.5", "\u0661", "9" * 17),
    ("session_reopen", "turns_max"): (0, -1),
    ("mailbox_send", "deliver_at"): ("9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59Z"),
    ("mailbox_send", "expires_at"): (
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+23:59",
        "2027-01-15T08:00:00Z",
    ),
    ("mailbox_send", "session"): ("mq9.", "mq9.0", "mq9.x", "mq9.9007199254740993", "mq9." + "9" * 100),
    ("mailbox_send", "parts"): (
        [{}],
        [{"text": "a", "url": "b"}],
        [{"text": 1}],
        [{"nonsense": 1}],
        [{"text": "a", "nonsense": 1}],
        [{"raw": "not base64"}],
        [{"raw": "YQ"}],
        [{"data": nested()}],
        [{"data": nested(kind="dict")}],
        [{"data": float("nan")}],
        [{"data": {"\ud800": 1}}],
        [{"data": 10**5_000}],
        [{"data": {1: 2}}],
        [{"data": b"bytes"}],
        [{"text": "\ud800"}],
        [{"text": "a", "filename": "\ud800"}],
        [{"text": "a", "metadata": []}],
        [{"text": "a", "metadata": {"x": "y" * 16_384}}],
        [{"text": "a"}] * 65,
    ),
}
