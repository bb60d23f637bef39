"""``mq9 demo``: a workday of agents, told."""

from __future__ import annotations

import argparse
from pathlib import Path

from mq9_mcp.cli.parser import Parser, Run
from mq9_mcp.cli.saying import fail


def add(parser: Parser) -> Run:
    """The options of ``mq9 demo``."""
    parser.add_argument(
        "--keep", metavar="DIR", type=Path, default=None, help="keep the data in DIR, which must be new"
    )
    return _run


def _run(chosen: argparse.Namespace) -> int:
    from mq9_mcp.demo.run import run_demo

    keep: Path | None = chosen.keep
    if keep is not None and keep.exists():
        return fail(f"{keep} exists; the demo begins with a new data directory", "name another one")
    return run_demo(keep)
