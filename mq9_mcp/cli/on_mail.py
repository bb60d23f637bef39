"""``mq9 on-mail ADDRESS -- COMMAND``: a doorbell. A command runs for every message and settles it.

No shell reads the command, and nothing of a message becomes an argument of it: what others write is
data, on standard input and in variables.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mq9_mcp.cli.connect import add_connection, add_json, async_client, wants_json
from mq9_mcp.cli.exits import FAILED, INTERRUPTED, OK
from mq9_mcp.cli.parser import Misuse, Parser, Run
from mq9_mcp.cli.printing import clean

if TYPE_CHECKING:
    from mq9_mcp.client import Consumer

REJECTED = 65  # EX_DATAERR: the message itself is at fault, no repetition mends it
TEXT_BYTES_MAX = 32_768  # of MQ9_TEXT: systems bound what the environment holds
KILL_S = 5.0  # between asking a command to end and ending it
CONCURRENCY_MAX = 256

# What a command finds in its environment, from the message that it runs for.
VARIABLES = {
    "MQ9_ID": "id",
    "MQ9_MAILBOX": "mailbox",
    "MQ9_FROM": "from",
    "MQ9_SESSION": "session",
    "MQ9_PRIORITY": "priority",
    "MQ9_ATTEMPT": "attempt",
    "MQ9_FENCE": "fence",
}
EPILOG = f"""\
The message is JSON on the command's standard input. In its environment are {", ".join(VARIABLES)}
and MQ9_TEXT, the first text part, at most {TEXT_BYTES_MAX:,} bytes of it.

The lease is renewed while the command runs. Then its exit code decides:
  0      the message is settled
  {REJECTED}     it goes to the dead letters at once (EX_DATAERR: no repetition would help)
  other  it is tried again later, and goes to the dead letters after the mailbox's max_attempts

SIGTERM or Ctrl-C: takes no more, waits for the commands that run. A second one ends them; their
messages go back."""


class CommandFailed(Exception):
    """The command did not end with 0: the message is to be tried again."""


def add(parser: Parser) -> Run:
    """The options of ``mq9 on-mail``."""
    parser.usage = f"{parser.prog} ADDRESS [OPTION...] -- COMMAND [ARGUMENT...]"
    parser.epilog = EPILOG
    parser.add_argument("mailbox", metavar="ADDRESS", help="the mailbox")
    parser.add_argument("--group", default="default", metavar="NAME", help="as this group (default)")
    parser.add_argument(
        "--concurrency", type=int, default=1, metavar="INTEGER", help="so many commands at a time (1)"
    )
    parser.add_argument(
        "--once", action="store_true", default=False, help="end after one message: 0 if it is settled, else 1"
    )
    add_connection(parser)
    add_json(parser)
    parser.set_defaults(takes_rest=True)
    return _run


def _run(chosen: argparse.Namespace) -> int:
    if not chosen.rest:
        raise Misuse("the command is missing", "mq9 on-mail ADDRESS -- COMMAND")
    if shutil.which(chosen.rest[0]) is None:
        raise Misuse(f"there is no command {chosen.rest[0]!r}", "name a program, not a line for a shell")
    if not 1 <= chosen.concurrency <= CONCURRENCY_MAX:
        raise Misuse(f"--concurrency: {chosen.concurrency}; accepted: 1 to {CONCURRENCY_MAX}", "leave it out")
    return asyncio.run(_serve(chosen))


async def _serve(chosen: argparse.Namespace) -> int:
    async with async_client(chosen) as client:
        known = {"MQ9_URL": client.url} | ({"MQ9_AGENT": client.agent} if client.agent else {})
        bell = Doorbell(chosen.rest, known, as_json=wants_json(chosen), once=chosen.once)
        consumer = await client.consume(
            chosen.mailbox,
            bell.ring,
            group=chosen.group,
            concurrency=1 if chosen.once else chosen.concurrency,
            error_handler=bell.failed,
        )
        bell.consumer = consumer
        with _stopped_by_signals(bell):
            await consumer.wait()
    if chosen.once and bell.interrupted is None:
        return OK if consumer.processed_count else FAILED
    return INTERRUPTED if bell.interrupted == signal.SIGINT else OK


class Doorbell:
    """Runs a command for each message."""

    def __init__(
        self, command: Sequence[str], variables: Mapping[str, str], *, as_json: bool, once: bool
    ) -> None:
        self.consumer: Consumer | None = None
        self.interrupted: int | None = None  # the signal that ended it
        self._command = command
        self._variables = variables
        self._as_json = as_json
        self._once = once

    async def ring(self, message: Mapping[str, Any]) -> None:
        """Run the command for ``message``; what is raised says how the message is settled."""
        from mq9_mcp.client import Reject

        try:
            code = await self._execute(message)
            self._say(message, code)
            if code == REJECTED:
                raise Reject("exit code 65", f"{self._command[0]} ended with {REJECTED}")
            if code:
                raise CommandFailed(f"exit code {code}" if code > 0 else f"ended by signal {-code}")
        finally:
            if self._once and self.consumer is not None:
                await self.consumer.stop()

    async def _execute(self, message: Mapping[str, Any]) -> int:
        """The command's exit code. If its message is taken away, it is ended."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            env={**os.environ, **self._variables, **variables_of(message)},
            start_new_session=True,  # so that Ctrl-C at the keyboard does not reach it
        )
        try:
            await process.communicate(json.dumps(message).encode() + b"\n")
        finally:
            if process.returncode is None:
                await _end(process)
        assert process.returncode is not None
        return process.returncode

    def _say(self, message: Mapping[str, Any], code: int) -> None:
        """One line for each message, on standard error: the output is the command's."""
        outcome = "ack" if code == 0 else "reject" if code == REJECTED else "nack"
        told = {"id": message["id"], "attempt": message["attempt"], "exit_code": code, "outcome": outcome}
        line = json.dumps(told) if self._as_json else " ".join(f"{name} {one}" for name, one in told.items())
        print(line, file=sys.stderr, flush=True)

    async def failed(self, message: Mapping[str, Any], error: Exception) -> None:
        """Say what happened to a message but for the command's own failure, which is said already."""
        if not isinstance(error, CommandFailed) and type(error).__name__ != "Reject":
            print(f"mq9: message {message['id']}: {clean(str(error))}", file=sys.stderr, flush=True)

    def stop(self, number: int) -> asyncio.Task[None]:
        """A signal: the first one drains, the second one ends what runs."""
        assert self.consumer is not None
        at_once = self.interrupted is not None
        self.interrupted = number
        return asyncio.get_running_loop().create_task(self.consumer.stop(timeout_s=0 if at_once else None))


def variables_of(message: Mapping[str, Any]) -> dict[str, str]:
    """What the command's environment says of a message; a NUL cannot be in it."""
    found = {name: str(message[field]) for name, field in VARIABLES.items() if field in message}
    text = next((part["text"] for part in message["parts"] if "text" in part), None)
    if text is not None:
        found["MQ9_TEXT"] = text.encode()[:TEXT_BYTES_MAX].decode(errors="ignore")
    return {name: value.replace("\0", "") for name, value in found.items()}


@contextlib.contextmanager
def _stopped_by_signals(bell: Doorbell) -> Iterator[None]:
    """SIGTERM and SIGINT stop the doorbell in order."""
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[None]] = []
    numbers = (signal.SIGTERM, signal.SIGINT)

    def stop(number: int) -> None:
        tasks.append(bell.stop(number))

    for number in numbers:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a command and what it started: first ask, then do not ask."""
    for number, wait_s in ((signal.SIGTERM, KILL_S), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await process.wait()
                return
