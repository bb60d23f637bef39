"""The thread that the sync client's loop runs in."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncGenerator

import pytest

from mq9_mcp.client.background import Background


async def nothing() -> None:
    pass


def test_an_interrupted_read_ends_before_its_stream_is_closed() -> None:
    """A stream takes a while to end its read, as one does that hangs up; that is no error."""
    steps: list[str] = []
    main = threading.main_thread().ident
    assert main is not None

    async def stream() -> AsyncGenerator[int]:
        try:
            yield 1
            signal.pthread_kill(main, signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            steps.append("cancelled")
            for _ in range(100):
                await asyncio.sleep(0)
            steps.append("ended")

    background = Background(nothing)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(background.each(stream()))
        assert steps == ["cancelled", "ended"]
    finally:
        background.close()
