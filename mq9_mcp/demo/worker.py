"""The agent ``post-room``, an MCP client like any other: ``python -m mq9_mcp.demo.worker URL WHAT``.

It reaches the broker through the tools of ``mq9-mcp`` alone, as a model in an MCP host does. ``register``
tells the broker who it is, ``work`` sorts letters until it is ended.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from mcp import Client, StdioServerParameters

NAME = "post-room"
CARD = {
    "name": NAME,
    "description": "Sorts piles of letters.",
    "skills": [
        {
            "name": "sort letters",
            "description": "Sorts letters of customers by subject, and hands each to the desk that can help.",
            "examples": ["please sort these letters and hand them out"],
        }
    ],
}
LEASE_S = 4  # so short that a dead worker is missed soon; every report renews it
LETTER_S = 0.15  # what a model would take to read one, and more


class Failed(Exception):
    """A tool said no; the code is what a program goes by."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


async def call(mq9: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The reply of a tool, as data."""
    result = await mq9.call_tool(tool, arguments)
    if result.is_error:
        refusal = (result.meta or {}).get("mq9/error", {})
        raise Failed(refusal.get("code", ""), str(result.content))
    reply: dict[str, Any] = result.structured_content or {}
    return reply


async def work(mq9: Client) -> None:
    """Take one task after the other, when there is one."""
    while True:
        for message in (await call(mq9, "mailbox_fetch", wait_s=50, max=1, lease_s=LEASE_S))["messages"]:
            await Sorting(mq9, message).run()


class Sorting:
    """One task in hand. What must outlive this process is in the checkpoint: who got which letter, so far."""

    def __init__(self, mq9: Client, message: dict[str, Any]) -> None:
        self.mq9 = mq9
        self.message = message
        self.known: dict[str, Any] = message.get("checkpoint") or {"letters": [], "given": []}
        answer = message["parts"]
        if "letters" in answer[-1].get("data", {}):
            self.known["letters"] = answer[-1]["data"]["letters"]
            self.told = ""
        else:
            self.told = answer[0]["text"].strip()  # the answer to our question: the name of a desk
        self.who = f"process {os.getpid()}, attempt {message['attempt']}, from letter {self.at + 1}"

    @property
    def at(self) -> int:
        """The letter that comes next; one less than people count."""
        return len(self.known["given"])

    async def run(self) -> None:
        """Letter by letter. Whoever does the same again after a crash hands out nothing twice."""
        while self.at < len(self.known["letters"]):
            letter = self.known["letters"][self.at]
            await asyncio.sleep(LETTER_S)
            try:
                given = await self.hand_out(letter, self.told)
            except Failed as no:
                if no.code != "NO_MATCHING_AGENT":
                    raise
                await self.ask(letter)
                return
            self.told = ""
            self.known["given"].append(given)
            await self.report()
        await self.finish()

    async def hand_out(self, letter: str, desk: str) -> list[Any]:
        """To the desk that fits, or to the one that we were told."""
        to = {"to": desk} if desk else {"intent": {"text": letter}}
        key = f"{self.message['task']}-{self.at}"
        reply = await call(self.mq9, "mailbox_send", text=letter, dedup_key=key, **to)
        [receipt] = reply["receipts"]
        return [receipt["mailbox"], receipt["id"]]

    async def ask(self, letter: str) -> None:
        """The task is in nobody's hands until the answer comes, to us or to another worker."""
        question = f"No desk knows about '{letter}'. Which one gets it?"
        await self.update(state="input-required", message=question)

    async def report(self) -> None:
        """How far we are, and where another one would go on."""
        progress = {"done": self.at, "total": len(self.known["letters"]), "note": self.who}
        await self.update(progress=progress, lease_s=LEASE_S)

    async def finish(self) -> None:
        """The result: every letter, with the desk and the id of its message there."""
        table = [
            [letter, *given] for letter, given in zip(self.known["letters"], self.known["given"], strict=True)
        ]
        artifact = {"name": "who has which letter", "parts": [{"data": {"letters": table}}]}
        await self.update(state="completed", message="All letters are with a desk.", artifacts=[artifact])

    async def update(self, **fields: Any) -> None:
        """Tell the broker; if its answer got lost, tell it again, which changes nothing."""
        known = {"task": self.message["task"], "lease": self.message["lease"], "checkpoint": self.known}
        try:
            await call(self.mq9, "task_update", **known, **fields)
        except Failed as lost:
            if lost.code != "CONNECTION_FAILED":
                raise
            await call(self.mq9, "task_update", **known, **fields)


async def main(url: str, what: str) -> None:
    """What an MCP host does with its configuration: start ``mq9-mcp``, and speak to it."""
    words = ["-m", "mq9_mcp.bridge", "--url", url, "--agent", NAME]
    server = StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))
    async with Client(server) as mq9:
        if what == "register":
            await call(mq9, "agent_register", card=CARD)
        else:
            await work(mq9)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
