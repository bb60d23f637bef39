"""Settings: flag before variable before file before default; what is wrong is refused by name and source."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.domain.errors import Refused
from mq9_mcp.settings import SETTINGS, Settings, add_flags, default_data, flag, load_settings, variable
from tools.make_docs import pages


def refused(flags: dict[str, Any], environ: dict[str, str]) -> str:
    """The refusal of settings, in words."""
    with pytest.raises(Refused) as caught:
        load_settings(flags, environ)
    assert caught.value.code == "INVALID_ARGUMENT"
    assert caught.value.hint or "accepted:" in caught.value.message
    return caught.value.message


def test_the_table_and_the_settings_are_the_same_names() -> None:
    assert set(Settings.__struct_fields__) == {*SETTINGS, "given"}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_has_a_row_in_the_reference_a_help_and_a_reason(name: str) -> None:
    one = SETTINGS[name]
    assert one.help.endswith(".")
    assert one.reason.endswith(".")
    section = pages()["settings.md"].split("## Mailbox settings")[0]
    assert f"\n| `{name}` | {one.accepted} |" in section


def test_without_a_word_the_defaults_count(tmp_path: Path) -> None:
    settings = load_settings({"data": str(tmp_path)}, {})
    assert (settings.host, settings.port, settings.calls_max) == ("127.0.0.1", 9009, 1024)
    assert settings.given == {"data"}
    assert load_settings({}, {}).data == default_data().absolute()


def test_a_flag_counts_before_a_variable_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "mq9.toml").write_text('port = 1\ncalls_max = 1\nlog_level = "error"\n')
    environ = {"MQ9_PORT": "2", "MQ9_CALLS_MAX": "2", "MQ9_DATA": str(tmp_path)}
    settings = load_settings({"port": "3", "calls_max": None}, environ)
    assert (settings.port, settings.calls_max, settings.log_level) == (3, 2, "error")
    assert settings.given == {"data", "port", "calls_max", "log_level"}


def test_flags_are_made_from_the_table(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    words = ["--data", str(tmp_path), "--slow-call-s", "0.5", "--allowed-hosts", "a.example, b.example"]
    settings = load_settings(vars(parser.parse_args(words)), {})
    assert settings.slow_call_s == 0.5
    assert settings.allowed_hosts == ("a.example", "b.example")
    help_text = parser.format_help()
    assert all(flag(name) in help_text for name in [*SETTINGS, "config"])


def test_paths_are_absolute_and_those_of_a_file_begin_at_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "my.toml").write_text('data = "d"\nlog_file = "l"\nallowed_hosts = ["a.example"]\n')
    settings = load_settings({"config": "conf/my.toml"}, {})
    assert (settings.data, settings.log_file) == (tmp_path / "conf" / "d", tmp_path / "conf" / "l")
    assert settings.allowed_hosts == ("a.example",)
    assert load_settings({"data": "x"}, {}).data == tmp_path / "x"
    assert load_settings({"data": "x"}, {variable("config"): str(tmp_path / "conf" / "my.toml")}).log_file


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "http"),
        ("port", "-1"),
        ("port", "65536"),
        ("port", "1.5"),
        ("port", True),
        ("slow_call_s", "nan"),
        ("log_level", "loud"),
        ("request_bytes_max", "16777217"),
        ("calls_max", "0"),
        ("allowed_hosts", "a,,b"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_accepted_and_its_source(
    name: str, value: Any, tmp_path: Path
) -> None:
    message = refused({name: value}, {})
    assert message.startswith(f"{name}: ")
    assert str(value) in message
    assert f"from {flag(name)}" in message
    assert SETTINGS[name].accepted in message
    if isinstance(value, str):
        assert f"from {variable(name)}" in refused({}, {variable(name): value})
    file = tmp_path / "mq9.toml"
    file.write_text(f"{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}\n")
    assert f"from {file}" in refused({"data": str(tmp_path)}, {})


def test_a_wrong_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mq9.toml"
    assert "there is no file" in refused({"config": str(file)}, {})
    file.write_text("prot = 1\n")
    message = refused({"data": str(tmp_path)}, {})
    assert message.startswith(f"prot: unknown in {file}; accepted: ")
    assert "port" in message
    file.write_text("port = \n")
    assert str(file) in refused({"data": str(tmp_path)}, {})
    file.write_text('data = "elsewhere"\n')
    assert message.startswith("prot")
    assert "data: unknown" in refused({"data": str(tmp_path)}, {})
