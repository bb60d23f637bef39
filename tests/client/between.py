"""A connection that fails, between the client and a real server: it passes on, loses, cuts or answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import msgspec

PASS, LOSE, CUT = "pass", "lose", "cut"  # LOSE: the server did it, nobody hears of it


def refusal(status: int, code: str, *headers: str) -> bytes:
    """A server's answer that says no."""
    body = msgspec.json.encode({"error": {"code": code, "message": "no", "hint": "wait"}})
    return answer(status, body, *headers)


def answer(status: int, body: bytes, *headers: str) -> bytes:
    """Any answer."""
    head = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


class Between:
    """What it does with each request in turn; ``PASS`` when there is no more in the plan."""

    def __init__(self, url: str, plan: Iterable[str | bytes]) -> None:
        self._port = int(url.rpartition(":")[2])
        self.plan = list(plan)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.url = ""
        self._connections: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    def bodies(self) -> list[dict[str, object]]:
        """What was asked, as JSON."""
        return [msgspec.json.decode(body) for _, _, body in self.requests]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the client."""
        self._connections[asyncio.current_task()] = writer
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                first, *lines = head.decode("latin-1").splitlines()
                headers = {
                    name.lower(): value for name, _, value in (one.partition(": ") for one in lines if one)
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.requests.append((first.split()[1], headers, body))
                if not await self._act(self.plan.pop(0) if self.plan else PASS, head + body, writer):
                    break
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def close(self) -> None:
        """Let the connections go, at both ends: a fetch may still wait at the server."""
        for task, writer in self._connections.items():
            writer.close()
            if task is not None:
                task.cancel()
        await asyncio.gather(*(one for one in self._connections if one), return_exceptions=True)

    async def _act(self, action: str | bytes, request: bytes, writer: asyncio.StreamWriter) -> bool:
        if isinstance(action, bytes):
            writer.write(action)
        elif action == CUT:
            return False
        else:
            reply = await self._ask(request)
            if action == LOSE:
                return False
            writer.write(reply)
        await writer.drain()
        return True

    async def _ask(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            size = next(int(one.split(b":")[1]) for one in lines if b"content-length" in one)
            return head + await reader.readexactly(size)
        finally:
            writer.close()


@asynccontextmanager
async def between(url: str, *plan: str | bytes) -> AsyncIterator[Between]:
    """A failing connection to the server at ``url``."""
    one = Between(url, plan)
    listening = await asyncio.start_server(one.handle, "127.0.0.1", 0)
    one.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield one
    finally:
        listening.close()
        await one.close()
