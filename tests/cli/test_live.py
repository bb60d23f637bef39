"""What lives long, in processes of its own: ``on-mail`` and ``tail``, their signals and their ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mq9_mcp.cli import exits, main
from mq9_mcp.cli.on_mail import TEXT_BYTES_MAX, variables_of
from tests.cli.person import Person
from tests.cli.processes import running

NASTY = "\x1b[31mred"
# Writes what it was given to the file that its first argument names, then ends as the second says.
NOTE = """
import json, os, sys
told = {name: value for name, value in os.environ.items() if name.startswith("MQ9_")}
with open(sys.argv[1], "w") as file:
    json.dump({"stdin": json.load(sys.stdin), "environ": told}, file)
sys.exit(int(sys.argv[2]))
"""
# Says that it has begun, then waits until somebody has opened the named pipe of its message.
WAIT = """
import os, sys
os.write(1, b"begun\\n")
os.close(os.open(sys.argv[1] + os.environ["MQ9_ID"], os.O_RDONLY))
"""


def states(person: Person, box: str) -> list[str]:
    """Where the messages of a mailbox stand."""
    messages = person.reply("mailbox", "query", box)["messages"]
    return [one["deliveries"][0]["state"] for one in messages]


def test_a_command_gets_the_message_and_settles_it(person: Person, tmp_path: Path) -> None:
    box = person.mailbox()
    id = person.send(box, "weigh; $(rm -rf .) the cat", "--agent", "boss")
    note = tmp_path / "note.json"
    command = [sys.executable, "-c", NOTE, str(note), "0"]
    with running("on-mail", box, "--once", "--agent", "anna", "--", *command) as doorbell:
        assert doorbell.wait() == exits.OK
        assert doorbell.next_error() == f"id {id} attempt 1 exit_code 0 outcome ack"
    told = json.loads(note.read_text())
    assert told["stdin"]["parts"] == [{"text": "weigh; $(rm -rf .) the cat"}]
    assert told["stdin"]["lease"]
    environ = told["environ"]
    assert environ["MQ9_TEXT"] == "weigh; $(rm -rf .) the cat"
    assert (environ["MQ9_ID"], environ["MQ9_FROM"], environ["MQ9_ATTEMPT"]) == (str(id), "boss", "1")
    assert (environ["MQ9_MAILBOX"], environ["MQ9_AGENT"]) == (box, "anna")
    assert environ["MQ9_FENCE"] == str(told["stdin"]["fence"])
    assert states(person, box) == ["acked"]


def gate(folder: Path, id: int) -> Path:
    """The named pipe that the command of a message waits at."""
    path = folder / str(id)
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    ("code", "outcome", "state"), [(1, "nack", "backoff"), (65, "reject", "dead"), (75, "nack", "backoff")]
)
def test_an_exit_code_decides(person: Person, tmp_path: Path, code: int, outcome: str, state: str) -> None:
    box = person.mailbox("--settings", "backoff_first_s=300")
    id = person.send(box, "weigh the cat")
    command = [sys.executable, "-c", NOTE, str(tmp_path / "note"), str(code)]
    with running("on-mail", box, "--once", "--json", "--", *command) as doorbell:
        assert doorbell.wait() == exits.FAILED
        told = json.loads(doorbell.next_error())
        assert doorbell.err.get() is None  # nothing else is said
    assert told == {"id": id, "attempt": 1, "exit_code": code, "outcome": outcome}
    assert states(person, box) == [state]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, exits.OK), (signal.SIGINT, exits.INTERRUPTED)])
def test_a_signal_waits_for_the_command_that_runs(
    person: Person, tmp_path: Path, number: int, code: int
) -> None:
    box = person.mailbox()
    first, second = person.send(box, "first"), person.send(box, "second")
    opened = gate(tmp_path, first)
    with running("on-mail", box, "--", sys.executable, "-c", WAIT, f"{tmp_path}/") as doorbell:
        assert doorbell.next_line() == "begun"
        doorbell.send_signal(number)
        opened.write_text("")
        assert doorbell.wait() == code
        assert doorbell.next_error() == f"id {first} attempt 1 exit_code 0 outcome ack"
    assert states(person, box) == ["acked", "waiting"]
    assert [one["id"] for one in person.reply("mailbox", "fetch", box)["messages"]] == [second]


def test_a_second_signal_ends_the_command_and_gives_its_message_back(person: Person, tmp_path: Path) -> None:
    box = person.mailbox()
    gate(tmp_path, person.send(box, "first"))
    with running("on-mail", box, "--", sys.executable, "-c", WAIT, f"{tmp_path}/") as doorbell:
        assert doorbell.next_line() == "begun"
        doorbell.send_signal(signal.SIGTERM)
        while doorbell.process.poll() is None:
            doorbell.send_signal(signal.SIGTERM)
            try:
                doorbell.process.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                continue
        assert doorbell.wait() == exits.OK
    [message] = person.reply("mailbox", "fetch", box)["messages"]
    assert message["attempt"] == 1


def test_several_commands_run_at_a_time(person: Person, tmp_path: Path) -> None:
    box = person.mailbox()
    ids = [person.send(box, str(number)) for number in range(2)]
    gates = [gate(tmp_path, id) for id in ids]
    words = ("on-mail", box, "--concurrency", "2", "--", sys.executable, "-c", WAIT, f"{tmp_path}/")
    with running(*words) as doorbell:
        assert [doorbell.next_line(), doorbell.next_line()] == ["begun", "begun"]
        for one in gates:
            one.write_text("")
        assert "outcome ack" in doorbell.next_error()
        assert "outcome ack" in doorbell.next_error()
        doorbell.send_signal(signal.SIGTERM)
        assert doorbell.wait() == exits.OK
    assert states(person, box) == ["acked", "acked"]


def test_a_command_need_not_read_the_message(person: Person) -> None:
    box = person.mailbox()
    person.send(box, "x" * 100_000)
    with running("on-mail", box, "--once", "--", "true") as doorbell:
        assert doorbell.wait() == exits.OK
    assert states(person, box) == ["acked"]


def test_a_mailbox_that_is_not_there_ends_the_doorbell(person: Person) -> None:
    assert person.mq9("on-mail", "nowhere", "--once", "--", "true") == exits.NOT_FOUND


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("on-mail jobs", "the command is missing"),
        ("on-mail jobs --", "the command is missing"),
        ("on-mail jobs -- no-such-program", "there is no command 'no-such-program'"),
        ("on-mail jobs --concurrency 0 -- true", "accepted: 1 to 256"),
    ],
)
def test_a_doorbell_that_makes_no_sense_is_refused(
    line: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == exits.USAGE
    assert says in capsys.readouterr().err


def test_the_environment_of_a_command_is_bounded() -> None:
    message = {"id": 1, "from": "a\0b", "parts": [{"data": 1}, {"text": "é" * TEXT_BYTES_MAX + "\0"}]}
    found = variables_of(message)
    assert found["MQ9_TEXT"] == "é" * (TEXT_BYTES_MAX // 2)
    assert found["MQ9_FROM"] == "ab"


def test_tail_follows_without_taking(person: Person) -> None:
    box = person.mailbox()
    person.send(box, "not shown")
    before = person.send(box, f"before {NASTY}", "--agent", "boss")
    with running("mailbox", "tail", box, "--last", "1") as tail:
        line = tail.next_line()
        assert line.startswith(f"{before} ")
        assert line.endswith(" boss: before \\x1b[31mred")
        ids = [person.send(box, f"after {number}") for number in range(3)]
        assert [int(tail.next_line().split()[0]) for _ in ids] == ids
        tail.send_signal(signal.SIGINT)
        assert tail.wait() == exits.INTERRUPTED
    assert len(person.reply("mailbox", "fetch", box)["messages"]) == 5


def test_tail_ends_with_its_reader(person: Person) -> None:
    box = person.mailbox()
    id = person.send(box, "one line is enough")
    command = [sys.executable, "-m", "mq9_mcp.cli", "mailbox", "tail", box]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        assert tail.stdout.readline().startswith(f"{id} ")
        tail.stdout.close()
        assert tail.wait(timeout=60) == exits.OK


def test_tail_for_programs(person: Person) -> None:
    box = person.mailbox()
    with running("mailbox", "tail", box, "--json") as tail:
        id = person.send(box, NASTY)
        message = json.loads(tail.next_line())
    assert (message["id"], message["parts"]) == (id, [{"text": NASTY}])
    assert person.mq9("mailbox", "tail", "nowhere") == exits.NOT_FOUND
