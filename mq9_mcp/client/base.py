"""What the methods for commands are made on: the arguments that were given, and one way to call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from mq9_mcp.client.commands.defaults import DEFAULTS

_NOTHING: Mapping[str, Any] = {}


def given(command: str, named: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments to send: not those that were left out, or are what the broker takes anyway.

    ``named`` is a method's ``locals()``; a name that the language keeps for itself ends with ``_``.
    """
    defaults = DEFAULTS.get(command, _NOTHING)
    return {
        name.rstrip("_"): value
        for name, value in named.items()
        if value is not None and name != "self" and not (name in defaults and _same(value, defaults[name]))
    }


def _same(value: Any, default: Any) -> bool:
    return bool(value == default) or not (value or default)  # [] says the same as ()


class Caller(ABC):
    """Calls commands; the generated methods stand on it."""

    @abstractmethod
    async def call(self, command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call any command with arguments as the wire has them."""

    async def _command(self, command: str, named: Mapping[str, Any]) -> Any:
        return await self.call(command, given(command, named))
