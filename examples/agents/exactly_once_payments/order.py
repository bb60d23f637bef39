"""Order a payment: `order.py INVOICE CENTS PAYEE`, as often as you like. Without words: what was paid?"""

import sys

from mq9_mcp.client import Mq9Error, SyncMq9Client


def order(client: SyncMq9Client, invoice: str, cents: int, payee: str) -> None:
    """The invoice is the key: the mailbox stores it once, today and for as long as it lives."""
    client.mailbox_create(address="payments", settings={"exactly_once": True})
    bill = {"invoice": invoice, "cents": cents, "payee": payee}
    sent = client.mailbox_send(to="payments", parts=[{"data": bill}], dedup_key=invoice)
    receipt = sent["receipts"][0]
    print(f"{invoice} is message {receipt['id']}, {'as before' if receipt['duplicate'] else 'new'}")


def look(client: SyncMq9Client) -> None:
    """Confirmations are mail."""
    for message in client.mailbox_fetch()["messages"]:
        print(message["parts"][0]["text"])
        client.mailbox_ack(items=[{"lease": message["lease"]}])


def main() -> None:
    """Act as the agent `shop`."""
    with SyncMq9Client(agent="shop") as client:
        if len(sys.argv) == 4:
            order(client, sys.argv[1], int(sys.argv[2]), sys.argv[3])
        else:
            look(client)


if __name__ == "__main__":
    try:
        main()
    except Mq9Error as error:
        sys.exit(str(error))
