"""The commands of the broker and those for people, against a real server."""

from __future__ import annotations

import getpass
import io
import json
import sys
from pathlib import Path

import pytest

from mq9_mcp.cli import connect, exits, held
from tests.cli.person import Person

NASTY = "\x1b[31mred\x1b]0;owned\x07"


def test_a_message_goes_its_way(person: Person) -> None:
    box = person.mailbox("--settings", "max_attempts=3")
    assert "settings.max_attempts 3 " in " ".join(person.says("mailbox", "get", box).split())
    receipt = person.reply("mailbox", "send", box, "weigh the cat", "--tags", "cat")["receipts"][0]
    assert (receipt["mailbox"], receipt["duplicate"]) == (box, False)
    fetched = person.reply("mailbox", "fetch", box, "--max", "1")
    [message] = fetched["messages"]
    assert list(fetched) == ["messages", "remaining", "cancel_requested"]
    assert (message["id"], message["tags"]) == (receipt["id"], ["cat"])
    assert "acked" not in person.says("mailbox", "query", box)
    assert person.reply("mailbox", "ack", message["lease"])["results"][0]["ok"] is True
    assert "acked" in person.says("mailbox", "query", box)
    assert person.says("mailbox", "drop", box) == f"dropped  {box}\n"
    assert person.mq9("mailbox", "get", box) == exits.NOT_FOUND


def test_a_fetched_message_is_shown_with_its_lease(person: Person) -> None:
    box = person.mailbox()
    person.send(box, f"two\nlines {NASTY}", "--priority", "urgent")
    person.send(box, "later")
    shown = person.says("mailbox", "fetch", box, "--max", "1")
    assert "urgent, attempt 1" in shown
    assert "  | two\n  | lines \\x1b[31mred\\x1b]0;owned\\x07\n" in shown
    assert shown.endswith("1 more\n")
    lease = shown.split("  lease: ")[1].split()[0]
    assert "ack" in person.says("mailbox", "ack", lease)


def test_lists_come_as_tables(person: Person) -> None:
    box = person.mailbox()
    person.says("mailbox", "fetch", box, "--group", "audit")
    heads, row = person.says("mailbox", "list", box).splitlines()
    assert heads.split() == ["ADDRESS", "UNSETTLED", "DELAYED", "SETTLED", "GROUPS", "OWNER"]
    assert row.split() == [box, "0", "0", "0", "1", "local"]
    heads, row = person.says("group", "list", box).splitlines()
    assert (heads.split()[0], row.split()[0]) == ("NAME", "audit")
    assert person.says("group", "delete", box, "audit") == "deleted  audit\n"
    assert person.says("group", "list", box) == "no groups\n"
    assert person.says("mailbox", "fetch", box) == "no messages\n"


@pytest.mark.parametrize(
    ("line", "code", "error"),
    [
        ("mailbox get nowhere", exits.NOT_FOUND, "MAILBOX_NOT_FOUND"),
        ("mailbox ack 1.1.none", exits.CONFLICT, ""),
        ("mailbox send a --parts []", exits.USAGE, "INVALID_ARGUMENT"),
        ("mailbox list --token secret-word", exits.FORBIDDEN, "UNAUTHENTICATED"),
        ("mailbox list --url http://127.0.0.1:9 --timeout 0.2", exits.UNAVAILABLE, "CONNECTION_FAILED"),
        ("mailbox list --agent mq9.x", exits.USAGE, "INVALID_ARGUMENT"),
        ("mailbox list --url gopher://x", exits.USAGE, "INVALID_ARGUMENT"),
        ("reply 999999 hello", exits.NOT_FOUND, "MESSAGE_NOT_FOUND"),
    ],
)
def test_a_failure_ends_with_its_code(person: Person, line: str, code: int, error: str) -> None:
    assert person.mq9(*line.split()) == code
    if error:
        assert person.err.startswith(f"mq9: {error}: ")
        assert person.mq9(*line.split(), "--json") == code
        assert person.out == ""
        assert json.loads(person.err)["error"]["code"] == error
    else:
        assert "LEASE_LOST: " in person.out
    assert "secret-word" not in person.out + person.err


def test_a_message_that_is_too_large_ends_with_full(person: Person, tmp_path: Path) -> None:
    (tmp_path / "large.bin").write_bytes(b"x" * 2_000_000)
    assert person.mq9("mailbox", "send", person.mailbox(), "--raw", f"{tmp_path}/large.bin") == exits.FULL
    assert "MESSAGE_TOO_LARGE" in person.err


def test_without_a_name_one_is_the_login_name(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    box = person.mailbox()
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "Ann.O'Hara")
    person.says("mailbox", "send", box, "as ann")
    person.says("--agent", "bob", "mailbox", "send", box, "as bob")
    person.says("mailbox", "send", box, "as nobody", "--agent", "")
    monkeypatch.setenv("MQ9_AGENT", "cleo")
    person.says("mailbox", "send", box, "as cleo")
    person.says("mailbox", "send", box, "as nobody", "--agent", "")
    senders = [one["from"] for one in person.reply("mailbox", "query", box)["messages"]]
    assert senders == ["ann-o-hara", "bob", "principal:local", "cleo", "principal:local"]
    assert person.says("inbox", "--agent", "ann-o-hara") == "inbox of ann-o-hara: nothing waiting\n"


def test_a_login_name_that_cannot_be_an_address_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "???")
    assert connect.login_agent() is None


def test_an_inbox_is_read_and_answered(person: Person) -> None:
    ann, ben = person.agent(), person.agent()
    assert person.says("inbox", "--agent", ann) == f"inbox of {ann}: nothing waiting\n"
    person.says("inbox", "--take", "--agent", ann)  # its first fetch makes the mailbox
    first = person.send(ann, f"lunch? {NASTY}", "--agent", ben)
    second = person.send(ann, "dinner?", "--agent", ben)
    shown = person.says("inbox", "--agent", ann)
    assert shown.startswith(f"inbox of {ann}: 2 waiting\n")
    assert "lunch? \\x1b[31mred" in shown
    assert "\x1b" not in shown
    taken = person.says("inbox", "--take", "--agent", ann)
    assert f"answer: mq9 reply {first} TEXT" in taken
    assert person.says("inbox", "--agent", ann).startswith(f"inbox of {ann}: 1 waiting\n")
    answered = person.reply("reply", str(first), "at", "noon", "--agent", ann)
    assert answered["results"][0]["outcome"] == "ack"
    assert answered["receipts"][0]["mailbox"] == ben
    free = person.reply("reply", str(second), "--agent", ann, "--", "--yes")
    assert list(free) == ["receipts"]
    texts = [one["parts"][0]["text"] for one in person.reply("inbox", "--agent", ben)["messages"]]
    assert texts == ["at noon", "--yes"]
    assert person.says("inbox", "--agent", ann).startswith(f"inbox of {ann}: 1 waiting\n")


def test_an_answer_comes_from_standard_input(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, ben = person.agent(), person.agent()
    person.says("inbox", "--take", "--agent", ann)
    id = person.send(ann, "well?", "--agent", ben)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"very well\n")))
    person.says("reply", str(id), "--agent", ann)
    assert "very well" in person.says("inbox", "--agent", ben)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b" \n")))
    assert person.mq9("reply", str(id), "--agent", ann) == exits.USAGE


def test_an_answer_whose_lease_is_lost_is_not_sent_and_can_be_sent_without(person: Person) -> None:
    ann, ben = person.agent(), person.agent()
    person.says("inbox", "--take", "--agent", ann)
    id = person.send(ann, "well?", "--agent", ben)
    lease = person.reply("inbox", "--take", "--agent", ann)["messages"][0]["lease"]
    person.says("mailbox", "ack", lease, "--outcome", "release")
    again = person.reply("mailbox", "fetch", "--agent", ann)["messages"][0]["lease"]
    assert person.mq9("reply", str(id), "late", "--agent", ann) == exits.CONFLICT
    assert f"hint: answer without it: mq9 reply {id} TEXT" in person.err
    assert person.says("inbox", "--agent", ben).endswith("nothing waiting\n")
    person.says("reply", str(id), "late", "--agent", ann)
    person.says("reply", str(id), "and done", "--lease", again, "--agent", ann)
    assert len(person.reply("inbox", "--agent", ben)["messages"]) == 2


def test_held_leases_are_for_their_owner_only(person: Person) -> None:
    ann = person.agent()
    person.says("inbox", "--take", "--agent", ann)
    person.send(ann, "a secret lease", "--agent", ann)
    person.says("inbox", "--take", "--agent", ann)
    assert held.held_file().stat().st_mode & 0o077 == 0
    assert "a secret lease" not in held.held_file().read_text()
    held.held_file().write_text("not JSON")
    assert held.lease_of("http://x", 1) is None


def test_who_takes_work_is_told_how_to_end_it(person: Person) -> None:
    ann, boss = person.agent(), person.agent()
    person.says("inbox", "--take", "--agent", ann)  # its first fetch makes the mailbox
    person.says("mailbox", "send", ann, "weigh the cat", "--task", "true", "--agent", boss)
    taken = person.says("inbox", "--take", "--agent", ann)
    assert "  task state: working\n" in taken
    [done] = [line.removeprefix("done:   mq9 ") for line in taken.splitlines() if line.startswith("done:")]
    assert "completed" in person.says(*done.split(), "--agent", ann)
    notice = person.says("inbox", "--take", "--agent", boss)
    assert "  task state: completed\n" in notice
    [done] = [line.removeprefix("done:   mq9 ") for line in notice.splitlines() if line.startswith("done:")]
    assert "ack" in person.says(*done.split(), "--agent", boss)


def test_peeking_takes_nothing(person: Person) -> None:
    box = person.mailbox()
    person.send(box, f"look\nhere {NASTY}")
    for _ in range(2):
        shown = person.says("mailbox", "peek", box)
        assert "  | look\n  | here \\x1b[31mred" in shown
        assert "lease" not in shown
    assert person.reply("mailbox", "peek", box)["messages"][0]["deliveries"] == []
    assert person.says("mailbox", "peek", person.mailbox()) == "no messages\n"


def test_dead_letters_are_listed_and_go_back(person: Person) -> None:
    box = person.mailbox()
    assert person.says("dead", "list", box) == person.says("dead", "redrive", box) == "no dead letters\n"
    assert person.reply("dead", "redrive", box) == {"redriven": [], "skipped": [], "remaining": 0}
    id = person.send(box, f"broken {NASTY}")
    person.send(box, "broken too")
    leases = [one["lease"] for one in person.reply("mailbox", "fetch", box)["messages"]]
    person.says("mailbox", "ack", *leases, "--outcome", "reject", "--reason", "no cat")
    assert f"{box}.dead" in person.says("dead", "list")
    heads, first, _ = person.says("dead", "list", box).splitlines()
    assert heads.split()[:3] == ["LETTER", "DIED", "MESSAGE"]
    assert first.split()[2] == str(id)
    assert "no cat" in first
    assert "\x1b" not in first
    letters = person.reply("dead", "list", box)["messages"]
    person.says("dead", "redrive", box, str(letters[0]["id"]))
    assert len(person.reply("dead", "redrive", f"{box}.dead")["redriven"]) == 1
    assert person.says("dead", "list", box) == "no dead letters\n"
    assert len(person.reply("mailbox", "fetch", box)["messages"]) == 2
    assert person.mq9("dead", "redrive", box, "999999") == exits.NOT_FOUND


def test_bytes_and_large_numbers_survive(person: Person, tmp_path: Path) -> None:
    box = person.mailbox()
    (tmp_path / "cat.png").write_bytes(bytes(range(256)))
    number = 12345678901234567890123456789
    person.says(
        "mailbox",
        "send",
        box,
        "--parts",
        json.dumps([{"data": {"n": number}}]),
        "--raw",
        f"{tmp_path}/cat.png",
    )
    data, raw = person.reply("mailbox", "peek", box)["messages"][0]["parts"]
    assert data == {"data": {"n": number}}
    assert (raw["mediaType"], raw["filename"]) == ("image/png", "cat.png")
    assert "<cat.png image/png 256 bytes>" in person.says("mailbox", "peek", box)
