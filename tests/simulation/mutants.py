"""Planted mistakes: each must make the simulation fail, or it proves nothing.

``python -m tests.simulation.mutants`` copies the package, plants one mistake at a time as an edit of its
source, and runs the simulation over it. An edit whose text is not there exactly once is an error, so that
none of them rots. The copy without a mistake must pass the same seeds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "mq9_mcp"
STEPS = 150  # enough for every mistake under its seed
ENOUGH_S = 120


class Mutant(NamedTuple):
    """A mistake: in ``file``, ``old`` becomes ``new``."""

    seed: int  # one that finds it quickly
    says: str
    file: str
    old: str
    new: str


MUTANTS = (
    Mutant(
        2,
        "forgets priority",
        "domain/message.py",
        "TIER_OF[message.priority]",
        "TIER_OF['normal']",
    ),
    Mutant(
        3,
        "a lease ends a moment late: < for <=",
        "domain/due.py",
        "or delivery.until > plan.now:",
        "or delivery.until >= plan.now:",
    ),
    Mutant(
        4,
        "an ack reaches the other groups too",
        "domain/settle.py",
        "if plan.owed_elsewhere(mail, group):",
        "if False:",
    ),
    Mutant(
        8,
        "the dedup window is a millisecond too long",
        "domain/state.py",
        "now - key.at < mailbox.settings.dedup_window_s * 1000",
        "now - key.at <= mailbox.settings.dedup_window_s * 1000",
    ),
    Mutant(
        2,
        "expired mail is delivered",
        "domain/due.py",
        "    decide_expiry,\n",
        "",
    ),
    Mutant(
        2,
        "the fence does not rise",
        "domain/lease.py",
        "wire_time(until), plan.state.seq + 1, plan.ask.secret",
        "wire_time(until), 1, plan.ask.secret",
    ),
    Mutant(
        2,
        "a torn commit is accepted",
        "engine/embedded/frame.py",
        "if _crc(salt, first_seq, count, payload, previous) != crc:",
        "if False:",
    ),
    Mutant(
        1,
        "the fold skips an event",
        "engine/embedded/fold_events.py",
        "    row.attempts += event.counted\n",
        "",
    ),
    Mutant(
        1,
        "a nack counts no attempt",
        "domain/apply_delivery.py",
        "delivery.attempts += event.counted",
        "delivery.attempts += 0",
    ),
    Mutant(
        3,
        "a redriven letter stays where it was",
        "domain/dead.py",
        "event.letters.append(mail.id)",
        "pass",
    ),
    Mutant(
        2,
        "older copies of a state key stay",
        "domain/message.py",
        "if state_key is not None and visible_at <= plan.now:\n            _replace",
        "if False:\n            _replace",
    ),
    Mutant(
        14,
        "leases get no time after a restart",
        "domain/apply.py",
        "delivery.until < event.lease_floor",
        "False",
    ),
    Mutant(
        3,
        "the session of an ordered mailbox is never busy",
        "domain/ordered.py",
        "if line is None or line.busy or",
        "if line is None or",
    ),
    Mutant(
        18,
        "a commit that failed is not cut off",
        "engine/embedded/disk.py",
        "        os.ftruncate(fd, offset)\n",
        "",
    ),
    Mutant(
        1,
        "a failed write is called a success",
        "engine/embedded/journal.py",
        "            self._fail(batch, batch.error)\n            return\n",
        "            pass\n",
    ),
    Mutant(
        7,
        "an expired lease settles in an exactly-once mailbox",
        "domain/settle.py",
        "if group.mailbox.settings.exactly_once:",
        "if False:",
    ),
    Mutant(
        19,
        "an agent is missed a moment late",
        "domain/agent.py",
        "agent.away_at() <= plan.now:",
        "agent.away_at() < plan.now:",
    ),
    Mutant(
        9,
        "the fold forgets a change of status",
        "engine/embedded/agents.py",
        "event.status, event.load, event.note",
        "'available', event.load, event.note",
    ),
    Mutant(
        3,
        "work is given out again after cancel",
        "domain/task_update.py",
        "superseded = [task.work] if task.work not in mailbox.ending else []",
        "superseded = []",
    ),
    Mutant(
        2,
        "the asker is not told of a question",
        "domain/task_moves.py",
        "if not silent and (state in TERMINAL or state in INTERRUPTED):",
        "if not silent and state in TERMINAL:",
    ),
    Mutant(
        72,
        "a stale lease updates a task",
        "domain/task_update.py",
        "and task.work == message and compare_digest(delivery.secret, secret)",
        "and task.work == message",
    ),
    Mutant(
        1,
        "work is acked without a word about its outcome",
        "domain/task_lease.py",
        "    if mail.id in replied:\n",
        "    if mail.id:\n",
    ),
    Mutant(
        1,
        "expected_version is not looked at",
        "domain/task_update.py",
        "if command.expected_version is not None and",
        "if False and",
    ),
    Mutant(
        10,
        "a task times out a moment late",
        "domain/task_lease.py",
        "due_now(mailbox.timeouts, plan.now)",
        "due_now(mailbox.timeouts, plan.now - 1)",
    ),
    Mutant(
        9,
        "a task outlives its mailbox",
        "domain/task_moves.py",
        "    e.MailboxDropped: _dropped,\n",
        "",
    ),
    Mutant(
        1,
        "the fold counts the steps of an update as one",
        "engine/embedded/task_rows.py",
        "            number += 1\n",
        "            number = task.version\n",
    ),
    Mutant(
        1,
        "a closed session takes messages",
        "domain/session.py",
        '    if status(record, plan.now) == "closed":\n        raise Refused(',
        "    if False:\n        raise Refused(",
    ),
    Mutant(
        9,
        "a stranger joins a session",
        "domain/session.py",
        "if not answers and plan.caller.name not in record.senders and not _reads(plan, record):",
        "if False:",
    ),
    Mutant(
        1,
        "a task's notice is no turn of its session",
        "domain/task_moves.py",
        "    let_in(plan, sent, task)\n",
        "    sent.apart = True\n",
    ),
    Mutant(
        47,
        "the parked mailbox remembers when a delivered message expires",
        "domain/apply_park.py",
        "    parked.expiries = _without(parked.expiries, gone)\n",
        "",
    ),
    Mutant(
        11,
        "a delivered task stays where it was",
        "domain/apply_park.py",
        "    for name in event.tasks:\n        _move_task(state, parked, target, name)\n",
        "",
    ),
    Mutant(
        11,
        "work goes to who sent it",
        "domain/park.py",
        "caller = Caller(wish.principal, wish.agent)",
        "caller = Caller(wish.principal)",
    ),
    Mutant(
        11,
        "the tables leave a delivered message where it was parked",
        "engine/embedded/fold_park.py",
        '    tables.run("unpark_messages", [event.mailbox, min(event.ids), max(event.ids)])\n',
        "",
    ),
)


def plant(mutant: Mutant, folder: Path) -> None:
    """Make the edit in the copy of the package that lies in ``folder``."""
    path = folder / PACKAGE / mutant.file
    text = path.read_text(encoding="utf-8")
    found = text.count(mutant.old)
    assert found == 1, f"{mutant.says}: {mutant.old!r} is {found} times in {mutant.file}"
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")


def copy_package(folder: Path) -> None:
    """The package as it is, to be spoilt."""
    shutil.copytree(ROOT / PACKAGE, folder / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))


def simulate(folder: Path, seed: int, steps: int) -> tuple[int, str]:
    """Exit code and output of the simulation over the package in ``folder``."""
    command = [sys.executable, "-m", "tests.simulation.simulate", "--seed", str(seed), "--steps", str(steps)]
    paths = os.pathsep.join([str(folder), str(ROOT)])
    ended = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=ENOUGH_S,
    )
    return ended.returncode, ended.stdout + ended.stderr


def killed(mutant: Mutant, steps: int) -> str:
    """``seed= step=`` of the difference that gives the mistake away; empty if nothing did."""
    with tempfile.TemporaryDirectory(prefix="mq9-mutant-") as name:
        folder = Path(name)
        copy_package(folder)
        plant(mutant, folder)
        code, output = simulate(folder, mutant.seed, steps)
    found = [line for line in output.splitlines() if line.startswith("seed=")]
    if code == 0:
        return ""
    assert found, f"{mutant.says}: the simulation did not run:\n{output}"
    return found[0]


def sound(seed: int, steps: int) -> tuple[int, str]:
    """Exit code and output of the simulation over a copy without a mistake."""
    with tempfile.TemporaryDirectory(prefix="mq9-mutant-") as name:
        copy_package(Path(name))
        return simulate(Path(name), seed, steps)


def main(arguments: list[str] | None = None) -> int:
    """All mutants, or those whose description holds a word; the exit code is 1 if one survives."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="a word of the description")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps for each")
    parser.add_argument("--seeds", type=int, default=1, help="seeds to try until one kills")
    options = parser.parse_args(arguments)
    alive = 0
    for mutant in (one for one in MUTANTS if options.only in one.says):
        began = time.monotonic()
        tries = (mutant._replace(seed=mutant.seed + more) for more in range(options.seeds))
        where = next(filter(None, (killed(one, options.steps) for one in tries)), "")
        alive += not where
        print(f"{mutant.says}: {where or 'SURVIVES'} ({time.monotonic() - began:.1f} s)", flush=True)
    for seed in sorted({mutant.seed for mutant in MUTANTS}):
        code, output = sound(seed, options.steps)
        print(f"no mistake, seed {seed}: {'passes' if code == 0 else output}")
        alive += code != 0
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
