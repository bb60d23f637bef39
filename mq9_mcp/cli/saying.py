"""A failure that no error code of the broker names, in one line on standard error."""

from __future__ import annotations

import sys

from mq9_mcp.cli.exits import FAILED
from mq9_mcp.cli.printing import clean


def fail(what: str, hint: str) -> int:
    """Say what failed and what to do about it; returns the exit code."""
    print(f"mq9: {clean(what)}; {clean(hint)}", file=sys.stderr)
    return FAILED
