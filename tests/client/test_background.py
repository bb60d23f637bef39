"""The thread that the sync client's loop runs in."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from types import FrameType
from typing import Any

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


def test_an_interrupt_at_any_moment_leaves_no_coroutine_that_nobody_awaits() -> None:
    """Ctrl-C comes between any two lines of a call, and before any other; a second call still works."""
    background = Background(nothing)
    lines = 0

    async def answer() -> int:
        await asyncio.sleep(0)
        return 42

    def interrupting(at: int) -> Callable[[FrameType, str, object], Any]:
        def trace(frame: FrameType, event: str, _: object) -> Any:
            nonlocal lines
            if not frame.f_code.co_filename.endswith("client/background.py"):
                return None
            if event == "line":
                lines += 1
                if lines == at:
                    raise KeyboardInterrupt
            return trace

        return trace

    def interrupted(at: int) -> bool:
        nonlocal lines
        lines = 0
        before = sys.gettrace()
        sys.settrace(interrupting(at))
        try:
            return background.run(answer) != 42
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)

    try:
        assert background.run(answer) == 42
        at = 1
        while interrupted(at):
            assert background.run(answer) == 42
            at += 1
        assert at > 5, "no line of a call was seen"
        gc.collect()  # a coroutine that nobody awaits is a warning here, and warnings are errors
    finally:
        background.close()
