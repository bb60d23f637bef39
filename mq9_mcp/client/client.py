"""The Python client: one method per command, over HTTP; failures are mended where that is safe."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any, Self

import msgspec

from mq9_mcp import __version__
from mq9_mcp.client.commands.agent import AgentCommands
from mq9_mcp.client.commands.group import GroupCommands
from mq9_mcp.client.commands.mailbox import MailboxCommands
from mq9_mcp.client.commands.push import PushCommands
from mq9_mcp.client.commands.session import SessionCommands
from mq9_mcp.client.commands.task import TaskCommands
from mq9_mcp.client.consuming import Consuming
from mq9_mcp.client.errors import ConnectionFailed, foreign, read_error
from mq9_mcp.client.retry import FIRST_CONTACT_S, Patience, keyed, repeatable
from mq9_mcp.client.wire import Answer, Lost, Wire
from mq9_mcp.domain.errors import Mq9Error, Refused
from mq9_mcp.domain.names import check_address

TIMEOUT_S = 30.0
_OK, _TOO_MANY, _UNAVAILABLE = 200, 429, 503
_GATEWAY = (502, 504)  # something between us and the broker lost it

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Mq9Client(
    MailboxCommands, TaskCommands, GroupCommands, AgentCommands, SessionCommands, PushCommands, Consuming
):
    """A caller of one broker, for one event loop. ``async with`` closes its connections.

    ``url``: else ``MQ9_URL``, else the daemon of the data directory, else ``http://127.0.0.1:9009``.
    ``agent``: who calls, else ``MQ9_AGENT``. ``token``: the credential, else ``MQ9_TOKEN``.
    ``timeout_s``: how long a call may take with all its repetitions, beside what it asks to wait itself.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        agent: str | None = None,
        token: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        super().__init__()
        self.agent = agent or os.environ.get("MQ9_AGENT") or None
        self.timeout_s = timeout_s
        headers = {"user-agent": f"mq9-mcp/{__version__}"}
        if self.agent is not None:
            headers["mq9-agent"] = check_address(self.agent, "agent")
        if secret := token or os.environ.get("MQ9_TOKEN"):
            headers["authorization"] = f"Bearer {_plain(secret)}"
        self._wire = Wire(url, headers)

    def __repr__(self) -> str:
        return f"Mq9Client({self.url!r}, agent={self.agent!r})"

    @property
    def url(self) -> str:
        """The broker's address."""
        return self._wire.url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop the consumers, each with what it has begun, and end the connections."""
        for consumer in list(self._consumers):
            await consumer.stop()
        await self._wire.close()

    async def call(self, command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call any command with arguments as the wire has them; raises ``Mq9Error``."""
        named = keyed(command, dict(arguments))
        body = _body(named)
        patience = Patience(self.timeout_s + _asked_wait_s(named))
        failure: Mq9Error
        while True:
            after = 0.0
            try:
                answer = await self._wire.post(command, body, patience.left())
            except Lost as lost:
                failure, passing = ConnectionFailed(lost.url, lost.why, unknown=lost.sent), True
            else:
                if answer.status == _OK:
                    return _reply(answer, self.url)
                failure, passing = _judged(answer, self.url)
                after = answer.retry_after
            done = isinstance(failure, ConnectionFailed) and failure.unknown
            if not passing or (done and not repeatable(command, named)):
                raise failure
            if not await patience.pause(after, None if self._wire.met else FIRST_CONTACT_S):
                raise failure


def _reply(answer: Answer, url: str) -> dict[str, Any]:
    try:
        return _decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ConnectionFailed(url, foreign(answer.status, answer.body), unknown=True) from None


def _judged(answer: Answer, url: str) -> tuple[Mq9Error, bool]:
    """The error of an answer, and whether the same call may succeed in a moment."""
    error = read_error(answer.status, answer.body)
    if error is None:
        lost = answer.status in _GATEWAY
        failure = ConnectionFailed(url, foreign(answer.status, answer.body), unknown=lost)
        return failure, lost or answer.status == _UNAVAILABLE
    full = error.code == "MAILBOX_FULL"  # that is an answer, and the next one would be the same
    return error, answer.status == _UNAVAILABLE or (answer.status == _TOO_MANY and not full)


def _body(arguments: Mapping[str, Any]) -> bytes:
    """The arguments as JSON, exact, or a refusal."""
    try:
        body = _encode(arguments)
    except (TypeError, ValueError, RecursionError) as error:
        raise Refused("INVALID_ARGUMENT", f"arguments: {error}; accepted: JSON values") from None
    if b"null" in body:  # what a number that is not finite becomes, without a word
        _check_finite(arguments, "")
    return body


def _check_finite(value: Any, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise Refused("INVALID_ARGUMENT", f"{where.lstrip('.')}: {value}; accepted: finite numbers")
    if isinstance(value, Mapping):
        for name, child in value.items():
            _check_finite(child, f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            _check_finite(child, f"{where}[{index}]")


def _asked_wait_s(arguments: Mapping[str, Any]) -> float:
    wait = arguments.get("wait_s", 0)
    return float(wait) if isinstance(wait, int | float) else 0.0


def _plain(token: str) -> str:
    """A token that may stand in a header; it is never shown."""
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise Refused("INVALID_ARGUMENT", "token: accepted: printable ASCII characters without spaces")
    return token
