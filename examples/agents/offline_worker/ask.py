"""Leave work for an agent that may be away, or read what it has answered: `ask.py NUMBER...`, `ask.py`."""

import sys

from mq9_mcp.client import Mq9Error, SyncMq9Client


def leave(client: SyncMq9Client, numbers: list[int]) -> None:
    """One task for all numbers. When the receipt is here, it is on disk."""
    client.mailbox_create(address="factors")  # whoever comes first makes it; the same again changes nothing
    sent = client.mailbox_send(to="factors", parts=[{"data": {"numbers": numbers}}], task=True)
    print(f"{sent['receipts'][0]['task']}: {len(numbers)} numbers wait for factors")


def read(client: SyncMq9Client) -> None:
    """What came into our own mailbox meanwhile."""
    answers = client.mailbox_fetch()["messages"]
    for answer in answers:
        print(f"{answer['task']} is {answer['task_state']}")
        for number, factors in answer["parts"][0].get("data", {}).items():
            print(f"  {number} = {' x '.join(str(factor) for factor in factors)}")
        client.mailbox_ack(items=[{"lease": answer["lease"]}])
    if not answers:
        print("no answer yet")


def main() -> None:
    """With numbers: leave them. Without: read the answers."""
    numbers = [int(word) for word in sys.argv[1:]]
    with SyncMq9Client(agent="visitor") as client:
        if numbers:
            leave(client, numbers)
        else:
            read(client)


if __name__ == "__main__":
    try:
        main()
    except Mq9Error as error:
        sys.exit(str(error))
