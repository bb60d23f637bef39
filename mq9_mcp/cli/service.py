"""``mq9 serve`` and ``mq9 daemon``: the broker in this process, or in one that stays in the background."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mq9_mcp.cli.connect import add_json, wants_json
from mq9_mcp.cli.exits import OK, UNAVAILABLE
from mq9_mcp.cli.parser import Parser, Run
from mq9_mcp.cli.printing import print_json
from mq9_mcp.domain.errors import Unavailable

if TYPE_CHECKING:
    from mq9_mcp.daemon import Running
    from mq9_mcp.settings import Settings

STOP_S = 30.0


def add_serve(parser: Parser) -> Run:
    """The options of ``mq9 serve``: one for each setting."""
    from mq9_mcp.settings import add_flags

    parser.epilog = "Ends in order at SIGTERM or Ctrl-C: no new work, waiting calls answered, all on disk."
    add_flags(parser)
    return _serve


def add_start(parser: Parser) -> Run:
    """The options of ``mq9 daemon start``: those of ``mq9 serve``."""
    from mq9_mcp.settings import add_flags

    parser.epilog = "Where one runs already it is left as it is, and told."
    add_flags(parser)
    add_json(parser)
    return _start


def add_stop(parser: Parser) -> Run:
    """The options of ``mq9 daemon stop``."""
    _add_data(parser)
    parser.add_argument(
        "--timeout",
        type=float,
        default=STOP_S,
        metavar="SECONDS",
        help=f"how long it may take to end in order ({STOP_S:g})",
    )
    add_json(parser)
    return _stop


def add_status(parser: Parser) -> Run:
    """The options of ``mq9 daemon status``."""
    parser.epilog = f"Ends with {OK} if one runs, with {UNAVAILABLE} if not."
    _add_data(parser)
    add_json(parser)
    return _status


def _add_data(parser: Parser) -> None:
    parser.add_argument("--data", metavar="DIR", type=Path, help="the data directory (MQ9_DATA)")


def _settings(chosen: argparse.Namespace) -> Settings:
    from mq9_mcp.settings import load_settings

    return load_settings(vars(chosen), os.environ)


def _data(chosen: argparse.Namespace) -> Path:
    from mq9_mcp.settings import data_directory

    return data_directory(vars(chosen), os.environ)


def _serve(chosen: argparse.Namespace) -> int:
    from mq9_mcp.serve import run

    return run(_settings(chosen))


def _start(chosen: argparse.Namespace) -> int:
    from mq9_mcp.daemon import join

    settings = _settings(chosen)
    return _tell(join(settings), settings.data, wants_json(chosen))


def _stop(chosen: argparse.Namespace) -> int:
    from mq9_mcp.daemon import stop
    from mq9_mcp.engine.embedded.lock import owner_of

    data = _data(chosen)
    owner = owner_of(data)  # also one that begins or ends, and takes no calls
    pid = (owner or {}).get("pid", "unknown")
    if owner is not None and not stop(data, chosen.timeout):
        raise Unavailable(
            "SHUTTING_DOWN",
            f"the process {pid} that has {data} has not ended within {chosen.timeout:g} s",
            "wait, or look into its log; kill -9 loses nothing that was acknowledged",
        )
    if wants_json(chosen):
        print_json({"stopped": owner is not None})
    else:
        print(f"stopped process {pid}" if owner is not None else f"no broker owns {data}")
    return OK


def _status(chosen: argparse.Namespace) -> int:
    from mq9_mcp.daemon import find
    from mq9_mcp.engine.embedded.lock import owner_of

    data = _data(chosen)
    running = find(data)
    owner = owner_of(data) if running is None else None
    if owner is None or wants_json(chosen):
        return _tell(running, data, wants_json(chosen))
    pid = owner.get("pid", "unknown")
    print(f"process {pid} has {data}, and takes no calls: it begins, ends, or is no server")
    return UNAVAILABLE


def _tell(running: Running | None, data: Path, as_json: bool) -> int:
    """Where it runs, or that it does not."""
    shape: dict[str, Any] = {"running": running is not None, "data": str(data)}
    if running is not None:
        shape |= {"url": running.url, "pid": running.pid}
    if as_json:
        print_json(shape)
    elif running is not None:
        print(f"mq9 at {running.url}, process {running.pid}, data in {data}")
    else:
        print(f"no broker owns {data}; mq9 daemon start starts one")
    return OK if running is not None else UNAVAILABLE
