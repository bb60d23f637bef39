"""A worker of the ledger in a process of its own: ``ledger_process ROLE NAME COUNT``.

``feed`` sends COUNT transfers, ``debit`` and ``credit`` apply them until they are killed.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from typing import Any

from tests.crash.ledger import ACCOUNTS, Entry, apply_one, transfer_message
from tests.crash.line import Gone, Line, Reply, Said

RETRY_S = 60
AGAIN_S = 0.02


def transfers(count: int) -> list[Entry]:
    """The same ones in every process."""
    rng = random.Random(count)
    made = []
    for number in range(count):
        giver, taker = rng.sample(range(ACCOUNTS), 2)
        made.append({"number": number, "from": giver, "to": taker, "amount": rng.randint(1, 99)})
    return made


class Stubborn:
    """Repeats a call, word for word, until it is answered: over lost replies and restarts of the broker."""

    def __init__(self, agent: str) -> None:
        self.agent = agent
        self._never = threading.Event()
        self._line: Line | None = None

    def call(self, name: str, **arguments: Any) -> Reply:
        """The reply; raises ``Said`` where trying again is of no use."""
        end = time.monotonic() + RETRY_S
        while time.monotonic() < end:
            try:
                self._line = self._line or Line(self.agent)
                return self._line.call(name, **arguments)
            except Gone:
                self.close()
            except Said as error:
                if error.code != "STORAGE_UNAVAILABLE":  # the folder process was killed: try again
                    raise
            self._never.wait(AGAIN_S)
        raise AssertionError(f"no broker within {RETRY_S} s")

    def close(self) -> None:
        """Hang up."""
        if self._line is not None:
            self._line.close()
            self._line = None


def main(role: str, name: str, count: int) -> None:
    """Work."""
    line = Stubborn(name)
    if role == "feed":
        for transfer in transfers(count):
            line.call("mailbox_send", **transfer_message("transfers", transfer))
        line.close()
        return
    while True:
        if role == "debit":
            apply_one(line, "transfers", "from", -1)
        else:
            apply_one(line, "transit", "to", 1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
