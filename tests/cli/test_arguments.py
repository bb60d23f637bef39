"""From the command line to the arguments of a call: every command of the catalogue, words, options, files."""

from __future__ import annotations

import argparse
import base64
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.broker.catalogue import CATALOGUE
from mq9_mcp.cli import command, main
from mq9_mcp.cli.flags import flags_of
from mq9_mcp.cli.parser import Misuse, split
from mq9_mcp.cli.start import make_parser, nouns


def parsed(*line: str) -> argparse.Namespace:
    words, rest = split(line)
    chosen = make_parser().parse_args(words)
    chosen.rest = rest
    return chosen


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a command line would call the broker with."""
    called: list[dict[str, Any]] = []

    def note(chosen: argparse.Namespace, entry: Any, flags: Any, names: Any) -> int:
        called.append(command.arguments_of(chosen, entry, flags, names))
        return 0

    monkeypatch.setattr(command, "_run", note)

    def read(*line: str) -> dict[str, Any]:
        chosen = parsed(*line)
        assert chosen.run(chosen) == 0
        return called[-1]

    return read


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_command_has_its_noun_and_verb(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    noun, verb = command.words_of(name)
    assert (noun, verb) in [one.words for one in nouns()[noun]]
    assert main([noun, verb, "--help"]) == 0
    shown = capsys.readouterr().out
    for flag in flags_of(CATALOGUE[name].arguments).values():
        assert flag.option in shown
        assert " ".join(flag.help.split("(")[0].split()) in " ".join(shown.split())


def test_every_verb_can_be_filled(capsys: pytest.CaptureFixture[str]) -> None:
    for verbs in nouns().values():
        for verb in verbs:
            assert main([*verb.words, "--help"]) == 0
            assert "--json" in capsys.readouterr().out or verb.words in (("demo",), ("serve",))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mailbox send bob hello", {"to": "bob", "text": "hello"}),
        (
            "mailbox send --json bob --priority urgent hello",
            {"to": "bob", "text": "hello", "priority": "urgent"},
        ),
        ("mailbox send --to a b --text hi", {"to": ["a", "b"], "text": "hi"}),
        ("mailbox send --to=bob hi", {"to": "bob", "text": "hi"}),
        ("mailbox send bob --tags x y --text hi", {"to": "bob", "text": "hi", "tags": ["x", "y"]}),
        ("mailbox send bob --dedup_key k hi", {"to": "bob", "text": "hi", "dedup_key": "k"}),
        ("mailbox send bob -- --hi", {"to": "bob", "text": "--hi"}),
        ("mailbox send bob hi --delay-s 1.5", {"to": "bob", "text": "hi", "delay_s": 1.5}),
        (
            "mailbox send bob hi --metadata a=1 b=x",
            {"to": "bob", "text": "hi", "metadata": {"a": 1, "b": "x"}},
        ),
        ("mailbox fetch", {}),
        ("mailbox fetch jobs more --wait-s 5", {"mailbox": ["jobs", "more"], "wait_s": 5.0}),
        ("mailbox fetch jobs --deliver 17", {"mailbox": "jobs", "deliver": 17}),
        ("mailbox fetch jobs --deliver latest", {"mailbox": "jobs", "deliver": "latest"}),
        ("mailbox send bob hi --task true", {"to": "bob", "text": "hi", "task": True}),
        ("mailbox send bob hi --task task-1f", {"to": "bob", "text": "hi", "task": "task-1f"}),
        (
            'mailbox send bob hi --task {"timeout_s":60}',
            {"to": "bob", "text": "hi", "task": {"timeout_s": 60}},
        ),
        ("mailbox send bob hi --task", {"to": "bob", "text": "hi", "task": True}),
        ("mailbox send --task --to bob --text hi", {"to": "bob", "text": "hi", "task": True}),
        (
            "mailbox send bob hi --task timeout_s=60",
            {"to": "bob", "text": "hi", "task": {"timeout_s": 60}},
        ),
        ("agent discover cats --limit 3", {"text": "cats", "limit": 3}),
        ("task get task-1f --wait-s 5", {"task": "task-1f", "wait_s": 5.0}),
        (
            'task update --task t --lease l --checkpoint {"at":1}',
            {"task": "t", "lease": "l", "checkpoint": {"at": 1}},
        ),
        (
            "task update --task t --lease l --checkpoint half --message so",
            {"task": "t", "lease": "l", "checkpoint": "half", "message": "so"},
        ),
        ("mailbox ack 1.2.x", {"items": [{"lease": "1.2.x"}]}),
        (
            "mailbox ack a b --outcome nack --delay-s 5",
            {"items": [{"lease": one, "outcome": "nack", "delay_s": 5.0} for one in "ab"]},
        ),
        ('mailbox ack --items [{"lease":"a"}]', {"items": [{"lease": "a"}]}),
        ("mailbox query jobs --from boss --ids 1 2", {"mailbox": "jobs", "from": "boss", "ids": [1, 2]}),
        ("mailbox delete jobs 1 2", {"mailbox": "jobs", "ids": [1, 2]}),
        ("mailbox delete 1 2", {"ids": [1, 2]}),
        ("mailbox delete 1", {"ids": [1]}),
        ("mailbox redrive jobs.dead", {"mailbox": "jobs.dead"}),
        ("mailbox redrive jobs.dead 4 5", {"mailbox": "jobs.dead", "ids": [4, 5]}),
        ('mailbox create jobs --settings {"ttl_s":60}', {"address": "jobs", "settings": {"ttl_s": 60}}),
        ("mailbox update jobs --settings ttl_s=60", {"address": "jobs", "settings": {"ttl_s": 60}}),
        ("group reset jobs audit latest", {"mailbox": "jobs", "group": "audit", "to": "latest"}),
        ("group reset audit 17", {"group": "audit", "to": 17}),
        ("group delete --mailbox jobs audit", {"mailbox": "jobs", "group": "audit"}),
    ],
)
def test_a_line_becomes_the_arguments(arguments: Any, line: str, expected: dict[str, Any]) -> None:
    assert arguments(*line.split(" ")) == expected


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_example_can_be_written_as_options(arguments: Any, name: str) -> None:
    for example in CATALOGUE[name].examples:
        line = list(command.words_of(name))
        for argument, value in example.arguments.items():
            line += [f"--{argument}", value if isinstance(value, str) else json.dumps(value)]
        assert arguments(*line) == example.arguments


def test_text_and_json_come_from_standard_input(arguments: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("grüße\n".encode())))
    assert arguments("mailbox", "send", "bob", "-")["text"] == "grüße\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'[{"data": 12345678901234567890123}]')))
    assert arguments("mailbox", "send", "bob", "--parts", "-")["parts"] == [{"data": 12345678901234567890123}]


def test_files_become_parts(arguments: Any, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    (tmp_path / "b.tar.gz").write_bytes(b"\x1f\x8b")
    (tmp_path / "parts.json").write_text('[{"data": 1}]')
    found = arguments(
        "mailbox", "send", "bob", "look", "--raw", f"{tmp_path}/a.png", "--raw", f"{tmp_path}/b.tar.gz"
    )
    assert found["parts"] == [
        {"text": "look"},
        {"raw": base64.b64encode(b"\x89PNG").decode(), "mediaType": "image/png", "filename": "a.png"},
        {"raw": "H4s=", "mediaType": "application/octet-stream", "filename": "b.tar.gz"},
    ]
    found = arguments(
        "mailbox", "send", "bob", "--parts", f"@{tmp_path}/parts.json", "--raw", f"{tmp_path}/a.png"
    )
    assert [*map(list, found["parts"])] == [["data"], ["raw", "mediaType", "filename"]]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("mailbox paint", "'paint'"),
        ("paint", "'paint'"),
        ("", "a command is missing"),
        ("mailbox", "a command is missing"),
        ("mailbox send a b c", "unexpected word 'c'; accepted: TO TEXT"),
        ("mailbox send a hi --priority low", "choose from"),
        ("mailbox send a hi --colour red", "there is no option '--colour'"),
        ("inbox now", "unexpected word 'now'"),
        ("mailbox send a --parts nonsense", "--parts: not JSON"),
        ("mailbox send a --parts @none.json", "--parts: none.json: No such file"),
        ("mailbox send a --raw none.png", "--raw: none.png: No such file"),
        ("mailbox create a --settings ttl", "neither JSON nor name=value"),
        ("mailbox create a --settings ttl_s=x", "settings.ttl_s: 'x'"),
        ("mailbox query a --limit many", "--limit: 'many' is no integer"),
        ("mailbox query a --limit 1000", "limit: 1000"),
        ("mailbox delete a b", "--ids: 'b' is no integer"),
        ("mailbox ack --outcome nack", "of which lease?"),
        ("mailbox ack", "LEASE: missing"),
        ("group reset audit", "to: missing"),
        ("inbox -- x", "unexpected word 'x'"),
        ("limits x", "x"),
    ],
)
def test_a_line_that_makes_no_sense_is_refused_before_any_call(
    line: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split(" ") if line else []) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert "mq9: INVALID_ARGUMENT: " in err


@pytest.mark.parametrize("option", ["--tokn=hush-hush", "--tokn hush-hush"])
@pytest.mark.parametrize("line", ["inbox", "mailbox send bob", "mailbox tail jobs"])
def test_a_mistyped_option_is_named_without_what_follows(
    line: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*line.split(), *option.split()]) == 2
    err = capsys.readouterr().err
    assert "there is no option '--tokn'; did you mean --token?" in err
    assert f"usage: mq9 {line.split()[0]}" in err
    assert "hush" not in err


def test_a_file_too_large_for_any_call_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(20 * 1024 * 1024)
    assert main(["mailbox", "send", "bob", "--raw", str(tmp_path / "large")]) == 7


def test_what_follows_two_dashes_is_never_an_option() -> None:
    assert split(["a", "--b_c=d_e", "--", "--x_y", "--"]) == (["a", "--b-c=d_e"], ["--x_y", "--"])


def test_misuse_is_a_refusal() -> None:
    assert Misuse("m", "h").as_dict() == {"code": "INVALID_ARGUMENT", "message": "m", "hint": "h"}
