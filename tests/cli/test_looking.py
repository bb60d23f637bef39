"""``mq9`` beside a broker: what it prints and refuses, its exit codes; once as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mq9_mcp import __version__, cli
from mq9_mcp.broker.catalogue import CATALOGUE
from mq9_mcp.cli import exits
from mq9_mcp.demo import run
from mq9_mcp.domain.errors import CODES
from mq9_mcp.domain.limits import LIMITS
from mq9_mcp.engine.embedded.segments import JOURNAL_FOLDER, segment_path
from tests.support import opened

Output = pytest.CaptureFixture[str]


def test_the_version(capsys: Output) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"mq9 {__version__}\n"


def test_without_a_command_it_shows_them_and_fails(capsys: Output) -> None:
    assert cli.main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert all(name in err for name in ("demo", "commands", "limits", "errors", "journal", "doctor"))


@pytest.mark.parametrize("arguments", [["commands", "mailbox_paint"], ["journal"], ["limits", "x"]])
def test_a_call_that_makes_no_sense_names_what_does(arguments: list[str], capsys: Output) -> None:
    assert cli.main(arguments) == 2
    assert "usage: mq9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "table"), [("commands", CATALOGUE), ("limits", LIMITS), ("errors", CODES)], ids=str
)
def test_a_table_has_a_line_for_everything(command: str, table: dict[str, object], capsys: Output) -> None:
    assert cli.main([command]) == 0
    first_words = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line]
    assert first_words[: len(table)] == list(table)
    assert cli.main([command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    names = [one["name"] for one in found] if isinstance(found, list) else list(found)
    assert names == list(table)


@pytest.mark.parametrize("name", CATALOGUE)
def test_one_command_is_shown_with_every_argument(name: str, capsys: Output) -> None:
    assert cli.main(["commands", name]) == 0
    out = capsys.readouterr().out
    entry = CATALOGUE[name]
    assert all(f"\n  {field}" in out for field in entry.arguments.__struct_encode_fields__)
    assert all(code in out for code in entry.errors)
    assert cli.main(["commands", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reply"] == entry.reply


async def _fill(folder: Path) -> None:
    async with opened(folder, "box") as desk:
        await desk.send(text="a secret word", dedup_key="two words")
        await desk.fetch()
        [message] = await desk.fetch(group="audit")
        await desk.settle(message, "nack", reason="no time")


def test_the_journal_is_shown_without_bodies_and_secrets(tmp_path: Path, capsys: Output) -> None:
    asyncio.run(_fill(tmp_path))
    assert cli.main(["journal", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(1, len(lines) + 1))
    assert " mailbox_created mailbox=1 address=box owner=local" in lines[1]
    assert any('reason="no time"' in line for line in lines)
    assert "secret" not in out


def test_the_journal_for_programs(tmp_path: Path, capsys: Output) -> None:
    asyncio.run(_fill(tmp_path))
    assert cli.main(["journal", "--json", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    records = [json.loads(line) for line in out.splitlines()]
    events = [event for record in records for event in record["events"]]
    [sent] = [event for event in events if event["event"] == "sent"]
    assert sent["mails"][0]["sender"] == "alice"
    assert sent["mails"][0]["priority"] == "normal"
    assert [event["group"] for event in events if event["event"] == "leased"] == [1, 2]
    assert "secret" not in out


def test_looking_changes_nothing_and_needs_no_owner(tmp_path: Path, capsys: Output) -> None:
    async def body() -> None:
        async with opened(tmp_path, "box") as desk:
            await desk.send()
            before = {path: path.read_bytes() for path in (tmp_path / JOURNAL_FOLDER).iterdir()}
            assert cli.main(["journal", str(tmp_path)]) == 0
            assert before == {path: path.read_bytes() for path in (tmp_path / JOURNAL_FOLDER).iterdir()}

    asyncio.run(body())
    assert " sent " in capsys.readouterr().out


def test_a_folder_without_a_journal_is_told(tmp_path: Path, capsys: Output) -> None:
    assert cli.main(["journal", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert (
        err == f"mq9: there is no journal in {tmp_path}; name the directory that a broker was opened with\n"
    )


def test_a_damaged_journal_is_told(tmp_path: Path, capsys: Output) -> None:
    asyncio.run(_fill(tmp_path))
    segment = segment_path(tmp_path / JOURNAL_FOLDER, 1)
    segment.write_bytes(b"x" + segment.read_bytes()[1:])
    assert cli.main(["journal", str(tmp_path)]) == 1
    assert "the journal is damaged: 0000000001.mq9: is no journal segment" in capsys.readouterr().err


def damaged(folder: Path) -> Path:
    """A data directory with a flipped bit in its first commit."""
    asyncio.run(_fill(folder))
    segment = segment_path(folder / JOURNAL_FOLDER, 1)
    data = bytearray(segment.read_bytes())
    data[130] ^= 1
    segment.write_bytes(data)
    return folder


def test_the_doctor_ends_with_what_he_found(tmp_path: Path, capsys: Output) -> None:
    asyncio.run(_fill(tmp_path / "sound"))
    assert cli.main(["doctor", str(tmp_path / "sound")]) == exits.OK
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'sound'}: sound (1 segment, records 1 to ")
    folder = damaged(tmp_path / "damaged")
    assert cli.main(["doctor", str(folder)]) == exits.DAMAGED
    out = capsys.readouterr().out.splitlines()
    assert out[:3] == [
        "damage: journal/0000000001.mq9 at byte 64, record 1: "
        "commit 1 does not match its checksum, but 2 does",
        "  means: nothing is lost: the tables have record 1",
        "  next: mq9 doctor --repair",
    ]
    assert out[-1].startswith(f"{folder}: damaged (")
    assert cli.main(["doctor", "--json", str(folder)]) == exits.DAMAGED
    [finding] = json.loads(capsys.readouterr().out)["findings"]
    assert finding["kind"] == "damage"
    assert (finding["file"], finding["offset"]) == ("journal/0000000001.mq9", 64)
    assert finding["records"] == {"first": 1, "last": 1}


def test_the_doctor_repairs_and_says_what_he_did(tmp_path: Path, capsys: Output) -> None:
    folder = damaged(tmp_path)
    assert cli.main(["doctor", "--repair", str(folder)]) == exits.OK
    out = capsys.readouterr().out
    [aside] = folder.glob("damaged-*")
    assert "damage: journal/0000000001.mq9 at byte 64" in out
    assert f"done: journal/0000000001.mq9 is in {aside.name}" in out
    assert "lost: nothing that was in the tables or in the journal" in out
    assert f"{folder}: sound (" in out
    assert cli.main(["doctor", "--repair", "--json", str(folder)]) == exits.OK
    assert json.loads(capsys.readouterr().out)["done"] == []
    flipped = segment_path(aside, 1).read_bytes()
    assert flipped[:12] == b"mq9-journal\n"


def test_the_doctor_says_why_he_cannot_look(tmp_path: Path, capsys: Output) -> None:
    assert cli.main(["doctor", str(tmp_path / "none")]) == exits.FAILED
    assert "there is no data directory in" in capsys.readouterr().err

    async def body() -> None:
        async with opened(tmp_path, "box"):
            assert cli.main(["doctor", "--repair", str(tmp_path)]) == exits.FAILED

    asyncio.run(body())
    assert f"belongs to the broker with process id {os.getpid()}" in capsys.readouterr().err


def test_a_commit_cut_short_is_left_out(tmp_path: Path, capsys: Output) -> None:
    asyncio.run(_fill(tmp_path))
    assert cli.main(["journal", str(tmp_path)]) == 0
    whole = capsys.readouterr().out
    segment = segment_path(tmp_path / JOURNAL_FOLDER, 1)
    data = segment.read_bytes().rstrip(b"\0")
    segment.write_bytes(data[:-1])
    assert cli.main(["journal", str(tmp_path)]) == 0
    assert capsys.readouterr().out == whole[: whole.rindex("\n", 0, -1) + 1]


def test_the_demo_wants_a_new_directory(tmp_path: Path, capsys: Output) -> None:
    assert cli.main(["demo", "--keep", str(tmp_path)]) == 1
    assert f"{tmp_path} exists" in capsys.readouterr().err


def test_an_interrupt_at_the_keyboard_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(keep: Path | None) -> int:
        raise KeyboardInterrupt(keep)

    monkeypatch.setattr(run, "run_demo", interrupted)
    assert cli.main(["demo"]) == 130


def test_a_reader_that_has_seen_enough_is_no_fault() -> None:
    script = "import sys; from mq9_mcp.cli import main; sys.exit(main(['commands', '--json']))"
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write) as pipe:
        ended = subprocess.run(
            [sys.executable, "-c", script], stdout=pipe, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert (ended.returncode, ended.stderr) == (0, "")
