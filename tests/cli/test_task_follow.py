"""``mq9 task follow``: a task's life on lines, and how it ended as the exit code."""

from __future__ import annotations

import json
import signal
from typing import Any

from mq9_mcp.cli import exits
from tests.cli.person import Person
from tests.cli.processes import running

NASTY = "\x1b[31mred"


def opened(person: Person) -> tuple[str, Any]:
    """A task that somebody works on, and its lease."""
    box = person.mailbox()
    task = person.reply("mailbox", "send", box, "weigh", "--task", "true")["receipts"][0]["task"]
    return task, person.reply("mailbox", "fetch", box)["messages"][0]["lease"]


def test_a_task_is_followed_until_it_is_completed(person: Person) -> None:
    task, lease = opened(person)
    with running("task", "follow", task) as follow:
        assert " working worker " in follow.next_line()
        person.says("task", "update", task, lease, "--progress", '{"done": 1, "total": 3, "note": "Tom"}')
        number, _, state, kind, _, progress, note = follow.next_line().split()
        assert (number, state, kind, progress, note) == ("3", "working", "progress", "1/3", "Tom")
        piece = json.dumps([{"name": "weights", "text": NASTY}])
        person.says("task", "update", task, lease, "--artifacts", piece, "--checkpoint", '{"at": 1}')
        assert follow.next_line().endswith(": weights \\x1b[31mred")
        assert follow.next_line().endswith(': {"at":1}')
        person.says("task", "update", task, lease, "--state", "completed", "--message", "done")
        assert follow.next_line().endswith(": done")
        assert follow.wait() == exits.OK
    assert " 1 artifacts" in person.says("task", "follow", task)
    assert person.says("task", "follow", task, "--after", "6") == ""
    first = json.loads(person.says("task", "follow", task, "--json", "--after", "0").splitlines()[0])
    assert first["entry"]["kind"] == "submitted"


def test_a_task_that_does_not_end_well_ends_the_command_so(person: Person) -> None:
    task, _ = opened(person)
    with running("task", "follow", task, "--json") as follow:
        assert json.loads(follow.next_line())["task"]["id"] == task
        follow.send_signal(signal.SIGINT)
        assert follow.wait() == exits.INTERRUPTED
    box = person.mailbox()
    task = person.reply("mailbox", "send", box, "weigh", "--task", "true")["receipts"][0]["task"]
    person.says("task", "cancel", task, "--reason", "rain")
    assert person.mq9("task", "follow", task, "--after", "1") == exits.FAILED
    assert person.out.rstrip().endswith("(CANCELED)")
    assert person.mq9("task", "follow", task, "--after", "2") == exits.FAILED
    assert person.mq9("task", "follow", "task-none") == exits.NOT_FOUND
