"""The process an MCP host starts. This version has the core only, so it says so and ends."""

import sys


def main() -> int:
    """Say that the MCP bridge is not there yet and what can be run instead."""
    print(
        "mq9-mcp: this version has the core only; the MCP bridge is not part of it yet."
        " To see what is there, run: mq9 demo",
        file=sys.stderr,
    )
    return 2
