"""What mailboxes and groups that ended were called, for those who read the journal a little behind.

Not part of what delivery knows: the oldest names are forgotten, and a restart forgets what is folded.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from mq9_mcp.domain.limits import limit

PAST_NAMES_MAX = limit("past_names_max")


class Place(NamedTuple):
    """What the number of a mailbox stands for."""

    address: str
    owner: str


class GroupPlace(NamedTuple):
    """What the number of a group stands for; ``mailbox`` is a number too."""

    name: str
    mailbox: int


class Past:
    """Names of what ended lately."""

    def __init__(self) -> None:
        self.mailboxes: OrderedDict[int, Place] = OrderedDict()
        self.groups: OrderedDict[int, GroupPlace] = OrderedDict()

    def add_mailbox(self, number: int, place: Place) -> None:
        """Remember a mailbox that ended."""
        self.mailboxes[number] = place
        while len(self.mailboxes) > PAST_NAMES_MAX:
            self.mailboxes.popitem(last=False)

    def add_group(self, number: int, place: GroupPlace) -> None:
        """Remember a group that ended."""
        self.groups[number] = place
        while len(self.groups) > PAST_NAMES_MAX:
            self.groups.popitem(last=False)
