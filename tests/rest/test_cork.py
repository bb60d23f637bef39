"""An answer goes out in one write; a head without a body, and what is closed, wait for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from mq9_mcp.doors.cork import JOINED_MAX, Corked

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Noted(asyncio.Transport):
    """Notes what is done with a connection."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[bytes | str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """One write."""
        self.done.append(bytes(data))

    def close(self) -> None:
        """Closed."""
        self.done.append("closed")

    def abort(self) -> None:
        """Cut off."""
        self.done.append("cut off")


def done(use: Callable[[Corked], None]) -> tuple[list[bytes | str], list[bytes | str]]:
    """What was done at once, and what by the next turn of the loop."""

    async def body() -> tuple[list[bytes | str], list[bytes | str]]:
        below = Noted()
        use(Corked(below, asyncio.get_running_loop()))
        at_once = list(below.done)
        await asyncio.sleep(0)
        return at_once, below.done

    return asyncio.run(body())


def pieces(*written: bytes) -> Callable[[Corked], None]:
    """Write these, one after the other."""

    def use(corked: Corked) -> None:
        for piece in written:
            corked.write(piece)

    return use


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ((HEAD, b"ok"), [HEAD + b"ok"]),
        ((HEAD, b""), [HEAD]),
        ((HEAD, HEAD), [HEAD + HEAD]),
        ((HEAD, b"one", b"two"), [HEAD + b"one", b"two"]),
        ((HEAD, b"ok", HEAD, b"ok"), [HEAD + b"ok", HEAD + b"ok"]),
        ((HEAD, b"x" * JOINED_MAX), [HEAD + b"x" * JOINED_MAX]),
        ((HEAD, b"x" * (JOINED_MAX + 1)), [HEAD, b"x" * (JOINED_MAX + 1)]),
        ((b"100", b"ok"), [b"100", b"ok"]),
    ],
)
def test_a_head_goes_out_with_what_follows(written: tuple[bytes, ...], sent: list[bytes]) -> None:
    at_once, later = done(pieces(*written))
    assert at_once == sent
    assert later == sent, "and nothing twice"


def test_a_head_alone_waits_for_the_next_turn_only() -> None:
    assert done(pieces(HEAD)) == ([], [HEAD])


def test_closing_sends_what_is_held_and_aborting_does_not() -> None:
    def close(corked: Corked) -> None:
        corked.write(HEAD)
        corked.close()

    def abort(corked: Corked) -> None:
        corked.write(HEAD)
        corked.abort()

    assert done(close) == ([HEAD, "closed"], [HEAD, "closed"])
    assert done(abort) == (["cut off"], ["cut off"])
