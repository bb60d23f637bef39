"""One client in a process of its own, until the broker is gone: ``client_process NAME``."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any

from tests.crash.client import Client
from tests.crash.line import FileLog, Gone, Line, Reply


def main(name: str) -> None:
    """Work; every answer is on disk before the next call."""
    line = Line(name)

    async def call(command: str, **arguments: Any) -> Reply:
        return line.call(command, **arguments)

    log = FileLog(Path("logs") / f"{name}.log")
    with contextlib.suppress(Gone):
        asyncio.run(Client(name, call, log).work())
    log.close()
    line.close()


if __name__ == "__main__":
    main(sys.argv[1])
