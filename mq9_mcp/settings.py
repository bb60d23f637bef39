"""The settings of ``mq9 serve``, each once: flags, ``MQ9_*``, the TOML file and the docs read this table.

A flag counts before a variable of the environment, that before the file, that before the default.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct
from platformdirs import user_data_path

from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.limits import limit
from mq9_mcp.engine.embedded.lock import CONFIG_FILE

CONFIG = "config"
PREFIX = "MQ9_"
SENTENCES = "sentence-transformers:"  # before a model of that library
KIB, MIB, GIB = 1024, 1024**2, 1024**3


class Setting(NamedTuple):
    """One setting: ``kind`` is str, int, float, Path or list (of strings, with commas between)."""

    kind: type
    default: Any
    help: str
    reason: str
    unit: str = ""
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    check: Callable[[Any], Any] | None = None  # raises ValueError for what is no such thing
    form: str = ""  # what is accepted, where a type does not say it

    @property
    def accepted(self) -> str:
        """The accepted values in words."""
        if self.choices:
            return ", ".join(self.choices)
        if self.form:
            return self.form
        words = {str: "text", int: "an integer", float: "a number", Path: "a path", list: "a list of strings"}
        bounds = f" from {self.least:,} to {self.most:,}" if self.least is not None else ""
        return words[self.kind] + bounds


def default_data() -> Path:
    """The platform's user data directory (contract, section 11)."""
    return user_data_path("mq9", appauthor=False)


def _check_networks(texts: Sequence[str]) -> None:
    from ipaddress import ip_network  # slow to import, seldom needed

    for text in texts:
        ip_network(text)


def _check_commands(texts: Sequence[str]) -> None:
    from mq9_mcp.peers.mcp_servers.allowed import read_commands

    read_commands(texts)


def _check_embedding(name: str) -> None:
    other = name.startswith(SENTENCES) and name != SENTENCES
    if name not in ("minilm", "keywords") and not other:
        raise ValueError(name)


SETTINGS: dict[str, Setting] = {
    "data": Setting(
        Path,
        None,
        "The data directory; the platform's user data directory if left out.",
        "One process owns it; a second one is told who does.",
    ),
    "host": Setting(
        str,
        "127.0.0.1",
        "The address to listen on, a loopback address.",
        "There is no authentication yet, so only this machine may call.",
    ),
    "port": Setting(
        int,
        9009,
        "The port to listen on; 0 takes a free one.",
        "The same on every machine, so that examples and clients find it.",
        least=0,
        most=65_535,
    ),
    "allowed_hosts": Setting(
        list,
        (),
        "Names besides loopback ones that a Host header may have, without port.",
        "A web page whose name was pointed at this machine must not get in.",
    ),
    "allowed_origins": Setting(
        list,
        (),
        "Origins besides loopback ones whose pages may call, such as https://app.example.",
        "A page in a browser must not call in its reader's name.",
    ),
    "card_networks": Setting(
        list,
        (),
        "Networks besides public ones that card_url, remote agents and MCP servers may be in: 10.2.0.0/16.",
        "What a caller names must not lead the broker into the network behind it.",
        check=_check_networks,
        form="a list of addresses and networks, such as 127.0.0.1 and 10.2.0.0/16",
    ),
    "mcp_commands": Setting(
        list,
        (),
        "Command lines of MCP servers that agents may be made of; * as the last word lets any words follow.",
        "Whoever may register an agent could else run any program as the user of the broker.",
        check=_check_commands,
        form="a list of command lines, such as 'uvx mcp-server-git *' and /usr/local/bin/weather-mcp",
    ),
    "push_networks": Setting(
        list,
        (),
        "Networks besides public ones to which the events of tasks may be posted, such as 10.2.0.0/16.",
        "What a caller names must not lead the broker into the network behind it.",
        check=_check_networks,
        form="a list of addresses and networks, such as 127.0.0.1 and 10.2.0.0/16",
    ),
    "toolsets": Setting(
        list,
        (),
        "Sets of MCP tools beside the default one.",
        "Each tool costs a model's attention; most agents need the default fifteen only.",
        choices=("operators",),
    ),
    "embedding": Setting(
        str,
        "minilm",
        "What understands the meaning of intents: the model that ships, another one, or keywords alone.",
        "The model takes 100 MB of memory; where agents are few and well named, keywords may do.",
        check=_check_embedding,
        form="minilm, keywords, or sentence-transformers:NAME_OR_PATH (with that extra installed)",
    ),
    "log_level": Setting(
        str,
        "info",
        "The least important events that are logged.",
        "info has starts, stops, refused starts and trouble; calls are in the metrics.",
        choices=("debug", "info", "warning", "error"),
    ),
    "log_format": Setting(
        str,
        "text",
        "Lines for people, or one JSON object a line for programs.",
        "A person reads first; collectors want JSON.",
        choices=("text", "json"),
    ),
    "log_file": Setting(
        Path,
        None,
        "A file to log to, renewed at 1 MiB with one old one kept; standard error if left out.",
        "A daemon has no terminal, and its log must not fill the disk.",
    ),
    "slow_call_s": Setting(
        float,
        1.0,
        "A call that takes longer is logged; the time that a call waits for mail does not count.",
        "Longer than any healthy call, shorter than a person's patience.",
        "seconds",
        0,
        3_600,
    ),
    "request_bytes_max": Setting(
        int,
        limit("request_bytes_max"),
        "The largest request body.",
        "One call is held in memory as a whole.",
        "bytes",
        KIB,
        limit("request_bytes_max"),
    ),
    "bodies_bytes_max": Setting(
        int,
        256 * MIB,
        "All request bodies together that are held at a time; more are told to come again.",
        "Many large calls at once must not fill the memory.",
        "bytes",
        limit("request_bytes_max"),
        64 * GIB,
    ),
    "header_bytes_max": Setting(
        int,
        32 * KIB,
        "The largest head of a request: its address and headers.",
        "Headers are held in memory before anybody looks at them.",
        "bytes",
        KIB,
        MIB,
    ),
    "connections_max": Setting(
        int,
        4_096,
        "Connections at a time; those beyond get one refusal each.",
        "Each costs memory and a file descriptor.",
        "connections",
        1,
        65_536,
    ),
    "calls_max": Setting(
        int,
        1_024,
        "Calls in work at a time, without those that wait for mail; more are told to come again.",
        "When many workers are woken at once, all of them get through.",
        "calls",
        1,
        65_536,
    ),
    "calls_steady_max": Setting(
        int,
        128,
        "The same when it is reached for longer than a burst of half a second.",
        "Enough to fill every commit, few enough that each is answered soon.",
        "calls",
        1,
        65_536,
    ),
    "waiting_max": Setting(
        int,
        4_096,
        "Calls that wait for mail or for a rung at a time; more are told to come again.",
        "A waiting call costs memory, hardly any time.",
        "calls",
        1,
        65_536,
    ),
    "block_s": Setting(
        float,
        4.0,
        "How long a blocking call of A2A waits before it is answered with the task as it is.",
        "Common clients of A2A give up after 5 seconds.",
        "seconds",
        0,
        50,
    ),
    "disk_free_bytes_min": Setting(
        int,
        64 * MIB,
        "With less room on the disk /ready says no.",
        "A few segments of the journal and a checkpoint of the tables fit in it.",
        "bytes",
        0,
        1024 * GIB,
    ),
    "journal_bytes": Setting(
        int,
        64 * MIB,
        "Journal that is kept after everything in it is in the tables.",
        "Enough to resume a stream of events after a break.",
        "bytes",
        0,
        1024 * GIB,
    ),
    "memory_limit": Setting(
        int,
        512 * MIB,
        "Memory that DuckDB may use.",
        "Folding needs little; large queries get slower, not larger.",
        "bytes",
        64 * MIB,
        1024 * GIB,
    ),
}


def _default(name: str) -> Any:
    return SETTINGS[name].default


class Settings(Struct, kw_only=True, frozen=True):
    """What one server process is told; ``given`` names what was not left at its default."""

    data: Path
    host: str = _default("host")
    port: int = _default("port")
    allowed_hosts: tuple[str, ...] = _default("allowed_hosts")
    allowed_origins: tuple[str, ...] = _default("allowed_origins")
    card_networks: tuple[str, ...] = _default("card_networks")
    mcp_commands: tuple[str, ...] = _default("mcp_commands")
    push_networks: tuple[str, ...] = _default("push_networks")
    toolsets: tuple[str, ...] = _default("toolsets")
    embedding: str = _default("embedding")
    log_level: str = _default("log_level")
    log_format: str = _default("log_format")
    log_file: Path | None = _default("log_file")
    slow_call_s: float = _default("slow_call_s")
    request_bytes_max: int = _default("request_bytes_max")
    bodies_bytes_max: int = _default("bodies_bytes_max")
    header_bytes_max: int = _default("header_bytes_max")
    connections_max: int = _default("connections_max")
    calls_max: int = _default("calls_max")
    calls_steady_max: int = _default("calls_steady_max")
    waiting_max: int = _default("waiting_max")
    block_s: float = _default("block_s")
    disk_free_bytes_min: int = _default("disk_free_bytes_min")
    journal_bytes: int = _default("journal_bytes")
    memory_limit: int = _default("memory_limit")
    given: frozenset[str] = frozenset()


def flag(name: str) -> str:
    """``log_level`` as a flag."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """``log_level`` as a variable of the environment."""
    return PREFIX + name.upper()


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add one flag for each setting; ``load_settings(vars(arguments), os.environ)`` reads them."""
    group = parser.add_argument_group("settings", "each also as MQ9_NAME, or as name in the file of --config")
    group.add_argument(
        flag(CONFIG), metavar="FILE", help=f"a TOML file of settings; DATA/{CONFIG_FILE} if it is there"
    )
    for name, one in SETTINGS.items():
        default = f" ({_shown(one.default)})" if one.default not in (None, ()) else ""
        metavar = "{" + ",".join(one.choices) + "}" if one.choices else name.rpartition("_")[2].upper()
        group.add_argument(
            flag(name), metavar=metavar, help=(one.help + default).replace("%", "%%"), dest=name
        )


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and value > 65_535 else str(value)


def load_settings(flags: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """The settings, or ``INVALID_ARGUMENT`` naming the value, the accepted ones and where it came from."""
    found: dict[str, Any] = {}
    for name, one in SETTINGS.items():
        if flags.get(name) is not None:
            found[name] = _read(one, name, flags[name], flag(name))
        elif environ.get(variable(name)):
            found[name] = _read(one, name, environ[variable(name)], variable(name))
    file, named = _file(flags, environ, found.get("data") or default_data())
    for name, value in _file_values(file, named).items():
        found.setdefault(name, value)
    return Settings(**{"data": default_data().absolute()} | found, given=frozenset(found))


def data_directory(flags: Mapping[str, Any], environ: Mapping[str, str]) -> Path:
    """The data directory alone; a settings file in it, however broken, does not matter."""
    one = SETTINGS["data"]
    if flags.get("data") is not None:
        return Path(_read(one, "data", flags["data"], flag("data")))
    if environ.get(variable("data")):
        return Path(_read(one, "data", environ[variable("data")], variable("data")))
    file, named = _file(flags, environ, default_data())
    found = _file_values(file, named) if named else {}
    return Path(found.get("data") or default_data().absolute())


def _file(flags: Mapping[str, Any], environ: Mapping[str, str], data: Path) -> tuple[Path, str]:
    """The settings file, and who named it; the one in the data directory is named by nobody."""
    if flags.get(CONFIG) is not None:
        return Path(flags[CONFIG]).expanduser(), flag(CONFIG)
    if environ.get(variable(CONFIG)):
        return Path(environ[variable(CONFIG)]).expanduser(), variable(CONFIG)
    return data / CONFIG_FILE, ""


def _file_values(file: Path, named: str) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        if not named:
            return {}
        raise Refused(
            "INVALID_ARGUMENT", f"{named}: there is no file {file}; accepted: a TOML file"
        ) from None
    except (OSError, ValueError) as error:
        raise Refused(
            "INVALID_ARGUMENT", f"{named or 'settings'}: {file}: {error}; accepted: a TOML file"
        ) from None
    found = {}
    for name, value in values.items():
        one = SETTINGS.get(name)
        if one is None or (name == "data" and not named):
            accepted = ", ".join(key for key in SETTINGS if named or key != "data")
            raise Refused(
                "INVALID_ARGUMENT", f"{name}: unknown in {file}; accepted: {accepted}", "leave it out"
            )
        found[name] = _read(one, name, value, str(file), file.absolute().parent)
    return found


def _read(one: Setting, name: str, value: Any, source: str, folder: Path | None = None) -> Any:
    """``value`` as the setting has it. Text becomes a number only from a flag or a variable."""
    try:
        read = _typed(one, value, folder)
        if one.check is not None:
            one.check(read)
    except (TypeError, ValueError):
        read = None
    in_bounds = one.least is None or one.most is None or read is None or one.least <= read <= one.most
    chosen = read if isinstance(read, tuple) else (read,)
    if read is None or not in_bounds or (one.choices and not set(chosen) <= set(one.choices)):
        raise Refused(
            "INVALID_ARGUMENT",
            f"{name}: {str(value)[:80]!r} (from {source}); accepted: {one.accepted}",
            f"mq9 serve --help lists all settings; without {name} its default counts",
        )
    return read


def _typed(one: Setting, value: Any, folder: Path | None) -> Any:
    if one.kind is Path:
        path = Path(value).expanduser()
        return path.absolute() if folder is None else (folder / path).absolute()
    if one.kind is list:
        items = [item.strip() for item in value.split(",")] if isinstance(value, str) else value
        if not isinstance(items, list | tuple) or not all(isinstance(item, str) and item for item in items):
            raise TypeError
        return tuple(items)
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, str) and folder is None:
        return one.kind(value)
    if one.kind is float and isinstance(value, int):
        return float(value)
    if not isinstance(value, one.kind):
        raise TypeError
    return value
