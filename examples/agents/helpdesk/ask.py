"""Ask the helpdesk in your own words; who answers is the broker's choice: `ask.py you charged me twice`."""

import sys

from mq9_mcp.client import Mq9Error, SyncMq9Client


def main(question: str) -> None:
    """Act as the agent `customer`."""
    with SyncMq9Client(agent="customer") as client:
        [receipt] = client.mailbox_send(intent={"text": question}, task=True)["receipts"]
        routed = receipt["routed"]
        print(f"{routed['agent']} {routed['reason']}")
        # Only what belongs to this question: other mail of ours is for another reader.
        found = client.mailbox_fetch(session=receipt["session"], max=1, wait_s=50)
        for message in found["messages"]:
            print(f"{message['task_state']}: {message['parts'][0]['text']}")
            client.mailbox_ack(items=[{"lease": message["lease"]}])
        if not found["messages"]:
            print("no answer yet; the question waits at the desk, the answer will wait here")


if __name__ == "__main__":
    try:
        main(" ".join(sys.argv[1:]) or "you charged me twice")
    except Mq9Error as error:
        if error.code != "NO_MATCHING_AGENT":
            sys.exit(str(error))
        print("no desk is for that; nothing was stored")
