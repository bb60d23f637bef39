"""The agent `roman`: an `AgentExecutor` of the A2A SDK as it would stand in any server, behind a mailbox."""

import asyncio
import sys

from a2a.helpers import new_task_from_user_message, new_text_message, new_text_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.tasks import TaskUpdater
from mq9_a2a import listen

from mq9_mcp.client import Mq9Error

LETTERS = {1000: "M", 900: "CM", 500: "D", 400: "CD", 100: "C", 90: "XC", 50: "L", 40: "XL"}
LETTERS |= {10: "X", 9: "IX", 5: "V", 4: "IV", 1: "I"}
CARD = {
    "name": "Roman",
    "description": "Writes numbers as the Romans did.",
    "skills": [{"name": "Roman numerals", "description": "Writes a number from 1 to 3999 in letters."}],
}


def numeral(number: int) -> str:
    """The letters, the greatest first."""
    letters = ""
    for value, letter in LETTERS.items():
        letters += letter * (number // value)
        number %= value
    return letters


class Roman(AgentExecutor):
    """Nothing in here knows of mailboxes, leases or brokers."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """One message of the asker: a new task, or the answer to our question."""
        updater = TaskUpdater(event_queue, str(context.task_id), str(context.context_id))
        if context.current_task is None and context.message is not None:
            await event_queue.enqueue_event(new_task_from_user_message(context.message))
        text = context.get_user_input()
        print(f"asked: {text!r}")
        if not (text.isascii() and text.isdecimal() and 0 < int(text) < 4000):
            await updater.requires_input(new_text_message("Which number, from 1 to 3999?"))
            return
        await updater.add_artifact([new_text_part(numeral(int(text)))], name=text)
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """The asker wants no more."""
        await TaskUpdater(event_queue, str(context.task_id), str(context.context_id)).cancel()


async def main() -> None:
    """Work on the tasks of the mailbox until Ctrl-C; the card is what clients find."""
    async with listen(Roman(), agent="roman", card=CARD) as listener:
        print("roman listens, Ctrl-C ends it")
        await listener.wait()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("roman is away")
    except Mq9Error as error:
        sys.exit(str(error))
