"""From the wire's arguments to a command: strict, and with an error that names value and accepted values."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from mq9_mcp.broker.catalogue import CATALOGUE, LATER
from mq9_mcp.domain.commands import Command
from mq9_mcp.domain.errors import Refused

_PATH = re.compile(r" - at `\$(.*)`$")
_UNKNOWN = re.compile(r"unknown field `(.*)`")
_MISSING = re.compile(r"missing required field `(.*)`")


def read_arguments(name: str, arguments: dict[str, Any]) -> Command:
    """The command ``name`` with ``arguments``, or ``INVALID_ARGUMENT``."""
    entry = CATALOGUE.get(name)
    if entry is None:
        raise _no_command(name)
    try:
        return msgspec.convert(arguments, entry.arguments)
    except msgspec.ValidationError as error:
        raise _refusal(entry.arguments, arguments, str(error)) from None
    except RecursionError:
        raise Refused("INVALID_ARGUMENT", "the arguments are nested too deep") from None


def _no_command(name: str) -> Refused:
    if name in LATER:
        return Refused(
            "INVALID_ARGUMENT",
            f"{name} is not part of this version: {LATER[name]} come later",
            f"what there is: {', '.join(CATALOGUE)}",
        )
    return Refused(
        "INVALID_ARGUMENT",
        f"there is no command {name[:64]!r}; accepted: {', '.join(CATALOGUE)}",
    )


def _refusal(model: type[Command], arguments: Any, text: str) -> Refused:
    """msgspec's words with the value seen and, for a whole argument, its help."""
    found = _PATH.search(text)
    path = found[1].lstrip(".") if found else ""
    problem = _PATH.sub("", text)
    if unknown := _UNKNOWN.search(problem):
        where = f"{path}.{unknown[1]}" if path else unknown[1]
        names = ", ".join(model.__struct_encode_fields__)
        return Refused("INVALID_ARGUMENT", f"{where}: unknown; accepted: {names}", "leave it out")
    if missing := _MISSING.search(problem):
        where = f"{path}.{missing[1]}" if path else missing[1]
        return Refused("INVALID_ARGUMENT", f"{where}: missing", f"pass {missing[1]}")
    seen = _show(_value(arguments, path))
    accepted = problem[0].lower() + problem[1:].replace("`", "")
    return Refused("INVALID_ARGUMENT", f"{path or 'arguments'}: {seen}; {accepted}")


def _value(arguments: Any, path: str) -> Any:
    value = arguments
    for step in re.findall(r"[^.\[\]]+", path):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            break
    return value


def _show(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
