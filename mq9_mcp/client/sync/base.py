"""What the sync facade stands on: an async client, and a loop in the background to run it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from mq9_mcp.client.background import Background
from mq9_mcp.client.client import TIMEOUT_S, Mq9Client


class SyncBase:
    """The facade without its commands. ``with`` closes it. Threads may share it."""

    def __init__(
        self,
        url: str | None = None,
        *,
        agent: str | None = None,
        token: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._client = Mq9Client(url, agent=agent, token=token, timeout_s=timeout_s)
        self._background = Background(self._client.close)

    def __repr__(self) -> str:
        return f"Sync{self._client!r}"

    @property
    def url(self) -> str:
        """The broker's address."""
        return self._client.url

    @property
    def agent(self) -> str | None:
        """Who calls."""
        return self._client.agent

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the consumers, each with what it has begun, and end the connections."""
        self._background.close()

    def _command(self, command: str, named: Mapping[str, Any]) -> Any:
        return self._background.run(self._client._command, command, named)
