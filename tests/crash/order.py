"""One ordered log of writes, syncs and replies, and the rule that it must keep.

The rule: when a reply is written, everything that it claims stands in a commit whose sync began after
the write was done and has returned. What a reply claims and what a commit holds are read from their
bytes, by the formats alone.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

Fact = tuple[Any, ...]  # ("stored", id), ("leased", id, secret), ("acked", id)

_FRAME = struct.Struct("<4sIIIQ32s")
_RECORD = struct.Struct("<II")


def claims(reply: dict[str, Any]) -> set[Fact]:
    """What a caller may count on after this reply."""
    found: set[Fact] = {("stored", receipt["id"]) for receipt in reply.get("receipts", ())}
    for message in reply.get("messages", ()):
        if "lease" in message:
            found.add(("leased", message["id"], message["lease"].rsplit(".", 1)[1]))
    for result in reply.get("results", ()):
        if result["ok"] and result["outcome"] == "ack":
            found.add(("acked", result["id"]))
    return found


def facts(commit: bytes) -> Iterator[Fact]:
    """What the bytes of one commit say."""
    _, _, size, records, _, _ = _FRAME.unpack_from(commit)
    assert len(commit) == _FRAME.size + size
    at = _FRAME.size
    for _ in range(records):
        events, bodies = _RECORD.unpack_from(commit, at)
        at += _RECORD.size
        for event in json.loads(commit[at : at + events]):
            yield from _event_facts(event)
        at += events + bodies


def _event_facts(event: dict[str, Any]) -> Iterator[Fact]:
    if event["event"] == "sent":
        yield from (("stored", mail[0]) for mail in event["mails"])
    elif event["event"] == "leased":
        yield from (("leased", id, event["secret"]) for id in event["ids"])
    elif event["event"] == "acked":
        yield from (("acked", id) for id in event["ids"])


class Order:
    """Takes the log in, entry by entry, and checks each reply. ``who`` is a thread."""

    def __init__(self) -> None:
        self._written: dict[str, set[Fact]] = {}
        self._syncing: dict[tuple[str, object], set[Fact]] = {}
        self.durable: set[Fact] = set()
        self.checked = 0  # claims that were found to be durable
        self.syncers: dict[object, int] = {}

    def written(self, file: str, data: bytes) -> None:
        """A write to the journal has returned."""
        if data[:4] == b"mq9c":
            self._written.setdefault(file, set()).update(facts(data))

    def sync_begins(self, file: str, who: object) -> None:
        """What is written by now is covered."""
        self._syncing[file, who] = self._written.pop(file, set())

    def sync_returned(self, file: str, who: object) -> None:
        """That is on the medium now."""
        covered = self._syncing.pop((file, who))
        self.durable |= covered
        if covered:
            self.syncers[who] = self.syncers.get(who, 0) + 1

    def replied(self, answer: dict[str, Any]) -> None:
        """A reply is about to be written to its socket."""
        claimed = claims(answer.get("reply", {}))
        early = claimed - self.durable
        assert not early, f"answered before it was on disk: {early}"
        self.checked += len(claimed)
