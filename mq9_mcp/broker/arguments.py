"""From the wire's arguments to a command: strict, and with an error that names value and accepted values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect as types

from mq9_mcp.broker.catalogue import CATALOGUE, LATER
from mq9_mcp.domain.commands import Command
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.names import ADDRESS_PATTERN, NAME_PATTERN, check_address
from mq9_mcp.domain.push_commands import HEADER_ACCEPTED, HEADER_PATTERN

_PATH = re.compile(r" - at `\$(.*)`$")
_UNKNOWN = re.compile(r"unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"missing required field `(.*)`")
_STEP = re.compile(r"[^.\[\]]+")
_BOUND = re.compile(r"` [<>]=? [\d.]+$")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_SHOWN = 80  # characters of a value that a message repeats

_KINDS = {name: entry.arguments for name, entry in CATALOGUE.items()}
_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in _KINDS.items()}
_OBJECT = msgspec.json.Decoder(dict[str, Any])


def read_json(name: str, body: bytes) -> Command:
    """The command ``name`` with the JSON object ``body`` as arguments, decoded in one pass.

    It accepts and refuses what ``read_arguments`` does, in the same words. No body is no arguments.
    """
    decoder = _DECODERS.get(name)
    if decoder is None:
        raise _no_command(name)
    try:
        return decoder.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return read_arguments(name, read_object(body))


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object ``body``, or ``INVALID_ARGUMENT``."""
    try:
        return _OBJECT.decode(body or b"{}")
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Refused("INVALID_ARGUMENT", f"body: {error}; accepted: one JSON object of arguments") from None


def read_arguments(name: str, arguments: dict[str, Any]) -> Command:
    """The command ``name`` with ``arguments``, or ``INVALID_ARGUMENT``."""
    kind = _KINDS.get(name)
    if kind is None:
        raise _no_command(name)
    try:
        return msgspec.convert(arguments, kind)
    except msgspec.ValidationError as error:
        raise _refusal(kind, arguments, str(error)) from None
    except RecursionError:
        raise _too_deep() from None
    except UnicodeEncodeError:
        raise _not_unicode(arguments) from None


def check_name(name: str) -> None:
    """Refuse what is no command of this version, saying what there is."""
    if name not in CATALOGUE:
        raise _no_command(name)


def _too_deep() -> Refused:
    return Refused("INVALID_ARGUMENT", "the arguments are nested too deep")


def _no_command(name: str) -> Refused:
    if name in LATER:
        return Refused(
            "INVALID_ARGUMENT",
            f"{name} is not part of this version: {LATER[name]} come later",
            f"what there is: {', '.join(CATALOGUE)}",
        )
    return Refused(
        "INVALID_ARGUMENT",
        f"there is no command {name[:64]!a}; accepted: {', '.join(CATALOGUE)}",
    )


def _refusal(model: type[Command], arguments: Any, text: str) -> Refused:
    """msgspec's words with the value seen and, for a whole argument, its help."""
    found = _PATH.search(text)
    path = found[1].lstrip(".") if found else ""
    problem = _PATH.sub("", text)
    if unknown := _UNKNOWN.search(problem):
        where = f"{path}.{_plain(unknown[1])}" if path else _plain(unknown[1])
        names = ", ".join(_names(model, path))
        return Refused("INVALID_ARGUMENT", f"{where}: unknown; accepted: {names}", "leave it out")
    if missing := _MISSING.search(problem):
        where = f"{path}.{missing[1]}" if path else missing[1]
        return Refused("INVALID_ARGUMENT", f"{where}: missing", f"pass {missing[1]}")
    value = _value(arguments, path)
    words = _words(model, path) if isinstance(value, str) else []
    if isinstance(value, str) and repr(ADDRESS_PATTERN) in problem:
        return _no_address(value, path)
    if (
        repr(HEADER_PATTERN) in problem
    ):  # a secret: not even the caller sees it again, whose log this may go to
        return Refused("INVALID_ARGUMENT", f"{path}: accepted: {HEADER_ACCEPTED}")
    bounds = _range(model, path) if _BOUND.search(problem) and isinstance(value, int | float) else ""
    accepted = f"accepted: {', '.join(words) or bounds}" if words or bounds else _plainly(problem)
    seen = _length(value) if "of length" in problem else _show(value)
    return Refused("INVALID_ARGUMENT", f"{path or 'arguments'}: {seen}; {accepted}")


def _no_address(value: str, path: str) -> Refused:
    try:
        check_address(value, path)
    except Refused as refusal:
        return refusal
    raise AssertionError(f"the pattern refuses {value[:_SHOWN]!a}, the check does not")


def _plainly(problem: str) -> str:
    """msgspec's words, without what only a programmer of the broker understands."""
    if repr(NAME_PATTERN) in problem:
        return "accepted: text without control characters"
    if "RFC3339" in problem:
        return "accepted: a time as in RFC 3339, such as 2027-01-15T08:00:00Z"
    return problem[0].lower() + problem[1:].replace("`", "").replace(" | null", "")


def _words(model: type[Command], path: str) -> list[str]:
    """The words that the argument at ``path`` may be, if it is one of a few."""
    found = _types_at(model, path)
    return [str(value) for one in found if isinstance(one, types.LiteralType) for value in one.values]


def _range(model: type[Command], path: str) -> str:
    """Both ends of what the number at ``path`` may be; msgspec names the one that it is beyond."""
    for one in _types_at(model, path):
        if isinstance(one, types.IntType | types.FloatType) and one.le is not None:
            low = f"{one.ge:.0f}" if one.ge is not None else f"over {one.gt or 0:.0f}"
            return f"{low} to {one.le:.0f}"
    return ""


def _names(model: type[Command], path: str) -> list[str]:
    """The names that an object at ``path`` may have."""
    found = _types_at(model, path)
    return [field.encode_name for one in found if isinstance(one, types.StructType) for field in one.fields]


def _types_at(model: type[Command], path: str) -> list[types.Type]:
    """What the argument at ``path`` may be; all of the arguments where it is empty."""
    found: list[types.Type] = [types.type_info(model)]
    for step in _STEP.findall(path):
        inner: list[types.Type] = []
        for one in _alternatives(found):
            if isinstance(one, types.StructType):
                inner += [field.type for field in one.fields if field.encode_name == step]
            elif isinstance(one, types.ListType):
                inner.append(one.item_type)
        found = inner
    return list(_alternatives(found))


def _alternatives(found: list[types.Type]) -> Iterator[types.Type]:
    for one in found:
        if isinstance(one, types.Metadata):
            yield from _alternatives([one.type])
        elif isinstance(one, types.UnionType):
            yield from _alternatives(list(one.types))
        else:
            yield one


def _not_unicode(arguments: dict[str, Any]) -> Refused:
    """Names the text, or the name, that holds half of a surrogate pair."""
    where = "arguments"
    left: list[tuple[str, Any]] = [("", arguments)]
    while left:
        path, value = left.pop()
        if isinstance(value, str) and not value.isascii() and _SURROGATE.search(value):
            where = path
            break
        if isinstance(value, dict):
            for name, child in value.items():
                below = f"{path}.{_plain(str(name))}".lstrip(".")
                left += [(below, child), (below, name)]
        elif isinstance(value, list):
            left += [(f"{path}[{index}]", child) for index, child in enumerate(value)]
    return Refused("INVALID_ARGUMENT", f"{where}: not valid Unicode; accepted: text without lone surrogates")


def _value(arguments: Any, path: str) -> Any:
    value = arguments
    for step in _STEP.findall(path):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            break
    return value


def _plain(name: str) -> str:
    """A name as it may stand in a message: short, and nothing that cannot be written."""
    return ascii(name[:_SHOWN])[1:-1]


def _length(value: Any) -> str:
    return f"{len(value)} {'characters' if isinstance(value, str) else 'items'}"


def _show(value: Any) -> str:
    try:
        text = ascii(value[:_SHOWN] if isinstance(value, str | list) else value)
    except (RecursionError, ValueError):  # nested too deep, or a number of thousands of digits
        text = f"a {type(value).__name__} too large to show"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
