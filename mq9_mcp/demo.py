"""A broker's life in plain lines: work, ``kill -9``, restart, dead letters; every promise is checked.

The broker runs in a process of its own, so that it can be killed for real. The agents live here and
reach it through a pipe that only this demo uses: the doors for agents are not part of this version.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mq9_mcp.broker.broker import Broker, start_broker
from mq9_mcp.domain.commands import TIERS
from mq9_mcp.domain.errors import CODES, Mq9Error
from mq9_mcp.domain.state import Caller
from mq9_mcp.engine.embedded.engine import open_engine

Reply = dict[str, Any]

FIRST_JOBS = 40  # sent in one batch, before the kill
JOBS = 240
SENDERS = 16
KILL_AFTER = 85  # receipts of single sends; others are on their way then
URGENT = {36: "urgent", 37: "urgent", 38: "urgent", 39: "critical", 40: "critical"}
POISONED = 13  # every worker fails at this job until it is mended
WORKERS = ("anna", "ben", "carl")
LINE_BYTES = 16 * 1024 * 1024
LONGEST_S = 120


# -- the broker's side of the pipe


async def serve(folder: Path) -> None:
    """Be the broker of ``folder``: a call a line on stdin, an answer a line on stdout, until stdin ends."""
    reader = asyncio.StreamReader(limit=LINE_BYTES)
    loop = asyncio.get_running_loop()
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    calls: set[asyncio.Task[None]] = set()
    async with await start_broker(await open_engine(folder)) as broker:
        _write_line({"ready": True})
        while line := await reader.readline():
            call = loop.create_task(_answer(broker, json.loads(line)))
            calls.add(call)
            call.add_done_callback(calls.discard)
    await asyncio.gather(*calls)
    pipe.close()


async def _answer(broker: Broker, call: Reply) -> None:
    answer: Reply = {"number": call["number"]}
    try:
        caller = Caller("local", call["agent"])
        answer["reply"] = await broker.call(caller, call["command"], call["arguments"])
    except Mq9Error as error:
        answer["error"] = error.as_dict()
    except Exception as error:  # a fault of the broker must reach the story, not hang it
        answer["error"] = {"code": "INTERNAL", "message": repr(error)}
    _write_line(answer)


def _write_line(answer: Reply) -> None:
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.flush()


# -- the agents' side of the pipe


class Gone(Exception):
    """The broker died before it answered: the change is stored whole, or not at all."""


class BrokerProcess:
    """A broker in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._pipe = process.stdin
        self._answers = process.stdout
        self._calls: dict[int, asyncio.Future[Reply]] = {}
        self._numbers = itertools.count(1)
        self.gone = False
        self._reader = asyncio.get_running_loop().create_task(self._read())

    @classmethod
    async def start(cls, folder: Path) -> BrokerProcess:
        """Start a broker on ``folder`` and wait until it is ready."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mq9_mcp.demo", str(folder)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
            start_new_session=True,  # an interrupt at the keyboard is for the demo alone
        )
        assert process.stdin is not None
        assert process.stdout is not None
        if not await process.stdout.readline():
            process.stdin.close()
            raise Gone(f"the broker did not start; its exit code is {await process.wait()}")
        return cls(process)

    async def call(self, agent: str, command: str, **arguments: Any) -> Reply:
        """One command as ``agent``; raises ``Mq9Error`` if it is refused, ``Gone`` if the broker died."""
        if self.gone:
            raise Gone
        number = next(self._numbers)
        line = {"number": number, "agent": agent, "command": command, "arguments": arguments}
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._calls[number] = answer
        self._pipe.write(json.dumps(line).encode() + b"\n")
        return await answer

    async def _read(self) -> None:
        while (line := await self._answers.readline()).endswith(b"\n"):
            answer = json.loads(line)
            call = self._calls.pop(answer["number"])
            if call.done():
                continue
            if "reply" in answer:
                call.set_result(answer["reply"])
            else:
                call.set_exception(_error(answer["error"]))
        self.gone = True
        for call in self._calls.values():
            if not call.done():
                call.set_exception(Gone())

    def kill(self) -> None:
        """``kill -9``: the process gets no chance to do anything."""
        self.gone = True
        with suppress(ProcessLookupError):
            self.process.kill()

    async def stop(self) -> int:
        """Let the broker stop in order; returns its exit code."""
        self.gone = True
        self._pipe.close()
        return await self.end()

    async def end(self) -> int:
        """Wait until the process is gone; returns its exit code."""
        await self._reader
        code = await self.process.wait()
        self._pipe.close()
        with suppress(BrokenPipeError, ConnectionResetError):
            await self._pipe.wait_closed()
        return code


def _error(shape: Reply) -> Mq9Error:
    assert shape["code"] in CODES
    return Mq9Error(shape["code"], shape["message"], shape.get("hint", ""), **shape.get("details", {}))


# -- the story


class Story:
    """What happens, what was promised, and whether it held."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.say = say
        self.brokers: list[BrokerProcess] = []
        self.failed: list[str] = []
        self.checked = 0
        self.ids: dict[int, int] = {}  # job: the id that its receipt told
        self.sent: list[int] = []  # jobs sent one by one before the kill, with a receipt or without
        self.held: list[Reply] = []  # leased before the kill, not settled
        self.settled: list[Reply] = []  # settled before the kill
        self.worked: Counter[int] = Counter()  # job: times that a worker finished it
        self.mended = False

    @property
    def broker(self) -> BrokerProcess:
        """The broker that lives now."""
        return self.brokers[-1]

    def check(self, promise: str, held: bool) -> None:
        """Note a promise, and whether it held."""
        self.checked += 1
        self.say(f"  {'ok     ' if held else 'BROKEN '} {promise}")
        if not held:
            self.failed.append(promise)

    async def call(self, agent: str, command: str, **arguments: Any) -> Reply:
        """One command as ``agent``."""
        return await self.broker.call(agent, command, **arguments)

    async def refused(self, code: str, agent: str, command: str, **arguments: Any) -> bool:
        """True if the command is refused with ``code``."""
        try:
            await self.call(agent, command, **arguments)
        except Mq9Error as error:
            return error.code == code
        return False

    async def ack(
        self, agent: str, messages: list[Reply], outcome: str = "ack", **fields: Any
    ) -> list[Reply]:
        """Settle leased messages; returns their results."""
        items = [{"lease": message["lease"], "outcome": outcome, **fields} for message in messages]
        reply = await self.call(agent, "mailbox_ack", items=items)
        results: list[Reply] = reply["results"]
        return results

    async def fetch(self, agent: str, **arguments: Any) -> list[Reply]:
        """Fetch from the queue; returns the messages."""
        reply = await self.call(agent, "mailbox_fetch", mailbox="jobs", **arguments)
        messages: list[Reply] = reply["messages"]
        return messages

    async def tell(self) -> None:
        """The whole story."""
        try:
            await self.begin()
            await self.take_work()
            await self.send_until_killed()
            await self.come_back()
            await self.finish_work()
            await self.bury_and_redrive()
            await self.audit()
            self.check("the broker stops in order", await self.broker.stop() == 0)
        finally:
            for broker in self.brokers:
                broker.kill()
                await broker.end()

    async def begin(self) -> None:
        """A queue, a batch, a retry."""
        self.brokers.append(await BrokerProcess.start(self.folder))
        self.say(f"A broker starts as process {self.broker.process.pid}, its data in {self.folder}.")
        await self.call("boss", "mailbox_create", address="jobs", settings={"max_attempts": 3})
        await self.fetch("auditor", group="audit")
        self.say("")
        self.say(f"boss sends {FIRST_JOBS} jobs in one call, the last five urgent or critical,")
        self.say("and sends job 1 again, as a client does that got no answer.")
        batch = [_job(number) for number in range(1, FIRST_JOBS + 1)]
        receipts = (await self.call("boss", "mailbox_send", messages=batch))["receipts"]
        self.ids.update((number, receipt["id"]) for number, receipt in enumerate(receipts, 1))
        [again] = (await self.call("boss", "mailbox_send", **_job(1)))["receipts"]
        told = again["duplicate"] and again["id"] == self.ids[1]
        self.check("a send repeated under its dedup_key stores nothing and gets the first receipt", told)
        other = {**_job(1), "text": "something else"}
        self.check(
            "the same key for other content is refused, not swallowed",
            await self.refused("DEDUP_CONFLICT", "boss", "mailbox_send", **other),
        )

    async def take_work(self) -> None:
        """Three workers compete; each takes five and finishes two."""
        self.say("")
        self.say(f"{', '.join(WORKERS)} compete for the queue. Each takes 5 jobs and finishes 2 of them.")
        taken = []
        for worker in WORKERS:
            messages = await self.fetch(worker, max=5, lease_s=60)
            taken += messages
            await self.finish(worker, messages[:2])
            self.settled += messages[:2]
            self.held += messages[2:]
        tiers = [TIERS.index(message["priority"]) for message in taken]
        self.check(
            "critical before urgent before normal, whoever asks",
            tiers == sorted(tiers) and tiers[:5] == [0, 0, 1, 1, 1],
        )
        ids = [message["id"] for message in taken]
        self.check("no job is in two hands", len(set(ids)) == len(ids) == 5 * len(WORKERS))

    async def send_until_killed(self) -> None:
        """Single sends from many callers at once, and a kill -9 while some of them are on their way."""
        self.say("")
        self.say(f"boss sends {JOBS - FIRST_JOBS} more jobs, one call each, {SENDERS} calls at a time.")
        # No fetch is on its way: its lease would be durable and its reply lost, and the job would come
        # back when that lease ends, at least 30 s after the restart. The demo has no time for that.
        numbers = iter(range(FIRST_JOBS + 1, JOBS + 1))
        loop = asyncio.get_running_loop()

        async def send() -> None:
            while not self.broker.gone and (number := next(numbers, None)):
                self.sent.append(number)
                await self.send_job(number)
                if len(self.ids) == FIRST_JOBS + KILL_AFTER:
                    loop.call_soon(self.broker.kill)  # right after this sender's next send

        ends = await asyncio.gather(*(send() for _ in range(SENDERS)), return_exceptions=True)
        for end in ends:
            if end is not None and not isinstance(end, Gone):
                raise end
        await self.broker.end()
        told = len(self.ids) - FIRST_JOBS
        self.say(f"kill -9 after {told} receipts: {len(self.sent) - told} sends got no answer,")
        self.say(f"{len(self.held)} jobs are in the workers' hands.")

    async def send_job(self, number: int) -> bool:
        """Send one job and note its id; True if it had been stored before."""
        [receipt] = (await self.call("boss", "mailbox_send", **_job(number)))["receipts"]
        self.ids[number] = receipt["id"]
        return bool(receipt["duplicate"])

    async def come_back(self) -> None:
        """Everything acknowledged is there; what was not is repeated; open leases still count."""
        started = time.monotonic()
        self.brokers.append(await BrokerProcess.start(self.folder))
        self.say(f"A new broker is ready after {time.monotonic() - started:.1f} s.")
        stored = await self.stored()
        self.check(
            f"all {len(self.ids)} acknowledged jobs are there, under their ids",
            all(stored.get(id) == number for number, id in self.ids.items()),
        )
        open_sends = [number for number in self.sent if number not in self.ids]
        duplicates = sum(await asyncio.gather(*map(self.send_job, open_sends)))
        self.say(f"boss repeats the {len(open_sends)} open sends, of which {duplicates} had been stored,")
        self.say("and sends the rest.")
        await asyncio.gather(*map(self.send_job, range(self.sent[-1] + 1, JOBS + 1)))
        stored = await self.stored()
        self.check(
            f"each of the {JOBS} jobs is stored exactly once",
            sorted(stored.values()) == list(range(1, JOBS + 1)),
        )
        again = await self.ack("anna", self.settled)
        self.check("an ack repeated after the restart succeeds", all(result["ok"] for result in again))
        results = await self.finish("anna", self.held)
        self.check(
            f"the {len(self.held)} leases from before the kill still settle",
            all(result["ok"] for result in results),
        )

    async def stored(self) -> dict[int, int]:
        """Every message of the queue: its id and its job."""
        found: dict[int, int] = {}
        cursor: Reply = {}
        while True:
            page = await self.call("boss", "mailbox_query", mailbox="jobs", limit=100, **cursor)
            found.update((message["id"], _number(message)) for message in page["messages"])
            if "next_cursor" not in page:
                return found
            cursor = {"cursor": page["next_cursor"]}

    async def finish_work(self) -> None:
        """The workers empty the queue; one worker vanishes, one job is poisoned."""
        self.say("")
        self.say(f"dora takes a job for one second and vanishes; job {POISONED} makes every worker fail.")
        [lost] = await self.fetch("dora", max=1, lease_s=1)
        attempts = await asyncio.gather(*(self.work(worker) for worker in WORKERS))
        shares = ", ".join(f"{worker} {len(done)}" for worker, done in zip(WORKERS, attempts, strict=True))
        self.say(f"The others empty the queue: {shares}.")
        seen = {id: attempt for done in attempts for id, attempt in done}
        self.check("dora's job came back when her lease ended", seen.get(lost["id"]) == 2)
        [late] = await self.ack("dora", [lost])
        code = late.get("error", {}).get("code")
        self.check("dora's late ack is refused: the job is somebody else's", code == "LEASE_LOST")

    async def work(self, worker: str) -> list[tuple[int, int]]:
        """Work until the queue is empty; returns the jobs finished, with the attempt of each."""
        finished = []
        while messages := await self.fetch(worker, max=8, wait_s=2):
            good = [message for message in messages if self.mended or _number(message) != POISONED]
            bad = [message for message in messages if message not in good]
            if bad:
                await self.ack(worker, bad, "nack", delay_s=0, reason="cannot be parsed")
            if good:
                await self.finish(worker, good)
            finished += [(message["id"], message["attempt"]) for message in good]
        return finished

    async def finish(self, worker: str, messages: list[Reply]) -> list[Reply]:
        """Ack jobs, and count those that the broker took as finished."""
        results = await self.ack(worker, messages)
        self.worked.update(
            _number(message) for message, result in zip(messages, results, strict=True) if result["ok"]
        )
        return results

    async def bury_and_redrive(self) -> None:
        """The poisoned job is a dead letter; mended, it goes back."""
        self.say("")
        letters = (await self.call("boss", "mailbox_query", mailbox="jobs.dead"))["messages"]
        told = [
            (_number(letter), letter["dead_letter"]["attempts"], letter["dead_letter"]["reason"])
            for letter in letters
        ]
        self.say(f"jobs.dead holds {len(letters)} letter: job, attempts, reason = {told}.")
        self.check(
            "after three failed attempts the poisoned job is a dead letter that says why",
            told == [(POISONED, 3, "cannot be parsed")],
        )
        self.mended = True
        redriven = (await self.call("boss", "mailbox_redrive", mailbox="jobs.dead"))["redriven"]
        self.say(f"The parser is mended; boss redrives {len(redriven)} letter.")
        await self.work("anna")
        self.check(
            f"each of the {JOBS} jobs was finished exactly once",
            self.worked == dict.fromkeys(range(1, JOBS + 1), 1),
        )

    async def audit(self) -> None:
        """The second group reads its own copy of everything, from the beginning."""
        self.say("")
        self.say("auditor has not read anything so far; the group audit has its own place in the queue.")
        seen: Counter[int] = Counter()
        while messages := await self.fetch("auditor", group="audit", max=100):
            seen.update(_number(message) for message in messages)
            await self.ack("auditor", messages)
        self.check(
            f"auditor sees each of the {JOBS} jobs once",
            seen == dict.fromkeys(range(1, JOBS + 1), 1),
        )
        counts = (await self.call("boss", "mailbox_get", address="jobs"))["mailbox"]["counts"]
        self.check("nothing is left unsettled", counts["unsettled"] == 0)


def _job(number: int) -> Reply:
    """The arguments of the send of one job."""
    priority = URGENT.get(number, "normal")
    return {"to": "jobs", "text": f"job {number}", "priority": priority, "dedup_key": f"job-{number}"}


def _number(message: Reply) -> int:
    return int(message["parts"][0]["text"].split()[1])


def _print(line: str) -> None:
    print(line, flush=True)


def run_demo(keep: Path | None = None, say: Callable[[str], None] = _print) -> int:
    """Tell the story; 0 if every promise held, else 1. ``keep``: where the data stays afterwards."""
    with tempfile.TemporaryDirectory(prefix="mq9-demo-") as passing:
        story = Story(keep or Path(passing), say)
        started = time.monotonic()
        asyncio.run(_tell(story))
        took = time.monotonic() - started
    say("")
    if story.failed:
        say(f"{len(story.failed)} of {story.checked} promises did not hold:")
        for promise in story.failed:
            say(f"  {promise}")
        return 1
    say(f"All {story.checked} promises held, in {took:.1f} s.")
    say("")
    say("What next:")
    for line in _next_steps(keep):
        say(f"  {line}")
    return 0


async def _tell(story: Story) -> None:
    try:
        async with asyncio.timeout(LONGEST_S):
            await story.tell()
    except TimeoutError:
        story.check(f"the story ends within {LONGEST_S} s", False)
    except (Gone, Mq9Error) as error:
        story.check(f"no call fails that should not: {error or 'the broker is gone'}", False)


def _next_steps(keep: Path | None) -> list[str]:
    folder = "DIR" if keep is None else str(keep)
    look = f"mq9 journal {folder}"
    first = f"mq9 demo --keep {folder}, then {look}" if keep is None else look
    return [
        f"{first}: every change of this story, line by line",
        "mq9 commands: what a broker can do; mq9 limits, mq9 errors: its bounds and refusals",
        "docs/tutorial/first-mailbox.md: your own first mailbox, in Python",
    ]


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
