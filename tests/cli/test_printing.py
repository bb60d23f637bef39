"""What is written: tables for people, plain text in pipes, and nothing that a terminal would obey."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from mq9_mcp.cli.printing import clean, cut, print_table
from mq9_mcp.cli.shown import age, cell, first_words, show, state_of
from mq9_mcp.domain.clock import wire_time

NASTY = "\x1b]0;owned\x07red \x1b[31m\x9b2J\u202eback\r\nnext\tcell\x00"
TERMINAL = "from mq9_mcp.cli.printing import print_table; print_table(['one'], [['\\x1b[31mred']])"


def message(**fields: object) -> dict[str, object]:
    return {
        "id": 7,
        "mailbox": "jobs",
        "from": "boss",
        "created_at": wire_time(0),
        "priority": "normal",
        "parts": [{"text": NASTY}],
        "tags": [],
        "session": "mq9.7",
        **fields,
    }


@pytest.mark.parametrize("lines", [False, True])
def test_what_a_terminal_would_obey_is_written_as_text(lines: bool) -> None:
    shown = clean(NASTY, lines=lines)
    assert all(char.isprintable() or (lines and char in "\n\t") for char in shown)
    assert "\\x1b[31m" in shown
    assert "\\u202e" in shown
    assert ("\n" in shown) is lines


def test_other_scripts_stay_as_they_are() -> None:
    for text in ("Grüße, мир, 世界", "👩\u200d🔧", "हिन्दी"):
        assert clean(text) == text


def test_a_lone_surrogate_can_be_written() -> None:
    assert clean("a\ud800").encode() == b"a\\ud800"


def test_long_text_is_cut_on_one_line() -> None:
    assert cut("a\nb  c", 10) == "a b c"
    assert cut("x" * 100, 10) == "xxxxxxx..."


def test_a_pipe_gets_aligned_text_without_colours(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("id", "text"), [("1", "a"), ("22", "\x1b[31mred")])
    assert capsys.readouterr().out == "ID  TEXT\n1   a\n22  \\x1b[31mred\n"


@pytest.mark.parametrize("colour", [{}, {"NO_COLOR": "1"}])
def test_a_terminal_gets_a_table(colour: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    ended = subprocess.run(
        [sys.executable, "-c", TERMINAL],
        env={**environment, "TERM": "xterm-256color", **colour},
        stdout=theirs,
        stderr=subprocess.PIPE,
        timeout=60,
    )
    os.close(theirs)
    shown = os.read(ours, 65_536).decode()
    os.close(ours)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert "─" in shown
    assert "\\x1b[31mred" in shown
    assert "\x1b[31m" not in shown


def test_messages_in_a_table_show_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    show({"messages": [message(deliveries=[{"group": "default", "state": "waiting", "attempt": 1}])]})
    show({"messages": [message(**{"lease": "1.7.x", "from": "\x1b[2Jboss", "attempt": 2})], "remaining": 3})
    out = capsys.readouterr().out
    assert all(char.isprintable() or char in "\n\t" for char in out)
    assert "  lease: 1.7.x\n" in out
    assert "attempt 2" in out
    assert out.endswith("3 more\n")


def test_every_shape_of_a_reply_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    refused = [{"code": "LEASE_LOST", "message": "gone"}, {"code": "X", "message": "no", "hint": "do so"}]
    show({"results": [{"id": 1, "ok": False, "error": error} for error in refused]})
    show({"agent": {"name": "anna", "card": {"skills": ["cats"]}}, "created": True})
    show({"receipts": []})
    show({"deleted": 2, "cancel_requested": []})
    out = capsys.readouterr().out
    assert "LEASE_LOST: gone\n" in out
    assert "X: no (hint: do so)\n" in out
    assert 'card.skills  ["cats"]' in out
    assert "created      yes" in out
    assert "no receipts" in out
    assert out.endswith("deleted  2\n")


def test_parts_of_every_kind_have_words() -> None:
    parts = [
        {"text": "hi"},
        {"data": {"n": 1}},
        {"raw": "aGk=", "mediaType": "image/png"},
        {"url": "https://x"},
    ]
    assert first_words({"parts": parts}) == 'hi {"n":1} <image/png 2 bytes> <https://x>'


def test_values_in_cells() -> None:
    assert [cell(one) for one in (None, True, 3, "x", [1, 2])] == ["", "yes", "3", "x", "[1,2]"]
    assert first_words({"parts": [{"data": {"code": "EUR", "sum": 7}}]}) == '{"code":"EUR","sum":7}'
    deliveries = [{"group": "default", "state": "acked"}, {"group": "audit", "state": "waiting"}]
    assert state_of({"deliveries": deliveries}) == "acked, audit: waiting"


def test_an_age_is_in_one_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)
    ages = {5: "5s", 59: "59s", 60: "1m", 7_200: "2h", 200_000: "2d", -120: "in 2m"}
    assert {ago: age(wire_time((1_000_000 - ago) * 1000)) for ago in ages} == ages


def test_names_are_written_as_text_too(capsys: pytest.CaptureFixture[str]) -> None:
    show({"things": [{NASTY: 1}], "thing": {NASTY: 1}, "one": 1})
    assert not set("\x1b\x9b\u202e") & set(capsys.readouterr().out)


def test_a_conversation_is_read_from_top_to_bottom(capsys: pytest.CaptureFixture[str]) -> None:
    at = wire_time(0)
    said = {"kind": "message", **message(parts=[{"text": "Which cat?"}])}
    asked = {
        "kind": "task",
        "task": "task-1",
        "number": 3,
        "at": at,
        "state": "input-required",
        "from": "bob",
    }
    head = {"id": "talk", "state": "open", "mailboxes": ["jobs"], "turns": 1}
    show({"session": head, "entries": [said, asked]})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["AGE", "FROM", "TO", "ID", "WHAT"]
    assert lines[1][1:] == ["boss", "jobs", "7", "Which", "cat?"]
    assert lines[2][1:] == ["bob", "task-1:", "input-required"]


def test_tasks_and_agents_have_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    task: dict[str, object] = {
        "id": "task-1",
        "state": "working",
        "mailbox": "jobs",
        "asker": "boss",
        "worker": "bob",
    }
    task |= {"updated_at": wire_time(0), "cancel_requested": True, "progress": {"done": 1, "total": 3}}
    show({"tasks": [task], "remaining": 0})
    assert "working (cancel asked)" in (line := capsys.readouterr().out.splitlines()[1])
    assert line.endswith("1/3")
    agent = {
        "name": "bob",
        "mailbox": "bob",
        "status": "busy",
        "card": {"description": "works", "skills": []},
    }
    show({"agents": [agent], "remaining": 0})
    assert capsys.readouterr().out.splitlines()[1].split() == ["bob", "busy", "works"]
    show({"tasks": [], "remaining": 0})
    assert capsys.readouterr().out == "no tasks\n"


def test_work_is_shown_with_all_that_its_worker_needs(capsys: pytest.CaptureFixture[str]) -> None:
    more = message(id=9, parts=[{"text": "in grams"}])
    asked = {"from": "bob", "created_at": wire_time(0), "parts": [{"text": "The dog too?"}]}
    work = message(
        lease="1.7.x",
        task="task-1",
        task_state="working",
        checkpoint={"weighed": ["Tom"]},
        question=asked,
        follow_ups=[more],
    )
    show({"messages": [work], "remaining": 0})
    out = capsys.readouterr().out
    assert "  task state: working\n" in out
    assert '  checkpoint: {"weighed":["Tom"]}\n' in out
    assert "  question:\n  ? The dog too?\n  | " in out
    assert "  follow-up 9, from boss, " in out
    assert out.endswith("  + in grams\n")
    show({"task": {"id": "task-1"}, "follow_ups": [more]})
    assert "  + in grams\n" in capsys.readouterr().out


def test_the_history_of_a_task_has_a_line_for_each_entry(capsys: pytest.CaptureFixture[str]) -> None:
    at = {"at": wire_time(0), "from": "bob"}
    history = [
        {"number": 1, "kind": "leased", "state": "working", **at},
        {"number": 2, "kind": "progress", "state": "working", "progress": {"done": 1, "total": 3}, **at},
        {"number": 3, "kind": "artifact", "state": "working", "artifact": {"artifact_id": "a"}, **at},
        {"number": 4, "kind": "checkpoint", "state": "working", "checkpoint": {"n": 1}, **at},
        {"number": 5, "kind": "status", "state": "canceled", "reason": "CANCELED", "parts": [], **at},
    ]
    show({"task": {"id": "task-1", "history": history}})
    name, heads, *lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert name == ["id", "task-1"]
    assert heads == ["ENTRY", "AGE", "STATE", "WHAT", "FROM", "WORDS"]
    assert [line[0] for line in lines] == ["1", "2", "3", "4", "5"]
    assert [line[5:] for line in lines] == [[], ["1/3"], ["a"], ['{"n":1}'], ["(CANCELED)"]]
