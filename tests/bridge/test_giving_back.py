"""Leases in an answer that was on its way when nobody waited for it any more are released."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import closing, suppress
from typing import Any

import pytest

from tests.bridge.host import NEW, OLD, hosting

LEASES = {"messages": [{"id": 1, "lease": "1.1.a"}, {"id": 2, "lease": "1.2.b"}]}


class Slow:
    """A server that answers a fetch only when its caller hung up, as if the answer had been on its way."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.asked = threading.Event()
        self.released: list[Any] = []
        self.done = threading.Event()
        self._over = threading.Event()
        self._serving = threading.Thread(target=self._serve, daemon=True)
        self._serving.start()

    def close(self) -> None:
        """Serve nobody any more."""
        self._over.set()
        socket.create_connection(self.listening.getsockname()).close()
        self._serving.join()
        self.listening.close()

    def _serve(self) -> None:
        while not self._over.is_set():
            line, _ = self.listening.accept()
            threading.Thread(target=self._talk, args=(line,), daemon=True).start()

    def _talk(self, line: socket.socket) -> None:
        with suppress(OSError), line, line.makefile("rb") as read:
            while head := read.readline():
                length = 0
                while (header := read.readline()) != b"\r\n":
                    name, _, value = header.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                self._answer(line, head, json.loads(read.read(length) or b"{}"), read)

    def _answer(self, line: socket.socket, asked: bytes, message: Any, read: Any) -> None:
        if b"/v1/mailbox_ack" in asked:
            self.released.append(message)
            self.done.set()
        result: Any = {}
        if message.get("method") == "tools/call":
            self.asked.set()
            assert read.read(1) == b"", "it hangs up, and says no more"
            result = {"content": [], "structuredContent": LEASES}
        body = json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "result": result}).encode()
        line.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        line.sendall(body)


@pytest.mark.parametrize("how", ["cancelled", "end", "signal"])
@pytest.mark.parametrize("version", [OLD, NEW])
def test_what_nobody_sees_is_released(how: str, version: str) -> None:
    with (
        closing(Slow()) as server,
        hosting("--url", server.url, version=version, MQ9_AGENT="anna") as host,
    ):
        host.open()
        id = host.call("mailbox_fetch")
        assert server.asked.wait(30)
        if how == "signal":
            host.process.terminate()
        elif how == "end":
            assert host.end() == 0
        else:
            host.say(method="notifications/cancelled", params={"requestId": id})
        assert server.done.wait(30)
    assert server.released == [
        {"items": [{"lease": "1.1.a", "outcome": "release"}, {"lease": "1.2.b", "outcome": "release"}]}
    ]
