"""The scenes of the demo, in order: each says what happens, and checks what the broker promised."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter

from a2a.types import TaskState

from mq9_mcp.client import Mq9Client
from mq9_mcp.client.arguments import AckItem
from mq9_mcp.demo.asker import WISH, Asker, metadata_of, state_of, table_of, words_of
from mq9_mcp.demo.letters import DESKS, LETTERS
from mq9_mcp.demo.story import Story
from mq9_mcp.demo.worker import NAME

ADDRESSES = [desk["name"] for desk in DESKS]
TEXTS = [letter["text"] for letter in LETTERS]
WORKER_DIES_AT = 10  # letters that are with a desk
BROKER_DIES_AT = 14
ATTEMPTS = 3
SENDERS = 16
COPIES = [f"{copy}. copy of letter {number}" for copy in range(1, 11) for number in range(1, len(TEXTS) + 1)]
CALL_S = 60  # a call that finds no broker is made again for so long
KILL_AFTER = 85  # receipts of copies; others are on their way then
ROUTED = "urn:mq9:a2a:routed:v1"
PHRASE = re.compile(r"how (?:do|can) (?:i|you) say (?P<phrase>.+) in (?P<language>\w+)")
ODD_PHRASE = re.compile(r"in (?P<language>\w+), (?P<phrase>.+) is said how")


async def begin(story: Story) -> None:
    """A broker, six desks, and an agent that introduces itself over MCP and goes away."""
    story.scene("1. A broker, six desks and a post room")
    await story.start_broker()
    story.tell(f"mq9 serve runs as process {story.broker.pid} at {story.broker.url}")
    story.client = Mq9Client(story.broker.url, agent="boss", timeout_s=CALL_S)
    story.friends.append(story.client)
    for desk in DESKS:
        await story.client.agent_register(card=desk)
        await story.client.mailbox_update(address=desk["name"], settings={"max_attempts": ATTEMPTS})
    story.tell(f"six desks are registered, each with a mailbox: {', '.join(ADDRESSES)}")
    worker = await story.start_worker("register")
    story.check(
        f"{NAME} registers over MCP (official client, stdio bridge mq9-mcp), and goes away",
        await worker.process.wait() == 0,
    )


async def ask(story: Story) -> None:
    """An A2A client asks the broker itself; intent picks the agent, which is not there."""
    story.scene("2. An official A2A client asks in plain words, and nobody is there")
    story.asker = await Asker.at(story.broker.url)
    story.friends.append(story.asker)
    task = await story.asker.ask(TEXTS, "night-1")
    story.task = task.id
    routed = metadata_of(task)[ROUTED]
    story.tell(f"asked at /a2a, with {len(TEXTS)} letters of real people:")
    story.tell(f"'{WISH}'")
    second = max((one["score"] for one in routed["candidates"]), default=0.0)
    story.tell(
        f"intent picks {routed['agent']} with a score of {routed['score']:.2f}; the next has {second:.2f}"
    )
    story.check("the right agent of seven is picked", routed["agent"] == NAME)
    story.tell(f"{task.id} is on disk, {state_of(task)}")
    story.check("the agent is away, and the task waits for it", state_of(task) == "TASK_STATE_SUBMITTED")
    again = await story.asker.ask(TEXTS, "night-1")
    story.check(
        "asked again under the same messageId, as after a lost answer: the same task",
        again.id == task.id and len(await story.mail_in(NAME)) == 1,
    )


async def question(story: Story) -> None:
    """The worker comes, and does not know about one letter."""
    story.scene("3. The agent comes back, and has a question")
    story.worker = await story.start_worker("work")
    story.tell(f"{NAME} works as process {story.worker.pid}: an MCP host that knows tools, and no broker")
    task = await story.with_worker(story.asker.wait_for(story.task, TaskState.TASK_STATE_INPUT_REQUIRED))
    story.tell(f"{state_of(task)}: {words_of(task)}")
    [odd] = [letter["text"] for letter in LETTERS if "desk" not in letter]
    story.check(
        "the question reaches the A2A client; the task is in nobody's hands",
        state_of(task) == "TASK_STATE_INPUT_REQUIRED" and odd in words_of(task),
    )
    await story.asker.answer(story.task, "garage")
    story.tell("the A2A client answers: garage")


async def kill_worker(story: Story) -> None:
    """``kill -9`` in the middle of the task; another process goes on with it."""
    story.scene("4. kill -9 for the worker, in the middle of the task")
    await story.with_worker(story.progress(WORKER_DIES_AT))
    await story.worker.kill()
    done = (await story.client.task_get(task=story.task))["task"]["progress"]["done"]
    story.tell(f"kill -9 for process {story.worker.pid}, {done} of {len(TEXTS)} letters are with a desk")
    started = time.monotonic()
    story.worker = await story.start_worker("work")
    task = await story.with_worker(story.progress(done + 1))
    story.second = task["progress"]["note"]
    story.tell(f"after {time.monotonic() - started:.1f} s its lease is over: {story.second}")
    goes_on = [f"process {story.worker.pid}, attempt 2, from letter {done + more}" for more in (1, 2)]
    story.check("another process resumes from the checkpoint, not from letter 1", story.second in goes_on)


async def kill_broker(story: Story) -> None:
    """``kill -9`` for the broker, with a worker at work and sends on their way."""
    story.scene("5. kill -9 for the broker, in the middle of everything")
    await story.client.mailbox_create(address="archive")
    await story.with_worker(story.progress(BROKER_DIES_AT))
    told, killed = await _send_and_kill(story)
    story.tell(f"{SENDERS} senders file copies; kill -9 for process {killed} after {told} receipts")
    story.tell(f"a new broker, process {story.broker.pid}, is at the same address")
    copies = await story.mail_in("archive")
    stored = {message["parts"][0]["text"]: message["id"] for message in copies}
    story.check(
        "every copy with a receipt is there, under its id",
        all(stored[text] == id for text, id in story.receipts.items()),
    )
    story.check(
        "what had no receipt was sent again by the client: each copy is stored exactly once",
        len(copies) == len(stored) == len(story.receipts) == len(COPIES),
    )


async def finish(story: Story) -> None:
    """The task comes to its end as if nothing had happened."""
    story.scene("6. The task is finished")
    task = await story.with_worker(story.asker.wait_for(story.task, TaskState.TASK_STATE_COMPLETED))
    story.tell(f"{state_of(task)}: {words_of(task)}")
    note = (await story.client.task_get(task=story.task))["task"]["progress"]["note"]
    story.check("the worker lived through the broker's death, in the same attempt", note == story.second)
    table = table_of(task)
    shares = Counter(desk for _, desk, _ in table)
    story.tell(", ".join(f"{desk} has {shares[desk]}" for desk in ADDRESSES))
    fits = sum(letter.get("desk") == desk for letter, (_, desk, _) in zip(LETTERS, table, strict=True))
    known = sum("desk" in letter for letter in LETTERS)
    story.tell(f"{fits} of {known} are where the data set would have them; one was asked for")
    mail = {desk: await story.mail_in(desk) for desk in ADDRESSES}
    there = sorted((m["parts"][0]["text"], desk, m["id"]) for desk in ADDRESSES for m in mail[desk])
    story.check(
        f"each of the {len(TEXTS)} letters is at one desk, once, under the id that the artifact tells",
        there == sorted(table) and len({text for text, _, _ in there}) == len(TEXTS),
    )


async def bury_and_redrive(story: Story) -> None:
    """A letter that its desk cannot read is a dead letter, until the desk learns to."""
    story.scene("7. A poisoned letter")
    done = sum([await _desk_works(story, desk, [PHRASE]) for desk in ADDRESSES])
    letters = await story.mail_in("interpreter.dead")
    told = [(one["parts"][0]["text"], one["dead_letter"]["attempts"]) for one in letters]
    [poison] = [text for text in TEXTS if ODD_PHRASE.fullmatch(text)]
    story.tell(f"the desks have done {done} letters; the interpreter fails at '{poison}'")
    why = letters[0]["dead_letter"]["reason"] if letters else ""
    story.tell(f"message {letters[0]['id'] if letters else '-'} in interpreter.dead says why: {why}")
    story.check(
        f"after {ATTEMPTS} failed attempts it is a dead letter with a reason", told == [(poison, ATTEMPTS)]
    )
    known = {message["id"] for message in await story.mail_in("interpreter")}
    await story.client.mailbox_redrive(mailbox="interpreter.dead")
    story.redriven = {message["id"] for message in await story.mail_in("interpreter")} - known
    more = await _desk_works(story, "interpreter", [PHRASE, ODD_PHRASE])
    story.check("the interpreter learns that order of words; redriven, the letter is done", more == 1)


async def audit(story: Story) -> None:
    """A second group, which has read nothing so far, gets a copy of everything."""
    story.scene("8. A second reader")
    boxes = [*ADDRESSES, NAME, "archive"]
    seen: Counter[int] = Counter()
    async with Mq9Client(story.broker.url, agent="auditor") as auditor:
        while messages := (await auditor.mailbox_fetch(mailbox=boxes, group="audit", max=100))["messages"]:
            seen.update(message["id"] for message in messages)
            await auditor.mailbox_ack(items=[{"lease": message["lease"]} for message in messages])
    stored = {message["id"] for box in boxes for message in await story.mail_in(box)}
    story.tell(f"group audit reads {len(boxes)} mailboxes from the start: {sum(seen.values())} messages")
    story.check(
        "it gets a copy of each once, whatever others did with theirs; what was redriven is for its desk",
        seen == Counter(stored - story.redriven) and len(story.redriven) == 1,
    )


async def stop(story: Story) -> None:
    """The end of the day."""
    await story.worker.stop()
    story.check("the broker stops in order", await story.broker.stop() == 0)


SCENES = (begin, ask, question, kill_worker, kill_broker, finish, bury_and_redrive, audit, stop)


async def _send_and_kill(story: Story) -> tuple[int, int]:
    """Send from many callers at once, kill the broker among them, start another one.

    Returns how many receipts there were then, and which process died.
    """
    enough = asyncio.Event()
    texts = iter(COPIES)

    async def send() -> None:
        for text in texts:
            sent = await story.client.mailbox_send(to="archive", text=text)
            story.receipts[text] = sent["receipts"][0]["id"]
            if len(story.receipts) >= KILL_AFTER:
                enough.set()

    async with asyncio.TaskGroup() as group:
        for _ in range(SENDERS):
            group.create_task(send())
        await enough.wait()
        killed = story.broker
        await killed.kill()
        told = len(story.receipts)
        await story.start_broker(killed.port)
    return told, killed.pid


async def _desk_works(story: Story, desk: str, readable: list[re.Pattern[str]]) -> int:
    """A desk does its mail; the interpreter does what it can read. How many letters were done?"""
    done = 0
    while messages := (await story.client.mailbox_fetch(mailbox=desk, max=10))["messages"]:
        for message in messages:
            text = message["parts"][0]["text"]
            item: AckItem = {"lease": message["lease"], "outcome": "ack"}
            if desk == "interpreter" and not any(one.search(text) for one in readable):
                why = "finds no phrase and no language"
                item = {"lease": message["lease"], "outcome": "nack", "delay_s": 0, "reason": why}
            else:
                done += 1
            await story.client.mailbox_ack(items=[item])
    return done
