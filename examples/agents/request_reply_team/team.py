"""Three colleagues who answer questions about an order: `team.py` for all, `team.py stock price` for some."""

import asyncio
import sys
from contextlib import AsyncExitStack
from typing import Any

from mq9_mcp.client import Mq9Client, Mq9Error, Reject

SHELF = {"teapot": 40, "kettle": 1}
PRICES = {"teapot": 14.50, "kettle": 39.00}
Message = dict[str, Any]


def order_of(message: Message) -> tuple[str, int]:
    """What is asked about. A question that nobody can answer goes to the dead letters at once."""
    order = message["parts"][0]["data"]
    if order["item"] not in PRICES:
        raise Reject("unknown-item", f"we have {', '.join(PRICES)}")
    return order["item"], order["count"]


async def stock(message: Message) -> str:
    """What a handler returns is the reply, stored in the same commit that settles the question."""
    item, count = order_of(message)
    return f"{SHELF[item]} on the shelf, {'enough' if count <= SHELF[item] else 'too few'}"


async def price(message: Message) -> str:
    """The sum of the order."""
    item, count = order_of(message)
    return f"{count * PRICES[item]:.2f} EUR"


async def delivery(message: Message) -> str:
    """How it travels."""
    _, count = order_of(message)
    return f"{-(-count // 20)} parcel(s), here in 2 days"


TEAM = {"stock": stock, "price": price, "delivery": delivery}


async def tell(message: Message, error: Exception) -> None:
    """A question that came to nothing."""
    print(f"{message['mailbox']} declines: {error}")


async def main(names: list[str]) -> None:
    """Each colleague is an agent with a connection and a mailbox of its own; they could be anywhere."""
    async with AsyncExitStack() as stack:
        workers = []
        for name in names:
            client = await stack.enter_async_context(Mq9Client(agent=name))
            await client.mailbox_create(address=name)
            workers.append(client.consume(name, TEAM[name], reply=True, error_handler=tell))
            print(f"{name} is at the desk")
        await asyncio.gather(*(worker.wait() for worker in workers))


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1:] or list(TEAM)))
    except KeyboardInterrupt:
        print("the desk is empty")
    except Mq9Error as error:
        sys.exit(str(error))
