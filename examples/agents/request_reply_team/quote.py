"""Ask the whole team at once: `quote.py ITEM COUNT`. Without words: wait for an answer that came late."""

import sys

from mq9_mcp.client import Mq9Error, SyncMq9Client

TEAM = ["stock", "price", "delivery"]


def ask(client: SyncMq9Client, item: str, count: int) -> None:
    """One send, a copy for each, all or none; it stays until all have answered, or 3 seconds."""
    for name in TEAM:
        client.mailbox_create(address=name)
    order = [{"data": {"item": item, "count": count}}]
    receipts = client.mailbox_send(to=TEAM, parts=order, wait_for="replied", wait_s=3)["receipts"]
    for receipt in receipts:
        if receipt["reached"] == "replied":
            print(f"{receipt['mailbox']}: {receipt['reply']['parts'][0]['text']}")
        else:
            print(f"{receipt['mailbox']}: no answer, the question is {receipt['reached']}")
    # What a receipt shows is a copy. The answers themselves wait in our mailbox until they are settled.
    settle(client, {receipt["id"] for receipt in receipts if "reply" in receipt})


def settle(client: SyncMq9Client, seen: set[int], wait_s: float = 0) -> None:
    """Take the answers out of our mailbox, and show those that nobody has seen yet."""
    for answer in client.mailbox_fetch(wait_s=wait_s)["messages"]:
        if answer.get("in_reply_to") not in seen:
            print(f"{answer['from']}, late: {answer['parts'][0]['text']}")
        client.mailbox_ack(items=[{"lease": answer["lease"]}])


def main() -> None:
    """Act as the agent `sales`."""
    with SyncMq9Client(agent="sales") as client:
        if len(sys.argv) == 3:
            ask(client, sys.argv[1], int(sys.argv[2]))
        else:
            settle(client, set(), wait_s=20)


if __name__ == "__main__":
    try:
        main()
    except Mq9Error as error:
        sys.exit(str(error))
