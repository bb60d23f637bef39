"""The agent `buyer`: buys what is cheap by itself, and asks before it spends more."""

import asyncio
import sys

from mq9_mcp.client import Job, Mq9Client, Mq9Error, TaskFailed

PRICES = {"lamp": 45.00, "pencil": 0.80}
ALONE_EUR = 50.00  # what it may spend without asking


async def approved(job: Job, offer: str) -> bool:
    """Ask until the answer is yes or no.

    While nobody has answered, the task is in nobody's hands: this process may end, and the answer may come
    in a week. It then begins `buy` anew, in whatever process works on the mailbox, and the questions that
    are answered already are not asked again: `ask` returns their answers at once.
    """
    question = f"{offer}. Shall I?"
    while True:
        answer = (await job.ask(question))["parts"][0]["text"].strip().lower()
        if answer in ("yes", "no"):
            return bool(answer == "yes")
        question = f"Not understood: {answer!r}. {offer}. Yes or no?"


async def buy(job: Job) -> str:
    """One wish, as a task: completed with what was bought, or failed with the reason."""
    count, _, thing = job.text.partition(" ")
    if not count.isdecimal() or thing not in PRICES:
        raise TaskFailed(f"I can buy, for example, '3 lamp': {', '.join(PRICES)}")
    total = int(count) * PRICES[thing]
    offer = f"{job.text} for {total:.2f} EUR"
    print(f"a wish: {offer}")
    if total > ALONE_EUR and not await approved(job, offer):
        print("not wanted")
        raise TaskFailed(f"not bought: {offer}")
    print("bought")  # what must not happen twice needs more: see the payments example
    return f"bought: {offer}"


async def main() -> None:
    """Work until Ctrl-C."""
    async with Mq9Client(agent="buyer") as client:
        await client.mailbox_create(address="buyer")
        async with client.work("buyer", buy, concurrency=8) as worker:
            print("buyer is at work, Ctrl-C ends it")
            await worker.wait()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("buyer is away")
    except Mq9Error as error:
        sys.exit(str(error))
