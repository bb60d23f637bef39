"""A cashier who pays once: `cashier.py`; `--die` after paying; `--slow`; `--ledger` shows what was paid."""

import os
import signal
import sqlite3
import sys
from contextlib import closing
from typing import Any

from mq9_mcp.client import Mq9Error, Refused, SyncMq9Client

TABLE = "create table if not exists paid (message primary key, fence, invoice, cents, payee)"


def pay(ledger: sqlite3.Connection, message: int, fence: int, bill: dict[str, str | int]) -> bool:
    """Pay, and return True; False if that was done before.

    The ledger is the world outside, which no broker can take back. It keeps two rules: one payment for a
    message, and no word from a worker that was replaced. The fence of a message rises with every lease, so
    whoever comes with a lower one than was seen is too late.
    """
    ledger.execute("begin immediate")
    with ledger:  # one transaction
        for (seen,) in ledger.execute("select fence from paid where message = ?", [message]):
            if fence < seen:
                raise PermissionError(f"fence {fence} is stale, {seen} was seen")
            ledger.execute("update paid set fence = ? where message = ?", [fence, message])
            return False
        row = [message, fence, bill["invoice"], bill["cents"], bill["payee"]]
        ledger.execute("insert into paid values (?, ?, ?, ?, ?)", row)
        return True


def handle(client: SyncMq9Client, ledger: sqlite3.Connection, message: Any, how: str) -> None:
    """Pay, then settle and confirm in one commit. Between the two is where everything may go wrong."""
    bill = message["parts"][0]["data"]
    invoice = bill["invoice"]
    print(f"{invoice}: in hand, attempt {message['attempt']}")
    if how == "--slow":
        input("> ")  # a pause of the process, the network or the machine; nobody renews the lease
    try:
        new = pay(ledger, message["id"], message["fence"], bill)
        print(f"{invoice}: {'paid' if new else 'was paid before'}")
        if how == "--die":
            os.kill(os.getpid(), signal.SIGKILL)
        client.mailbox_ack(
            items=[{"lease": message["lease"]}],
            send={"in_reply_to": message["id"], "text": f"{invoice} is paid"},
        )
        print(f"{invoice}: settled")
    except PermissionError as error:
        print(f"{invoice}: the ledger refuses, {error}")
    except Refused as error:  # LEASE_LOST: whoever has the message now finds it paid
        print(f"{invoice}: the broker refuses, {error.code}")


def main(how: str = "") -> None:
    """Act as the agent `cashier`, until Ctrl-C."""
    with closing(sqlite3.connect("ledger.sqlite", isolation_level=None)) as ledger:
        ledger.execute(TABLE)
        if how == "--ledger":
            for row in ledger.execute("select invoice, cents, payee from paid order by message"):
                print(*row)
            return
        with SyncMq9Client(agent="cashier") as client:
            client.mailbox_create(address="payments", settings={"exactly_once": True})
            print("cashier is at work, Ctrl-C ends it")
            while True:
                found = client.mailbox_fetch(mailbox="payments", max=1, wait_s=20, lease_s=5)
                for message in found["messages"]:
                    handle(client, ledger, message, how)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        print("cashier is away")
    except Mq9Error as error:
        sys.exit(str(error))
