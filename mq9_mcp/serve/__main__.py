"""``python -m mq9_mcp.serve``: the server with its settings as flags; what a daemon is started as."""

import argparse
import os
import sys

from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.serve.server import run
from mq9_mcp.settings import add_flags, load_settings


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop; the exit code."""
    parser = argparse.ArgumentParser(prog="mq9 serve", description="Serve a data directory to this machine.")
    add_flags(parser)
    parser.add_argument("--any-port", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    try:
        settings = load_settings(vars(chosen), os.environ)
    except Mq9Error as error:
        parser.error(f"{error.message}; {error.hint}")
    return run(settings, any_port=chosen.any_port)


if __name__ == "__main__":
    sys.exit(main())
