"""Somebody at a command line: calls ``mq9`` in this process and reads what it says."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from mq9_mcp.cli import main


class Person:
    """What ``mq9`` said last stands in ``out`` and ``err``."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = ""
        self.err = ""

    def mq9(self, *words: str) -> int:
        """One call; its exit code."""
        self._capsys.readouterr()
        code = main([str(word) for word in words])
        self.out, self.err = self._capsys.readouterr()
        return code

    def says(self, *words: str) -> str:
        """What a call that must succeed writes."""
        code = self.mq9(*words)
        assert code == 0, self.err
        return self.out

    def reply(self, *words: str) -> Any:
        """The reply of a call that must succeed, as programs see it."""
        return json.loads(self.says("--json", *words))

    def mailbox(self, *options: str) -> str:
        """A new mailbox; its address."""
        address = f"box-{uuid.uuid4().hex[:12]}"
        self.says("mailbox", "create", address, *options)
        return address

    def agent(self) -> str:
        """A name that nobody has yet."""
        return f"agent-{uuid.uuid4().hex[:12]}"

    def send(self, mailbox: str, text: str, *options: str) -> int:
        """Send a message; its id."""
        id: int = self.reply("mailbox", "send", mailbox, text, *options)["receipts"][0]["id"]
        return id
