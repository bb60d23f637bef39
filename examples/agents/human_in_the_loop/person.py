"""A person at a terminal: `person.py 3 lamp` wishes for something; `person.py` looks what the agents want."""

import sys

from mq9_mcp.client import Mq9Error, SyncMq9Client

WAIT_S = 3  # for the next message; whatever comes later waits


def wish(client: SyncMq9Client, text: str) -> None:
    """A task for the buyer, who may be away."""
    client.mailbox_create(address="buyer")
    client.mailbox_send(to="buyer", text=text, task=True)


def look(client: SyncMq9Client) -> None:
    """One message after the other, for as long as they come."""
    while messages := client.mailbox_fetch(max=1, wait_s=WAIT_S)["messages"]:
        message = messages[0]
        lease, text = message["lease"], message["parts"][0]["text"]
        if message.get("task_state") != "input-required":
            print(f"{message['from']}: {text}")
            client.mailbox_ack(items=[{"lease": lease}])
            continue
        print(f"{message['from']} asks: {text}")
        try:
            answer = input("> ")
        except (EOFError, KeyboardInterrupt):  # not now: the question goes back, and waits
            client.mailbox_ack(items=[{"lease": lease, "outcome": "release"}])
            print("the question waits")
            return
        # One commit: the question is settled, and the answer is on its way.
        client.mailbox_ack(items=[{"lease": lease}], send={"in_reply_to": message["id"], "text": answer})
    print("nothing more for now")


def main() -> None:
    """Act as the agent `person`."""
    with SyncMq9Client(agent="person") as client:
        if len(sys.argv) > 1:
            wish(client, " ".join(sys.argv[1:]))
        look(client)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("what is left waits")
    except Mq9Error as error:
        sys.exit(str(error))
