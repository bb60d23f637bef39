"""What was called, how it ended and how long it took: counted for the metrics, at little cost."""

from __future__ import annotations

import logging
from collections import Counter

from mq9_mcp.broker.catalogue import CATALOGUE, HIDDEN
from mq9_mcp.domain.commands import Command
from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.domain.spread import Spread

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
OK = "OK"
HUNG_UP = "HUNG_UP"  # the caller did not wait for the end
FAULT = "INTERNAL"
UNKNOWN = "unknown"  # what is called by a name that is no command's
NAMES: dict[type[Command], str] = {
    **{entry.arguments: name for name, entry in CATALOGUE.items()},
    **HIDDEN,
}
log = logging.getLogger("mq9.broker")


class Tally:
    """Commands by name and outcome, and the seconds that those took that did not wait for others."""

    def __init__(self, slow_s: float = 1.0) -> None:
        self.slow_s = slow_s
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.seconds: dict[str, Spread] = {}
        self.posts: Counter[str] = Counter({"ok": 0, "failed": 0})  # to push targets

    def refused(self, name: str, error: Mq9Error) -> None:
        """Count a call that did not become a command."""
        self.outcomes[name if name in CATALOGUE else UNKNOWN, error.code] += 1

    def add(self, kind: type[Command], outcome: str, seconds: float | None) -> None:
        """Count a command; ``seconds`` is None if it waited for somebody else."""
        name = NAMES[kind]
        self.outcomes[name, outcome] += 1
        if seconds is None:
            return
        known = self.seconds.get(name)
        if known is None:
            known = self.seconds[name] = Spread(SECONDS)
        known.add(seconds)
        if seconds > self.slow_s:
            milliseconds = round(seconds * 1000)
            log.warning(
                "slow call: %s took %d ms, %s",
                name,
                milliseconds,
                outcome,
                extra={"event": "slow_call", "command": name, "outcome": outcome, "ms": milliseconds},
            )
