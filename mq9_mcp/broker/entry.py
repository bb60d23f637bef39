"""What the catalogue says of a command."""

from __future__ import annotations

from typing import Any, NamedTuple

from mq9_mcp.domain import commands as c


class Example(NamedTuple):
    """A call that works on an empty broker, run by the tests as agent ``alice``."""

    says: str
    arguments: dict[str, Any]


class Entry(NamedTuple):
    """One command.

    ``action`` on ``resource`` is what access rules speak of. ``hidden`` arguments exist at every door
    but are not shown to models. ``operators``: not among a model's default tools.
    """

    name: str
    arguments: type[c.Command]
    help: str
    reply: dict[str, str]
    errors: tuple[str, ...]
    action: str
    resource: str
    examples: tuple[Example, ...]
    hidden: tuple[str, ...] = ()
    operators: bool = False


ALWAYS = ("INVALID_ARGUMENT", "RATE_LIMITED", "STORAGE_UNAVAILABLE", "SHUTTING_DOWN")
