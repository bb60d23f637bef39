"""What people may write shorter than an option for every argument; it all stands for the same arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

from mq9_mcp.cli.flags import Flag, add_flags, flags_of, given
from mq9_mcp.cli.parser import Misuse
from mq9_mcp.cli.values import raw_part
from mq9_mcp.domain.commands import AckItem

# The arguments that bare words stand for, in order. A command that is not here: its required ones.
WORDS: dict[str, tuple[str, ...]] = {
    "mailbox_create": ("address",),
    "mailbox_send": ("to", "text"),
    "mailbox_fetch": ("mailbox",),
    "mailbox_ack": ("lease",),
    "mailbox_query": ("mailbox",),
    "mailbox_delete": ("mailbox", "ids"),
    "mailbox_list": ("prefix",),
    "mailbox_get": ("address",),
    "mailbox_redrive": ("mailbox", "ids"),
    "group_list": ("mailbox",),
    "group_reset": ("mailbox", "group", "to"),
    "group_delete": ("mailbox", "group"),
    "session_list": ("mailbox",),
    "agent_discover": ("text",),
    "push_set": ("task", "url"),
    "push_list": ("task",),
}


class Shorthand(NamedTuple):
    """Options of a command that stand for the argument ``instead``; ``expand`` makes it of them."""

    instead: str
    flags: Callable[[], dict[str, Flag]]
    add: Callable[[argparse._ArgumentGroup], None]
    expand: Callable[[argparse.Namespace, dict[str, Any]], None]


def _no_flags() -> dict[str, Flag]:
    return {}


def _add_raw(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--raw",
        metavar="FILE",
        action="append",
        help="a file as one more part, its media type told by its name; several times if you like",
    )


def _expand_raw(chosen: argparse.Namespace, found: dict[str, Any]) -> None:
    """Files become parts behind ``parts`` or ``text``."""
    paths: list[str] = getattr(chosen, "raw", [])
    if not paths:
        return
    if "text" in found and "parts" not in found:
        found["parts"] = [{"text": found.pop("text")}]
    found["parts"] = [*found.get("parts", ()), *map(raw_part, paths)]


def _item_flags() -> dict[str, Flag]:
    flags = flags_of(AckItem)
    lease = flags["lease"]
    return {**flags, "lease": lease._replace(many=True, read=lambda words: words)}


def _add_item(group: argparse._ArgumentGroup) -> None:
    add_flags(group, list(_item_flags().values()))


def _expand_item(chosen: argparse.Namespace, found: dict[str, Any]) -> None:
    """Leases with one outcome for all become items."""
    flags = _item_flags()
    found.update(given(chosen, flags))
    item = {name: found.pop(name) for name in flags if name in found}
    leases = item.pop("lease", [])
    if not leases and (item or "items" not in found):
        what = f"--{min(item).replace('_', '-')}: of which lease?" if item else "LEASE: missing"
        raise Misuse(what, "name the lease that the fetch gave")
    if leases:
        found["items"] = [*found.get("items", ()), *({"lease": lease, **item} for lease in leases)]


SHORTHANDS: dict[str, Shorthand] = {
    "mailbox_send": Shorthand("parts", _no_flags, _add_raw, _expand_raw),
    "mailbox_ack": Shorthand("items", _item_flags, _add_item, _expand_item),
}
