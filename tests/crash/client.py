"""What one client of the crash tests does: it sends, fetches and settles, and logs every try and answer.

The same client works over a socket in a process of its own and, for the power loss, within a test.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from tests.crash.line import Log, Reply, Said

LONG_S = 300
SHORT_S = 1  # such leases run out while the clients work

Call = Callable[..., Awaitable[Reply]]


class Client:
    """A caller with a name, a log, and chance that follows from the name."""

    def __init__(self, name: str, call: Call, log: Log) -> None:
        self.name = name
        self.rng = random.Random(name)
        self.call = call
        self.log = log
        self.number = 0

    async def work(self) -> None:
        """Go on until the broker is gone."""
        while True:
            self.number += 1
            await self.send()
            messages = await self.fetch()
            if messages and self.rng.random() < 0.9:
                await self.settle(messages)

    async def send(self) -> None:
        """One message, a batch of three, or a copy for each of two mailboxes."""
        way = self.rng.choice(("one", "batch", "fan-out"))
        keys = [f"{self.name}-{self.number}-{index}" for index in range(3 if way == "batch" else 1)]
        texts = {key: key * self.rng.randint(1, 150) for key in keys}
        to = ["box", "side"] if way == "fan-out" else ["box"]
        places = [[mailbox, key, texts[key]] for key in keys for mailbox in to]
        self.log.tries("send", places=places)
        messages = [{"to": to, "text": texts[key], "dedup_key": key} for key in keys]
        reply = await self.call("mailbox_send", messages=messages)
        ids = [receipt["id"] for receipt in reply["receipts"]]
        self.log.told("sent", places=[[*place, id] for place, id in zip(places, ids, strict=True)])

    async def fetch(self) -> list[Reply]:
        """One to three messages of both mailboxes."""
        lease_s = self.rng.choice((LONG_S, LONG_S, LONG_S, SHORT_S))
        self.log.tries("fetch")
        most = self.rng.randint(1, 3)
        try:
            reply = await self.call("mailbox_fetch", mailbox=["box", "side"], max=most, lease_s=lease_s)
        except Said as error:  # the folder process was killed, and a body lies in the tables alone
            self.log.told("refused", code=error.code)
            return []
        messages: list[Reply] = reply["messages"]
        taken = [[message["id"], message["fence"], message["lease"], lease_s] for message in messages]
        self.log.told("leased", messages=taken)
        return messages

    async def settle(self, messages: list[Reply]) -> None:
        """Mostly acks, mostly with a send in the same commit; sometimes the messages go back."""
        outcome = self.rng.choice(("ack",) * 8 + ("release", "nack"))
        leases = [message["lease"] for message in messages]
        ids = [message["id"] for message in messages]
        extra = {"delay_s": 0} if outcome == "nack" else {}
        items = [{"lease": lease, "outcome": outcome, **extra} for lease in leases]
        answer = f"{self.name}-{self.number}-answer" if self.rng.random() < 0.7 else None
        self.log.tries("ack", outcome=outcome, ids=ids, leases=leases, answer=answer)
        try:
            send = {"send": {"to": "answers", "text": answer, "dedup_key": answer}} if answer else {}
            reply = await self.call("mailbox_ack", items=items, **send)
        except Said as error:
            self.log.told("refused", code=error.code)
            return
        done = [result["id"] for result in reply["results"] if result["ok"]]
        places = [["answers", answer, answer, reply["receipts"][0]["id"]]] if answer else []
        self.log.told("settled", outcome=outcome, ids=done, places=places)
