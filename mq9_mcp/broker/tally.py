"""What was called, how it ended and how long it took: counted for the metrics, at little cost."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict

from mq9_mcp.broker.catalogue import CATALOGUE, HIDDEN
from mq9_mcp.domain.commands import Command
from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.domain.spread import Spread

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
OK = "OK"
HUNG_UP = "HUNG_UP"  # the caller did not wait for the end
FAULT = "INTERNAL"
_TOGETHER = 1_000
UNKNOWN = "unknown"  # what is called by a name that is no command's
NAMES: dict[type[Command], str] = {
    **{entry.arguments: name for name, entry in CATALOGUE.items()},
    **HIDDEN,
}
log = logging.getLogger("mq9.broker")


class Tally:
    """Commands by name and outcome, and the seconds that those took that did not wait for others.

    A call only leaves its seconds; what was left is counted a thousand at a time, or when somebody looks.
    """

    def __init__(self, slow_s: float = 1.0) -> None:
        self.slow_s = slow_s
        self.posts: Counter[str] = Counter({"ok": 0, "failed": 0})  # to push targets
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._seconds: dict[str, Spread] = {}
        self._left: defaultdict[tuple[type[Command], str], list[float]] = defaultdict(list)

    @property
    def outcomes(self) -> Counter[tuple[str, str]]:
        """How many calls of each command (by name) ended in each way."""
        self._count_all()
        return self._outcomes

    @property
    def seconds(self) -> dict[str, Spread]:
        """How long the calls of each command took."""
        self._count_all()
        return self._seconds

    def refused(self, name: str, error: Mq9Error) -> None:
        """Count a call that did not become a command."""
        self._outcomes[name if name in CATALOGUE else UNKNOWN, error.code] += 1

    def add(self, kind: type[Command], outcome: str, seconds: float | None) -> None:
        """Count a command; ``seconds`` is None if it waited for somebody else."""
        if seconds is None:
            self._outcomes[NAMES[kind], outcome] += 1
            return
        left = self._left[kind, outcome]
        left.append(seconds)
        if seconds > self.slow_s:
            _warn(NAMES[kind], outcome, seconds)
        if len(left) == _TOGETHER:
            self._count(kind, outcome, left)

    def _count_all(self) -> None:
        for (kind, outcome), left in self._left.items():
            if left:
                self._count(kind, outcome, left)

    def _count(self, kind: type[Command], outcome: str, left: list[float]) -> None:
        name = NAMES[kind]
        self._outcomes[name, outcome] += len(left)
        known = self._seconds.get(name)
        if known is None:
            known = self._seconds[name] = Spread(SECONDS)
        known.add_all(left)
        left.clear()


def _warn(name: str, outcome: str, seconds: float) -> None:
    milliseconds = round(seconds * 1000)
    log.warning(
        "slow call: %s took %d ms, %s",
        name,
        milliseconds,
        outcome,
        extra={"event": "slow_call", "command": name, "outcome": outcome, "ms": milliseconds},
    )
