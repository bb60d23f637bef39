"""What the logs of a crash test say: what was acknowledged, and what was in flight when the kill came."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.crash.line import Reply

Place = tuple[str, str]  # a mailbox and a dedup key in it


class Lease(NamedTuple):
    """One lease as a client was told of it: when it asked, and when it had the answer."""

    tried_at: float
    at: float
    fence: int
    token: str
    lease_s: int


class Told:
    """Everything that all clients of one data directory were told so far."""

    def __init__(self, logs: Mapping[str, Iterable[Reply]]) -> None:
        self.sent: dict[Place, tuple[int, str]] = {}
        self.acked: dict[int, float] = {}
        self.given_back: dict[int, float] = {}  # when the last such call was made
        self.leases: dict[int, list[Lease]] = {}
        self.tried: set[Place] = set()
        self.open: dict[str, Reply] = {}  # by client: what it tried and got no answer to
        self.answers = 0
        for client, entries in sorted(logs.items()):
            for entry in entries:
                self._read(client, entry)
        for leases in self.leases.values():
            leases.sort(key=lambda lease: lease.at)

    def _read(self, client: str, entry: Reply) -> None:
        kind = entry["kind"]
        if kind == "try":
            assert client not in self.open, "a client has one call at a time"
            self.open[client] = {**entry, "client": client}
            self.tried.update((mailbox, key) for mailbox, key, _ in entry.get("places", ()))
            if entry.get("answer"):
                self.tried.add(("answers", entry["answer"]))
            return
        call = self.open.pop(entry.get("retry_of", client), entry)
        tried_at = call["at"]
        self.answers += kind in ("sent", "settled") or bool(entry.get("messages"))
        if kind == "leased":
            for id, fence, token, lease_s in entry["messages"]:
                self.leases.setdefault(id, []).append(Lease(tried_at, entry["at"], fence, token, lease_s))
        elif kind == "refused":
            expected = "STORAGE_UNAVAILABLE" if call["what"] == "fetch" else "LEASE_LOST"
            assert entry["code"] == expected, entry
        for mailbox, key, text, id in entry.get("places", ()):
            assert (mailbox, key) not in self.sent, f"{key}: two receipts"
            self.sent[mailbox, key] = id, text
        if kind == "settled":
            for id in entry["ids"]:
                if entry["outcome"] == "ack":
                    assert id not in self.acked, f"{id} was acked twice"
                    self.acked[id] = entry["at"]
                else:
                    self.given_back[id] = max(tried_at, self.given_back.get(id, 0.0))

    @classmethod
    def of(cls, logs: Path) -> Told:
        """What the files say."""
        return cls({path.stem: map(json.loads, _whole(path).splitlines()) for path in logs.glob("*.log")})

    def in_flight(self, since: float = 0.0, before: float = float("inf")) -> list[Reply]:
        """The calls without an answer that were made between two moments."""
        return [entry for entry in self.open.values() if since <= entry["at"] < before]


def kinds(entries: list[Reply]) -> set[str]:
    """Which of send, lease and ack are among these calls."""
    return {entry["what"] for entry in entries if entry.get("outcome", "ack") == "ack"}


def _whole(log: Path) -> bytes:
    """The lines that are written to their end; a client may be in the middle of one."""
    return log.read_bytes().rpartition(b"\n")[0]
