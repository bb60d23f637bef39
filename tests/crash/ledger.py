"""A ledger on three exactly-once mailboxes: ``transfers`` -> ``transit`` -> ``accounts``.

An account is a message: its balance and its version. A worker that debits holds the transfer and the
account, and in one commit acks both, sends the account's next version and passes the transfer on; one
that credits does the same at the other end. Money is created nowhere, so its sum stands.
"""

from __future__ import annotations

from typing import Any, Protocol

from tests.crash.line import Reply, Said

ACCOUNTS = 12
OPENING = 1_000  # of each account
MAILBOXES = ("transfers", "transit", "accounts")
LEASE_S = 40  # of broker time, which runs faster
WAIT_S = 0.3  # far less than a lease: who holds a transfer soon has the account or lets go

Entry = dict[str, Any]


class Asks(Protocol):
    """A connection that repeats a call until it is answered."""

    def call(self, name: str, **arguments: Any) -> Reply:
        """The reply to one command; raises ``Said``."""


def make_mailboxes(line: Asks) -> None:
    """Equal settings each time."""
    settings = {"exactly_once": True, "max_attempts": 0}
    for address in MAILBOXES:
        line.call("mailbox_create", address=address, settings=settings)


def account_message(account: int, version: int, balance: int, by: str) -> Entry:
    """One version of an account; its key makes a second one of the same version impossible."""
    data = {"account": account, "version": version, "balance": balance, "by": by}
    return {
        "to": "accounts",
        "parts": [{"data": data}],
        "tags": [f"account-{account}"],
        "dedup_key": f"account-{account}-v{version}",
    }


def transfer_message(to: str, transfer: Entry) -> Entry:
    """A transfer on its way."""
    return {"to": to, "parts": [{"data": transfer}], "dedup_key": f"transfer-{transfer['number']}"}


def data_of(message: Reply) -> Entry:
    """What a message says."""
    data: Entry = message["parts"][0]["data"]
    return data


def take(line: Asks, mailbox: str, **arguments: Any) -> Reply | None:
    """One message, if there is one soon."""
    reply = line.call("mailbox_fetch", mailbox=mailbox, max=1, wait_s=WAIT_S, lease_s=LEASE_S, **arguments)
    return reply["messages"][0] if reply["messages"] else None


def apply_one(line: Asks, source: str, side: str, sign: int) -> bool:
    """Take a transfer and the account on its ``side``, and commit what becomes of both; True if it did."""
    work = take(line, source)
    if work is None:
        return False
    transfer = data_of(work)
    account = take(line, "accounts", tags_any=[f"account-{transfer[side]}"])
    if account is None:
        release(line, work)  # somebody else has the account
        return False
    old = data_of(account)
    by = f"{'debit' if sign < 0 else 'credit'}-{transfer['number']}"
    balance = old["balance"] + sign * transfer["amount"]
    sends = [account_message(old["account"], old["version"] + 1, balance, by)]
    if source == "transfers":
        sends.append(transfer_message("transit", transfer))
    try:
        line.call("mailbox_ack", items=[{"lease": one["lease"]} for one in (work, account)], send=sends)
    except Said as error:
        if error.code != "LEASE_LOST":
            raise
        release(line, work, account)  # too slow for one of the two: nothing happened
        return False
    return True


def release(line: Asks, *messages: Reply) -> None:
    """Let go what is still held; for the rest it is too late."""
    items = [{"lease": message["lease"], "outcome": "release"} for message in messages]
    line.call("mailbox_ack", items=items)


def everything(line: Asks, mailbox: str, **arguments: Any) -> list[Reply]:
    """All messages of a mailbox, settled ones too."""
    found: list[Reply] = []
    arguments = {"mailbox": mailbox, "limit": 100, **arguments}
    while True:
        reply = line.call("mailbox_query", **arguments)
        found += reply["messages"]
        if "next_cursor" not in reply:
            return found
        arguments["cursor"] = reply["next_cursor"]


def unsettled(messages: list[Reply]) -> list[Entry]:
    """What the messages say that are not acked."""
    return [data_of(m) for m in messages if all(one["state"] != "acked" for one in m["deliveries"])]


def money(line: Asks) -> int:
    """All balances and all that is between two accounts."""
    balances = [one["balance"] for one in unsettled(everything(line, "accounts"))]
    amounts = [one["amount"] for one in unsettled(everything(line, "transit"))]
    return sum(map(int, balances + amounts))


def check_books(line: Asks, transfers: list[Entry]) -> None:
    """After the last transfer: each was applied exactly once, and every balance follows from them."""
    versions: dict[int, list[Entry]] = {}
    for message in everything(line, "accounts"):
        versions.setdefault(data_of(message)["account"], []).append(data_of(message))
    numbers = sorted(data_of(message)["number"] for message in everything(line, "transit"))
    assert numbers == [transfer["number"] for transfer in transfers], "passed on exactly once"
    by = [one["by"] for account in versions.values() for one in account if one["by"] != "opening"]
    sides = [f"{side}-{transfer['number']}" for side in ("credit", "debit") for transfer in transfers]
    assert sorted(by) == sorted(sides), "a transfer was applied twice or not at all"
    expected = dict.fromkeys(range(ACCOUNTS), OPENING)
    for transfer in transfers:
        expected[transfer["from"]] -= transfer["amount"]
        expected[transfer["to"]] += transfer["amount"]
    for account, history in versions.items():
        history.sort(key=lambda one: int(one["version"]))
        assert [one["version"] for one in history] == list(range(len(history))), f"account {account}"
        assert history[-1]["balance"] == expected[account]
    last = {one["account"]: one["balance"] for one in unsettled(everything(line, "accounts"))}
    assert last == expected, "each account has one last version, and it is the right one"
