"""After a kill: the broker that starts on the data again is asked for everything, and its word is compared
with what the clients were told."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any, Protocol

from tests.crash.client import LONG_S
from tests.crash.line import Log, Reply, Said
from tests.crash.told import Lease, Place, Told

MAILBOXES = ("box", "side", "answers")
SAMPLE = 25


class Asked(Protocol):
    """A connection to a broker."""

    def call(self, name: str, **arguments: Any) -> Reply:
        """The reply to one command; raises ``Said``."""


class Stored:
    """Everything that the broker holds."""

    def __init__(self, line: Asked) -> None:
        self.by_place: dict[Place, Reply] = {}
        self.by_id: dict[int, Reply] = {}
        for mailbox in MAILBOXES:
            for message in everything(line, mailbox):
                place = mailbox, message["dedup_key"]
                assert place not in self.by_place, f"{place} is stored twice"
                self.by_place[place] = self.by_id[message["id"]] = message

    def state(self, id: int) -> str:
        """How the message stands in the group ``default``."""
        states = [one["state"] for one in self.by_id[id]["deliveries"] if one["group"] == "default"]
        return str(states[0]) if states else "waiting"


def everything(line: Asked, mailbox: str) -> list[Reply]:
    """All messages of a mailbox, settled ones too."""
    found: list[Reply] = []
    arguments: dict[str, Any] = {"mailbox": mailbox, "limit": 100}
    while True:
        reply = line.call("mailbox_query", **arguments)
        found += reply["messages"]
        if "next_cursor" not in reply:
            return found
        arguments["cursor"] = reply["next_cursor"]


def check_all(line: Asked, told: Told) -> None:
    """Nothing acknowledged is lost or doubled, nothing is invented, what was in flight is whole or absent."""
    stored = Stored(line)
    check_memory(line, stored)
    check_sends(stored, told)
    check_acks(stored, told)
    check_leases(stored, told)
    check_in_flight(stored, told)


def check_memory(line: Asked, stored: Stored) -> None:
    """What delivery goes by, which is memory, owes as many messages as the tables show."""
    for mailbox in MAILBOXES:
        ids = [message["id"] for (at, _), message in stored.by_place.items() if at == mailbox]
        owed = sum(stored.state(id) != "acked" for id in ids)
        counts = line.call("mailbox_get", address=mailbox)["mailbox"]["counts"]
        assert counts["unsettled"] == owed, f"{mailbox}: memory owes {counts}, the tables {owed}"


def check_sends(stored: Stored, told: Told) -> None:
    """Every acknowledged send is there once, as it was sent; nothing is there that nobody tried."""
    assert stored.by_place.keys() <= told.tried, "invented"
    for place, (id, text) in told.sent.items():
        assert place in stored.by_place, f"{place} was acknowledged and is lost"
        message = stored.by_place[place]
        assert (message["id"], message["parts"]) == (id, [{"text": text}]), place


def check_acks(stored: Stored, told: Told) -> None:
    """No acknowledged ack comes back, and none is there that nobody asked for."""
    settled = {id for id in stored.by_id if stored.state(id) == "acked"}
    assert told.acked.keys() <= settled, "an acknowledged ack came back"
    assert settled <= told.acked.keys() | trying_to_ack(told), "an ack was invented"
    for id, at in told.acked.items():
        assert all(lease.tried_at < at for lease in told.leases[id]), f"{id} was leased after its ack"
        assert told.given_back.get(id, 0.0) < at, f"{id} was settled after its ack"


def trying_to_ack(told: Told) -> set[int]:
    """The messages whose ack has no answer."""
    acks = [entry for entry in told.in_flight() if entry.get("outcome") == "ack"]
    return {id for entry in acks for id in entry["ids"]}


def check_leases(stored: Stored, told: Told) -> None:
    """Fences only rise, and a message that was handed out is still in the hands that have it."""
    for id, leases in told.leases.items():
        assert len({lease.fence for lease in leases}) == len(leases), f"{id}: a fence came twice"
        for former, later in pairwise(leases):
            in_order = former.fence < later.fence or later.tried_at < former.at
            assert in_order, f"{id}: {former.fence} was told before {later.fence} was asked for"
    for id in held(told):
        assert stored.state(id) == "leased", f"{id} was leased for long and is {stored.state(id)}"


def held(told: Told) -> dict[int, Lease]:
    """Messages under a long lease that nobody tried to settle."""
    trying = {id for entry in told.in_flight() for id in entry.get("ids", ())}
    found = {}
    for id, leases in told.leases.items():
        settled_at = max(told.acked.get(id, 0.0), told.given_back.get(id, 0.0))
        last = max(leases, key=lambda lease: lease.fence)
        if last.lease_s == LONG_S and last.at > settled_at and id not in trying:
            found[id] = last
    return found


def check_in_flight(stored: Stored, told: Told) -> None:
    """A batch, a fan-out, an ack with its send: all of it or nothing."""
    for entry in told.in_flight():
        if entry["what"] == "send":
            there = [(mailbox, key) in stored.by_place for mailbox, key, _ in entry["places"]]
            assert all(there) or not any(there), f"half of {entry['places']} is there"
        elif entry.get("outcome") == "ack" and entry["answer"]:
            mine = [stored.state(id) == "acked" and id not in told.acked for id in entry["ids"]]
            if ("answers", entry["answer"]) in stored.by_place:
                assert all(mine), "a send without its ack"
            else:
                others = trying_to_ack(told) - set(entry["ids"])
                assert not any(mine) or others, "an ack without its send"


def retry_in_flight(line: Asked, told: Told, log: Log) -> None:
    """The clients' calls again: what happened is told as at first, what did not happen happens now."""
    before = Stored(line)
    for entry in told.in_flight():
        if entry["what"] == "send":
            retry_send(line, entry, before, log)
        elif entry["what"] == "ack":
            retry_ack(line, entry, before, told, log)
        else:
            log.told("lost", retry_of=entry["client"])


def retry_send(line: Asked, entry: Reply, before: Stored, log: Log) -> None:
    """Stored once, whether it is the first time or not."""
    told = []
    for mailbox, key, text in entry["places"]:
        message = {"to": mailbox, "text": text, "dedup_key": key}
        receipt = line.call("mailbox_send", **message)["receipts"][0]
        known = before.by_place.get((mailbox, key))
        assert receipt["duplicate"] == (known is not None)
        assert known is None or receipt["id"] == known["id"], "a retry is told another id"
        told.append([mailbox, key, text, receipt["id"]])
    log.told("sent", retry_of=entry["client"], places=told)


def retry_ack(line: Asked, entry: Reply, before: Stored, told: Told, log: Log) -> None:
    """The same settlement under the same lease; only leases that may have run out may be refused."""
    extra = {"delay_s": 0} if entry["outcome"] == "nack" else {}
    items = [{"lease": lease, "outcome": entry["outcome"], **extra} for lease in entry["leases"]]
    answer = entry["answer"]
    send = {"send": {"to": "answers", "text": answer, "dedup_key": answer}} if answer else {}
    try:
        reply = line.call("mailbox_ack", items=items, **send)
    except Said as error:
        check_refusal(entry, told, error.code)
        log.told("refused", retry_of=entry["client"], code=error.code)
        return
    done = [result["id"] for result in reply["results"] if result["ok"]]
    places = [["answers", answer, answer, reply["receipts"][0]["id"]]] if answer else []
    known = before.by_place.get(("answers", answer)) if answer else None
    assert known is None or known["id"] == places[0][3], "a retry is told another id"
    log.told("settled", retry_of=entry["client"], outcome=entry["outcome"], ids=done, places=places)


def retry_sample(line: Asked, told: Told, log: Log, rng: random.Random) -> None:
    """Sends that were acknowledged are told their first id; tokens that are held still settle."""
    for (mailbox, key), (id, text) in rng.sample(sorted(told.sent.items()), min(SAMPLE, len(told.sent))):
        [receipt] = line.call("mailbox_send", to=mailbox, text=text, dedup_key=key)["receipts"]
        assert (receipt["id"], receipt["duplicate"]) == (id, True)
    leases = held(told)
    for id in rng.sample(sorted(leases), min(5, len(leases))):
        [result] = line.call("mailbox_ack", items=[{"lease": leases[id].token}])["results"]
        assert result["ok"], f"{id}: the lease that was told does not settle"
        log.told("settled", outcome="ack", ids=[id], places=[])


def check_refusal(entry: Reply, told: Told, code: str) -> None:
    """A settlement is refused only where a lease of it may have run out."""
    tokens = set(entry["leases"])
    used = [lease for id in entry["ids"] for lease in told.leases[id] if lease.token in tokens]
    assert code == "LEASE_LOST"
    assert any(lease.lease_s < LONG_S for lease in used), "a lease that was held is lost"
