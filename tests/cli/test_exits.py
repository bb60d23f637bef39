"""Every failure has its exit code, told on standard error."""

from __future__ import annotations

import json

import pytest

from mq9_mcp.cli import exits, main
from mq9_mcp.cli.start import make_parser
from mq9_mcp.domain.errors import CODES

EXPECTED = {400: 2, 401: 5, 403: 5, 404: 4, 409: 6, 413: 7, 429: 7, 500: 1, 503: 8}


@pytest.mark.parametrize("code", CODES)
def test_every_error_code_has_an_exit_code(code: str) -> None:
    assert exits.exit_code(code) == EXPECTED[CODES[code].status]


def test_every_status_belongs_to_one_exit_code() -> None:
    statuses = [status for one in exits.EXITS.values() for status in one.statuses]
    assert sorted(statuses) == sorted({code.status for code in CODES.values()})


def test_a_code_of_a_newer_broker_is_a_failure() -> None:
    assert exits.exit_code("OUT_OF_PAPER") == exits.FAILED


def test_the_help_names_every_exit_code() -> None:
    shown = make_parser().format_help()
    assert all(f"{code:<4} {one.meaning}" in shown for code, one in exits.EXITS.items())


def test_a_refusal_is_told_to_people_and_to_programs(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ["mailbox", "fetch", "jobs", "--max", "0"]
    assert main(wrong) == exits.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "mq9: INVALID_ARGUMENT: max: 0; accepted: 1 to 1000\n"
    assert main([*wrong, "--json"]) == exits.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err) == {
        "error": {"code": "INVALID_ARGUMENT", "message": "max: 0; accepted: 1 to 1000"}
    }
