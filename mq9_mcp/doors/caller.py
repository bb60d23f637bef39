"""Who calls over HTTP: the credential names the principal, a header the agent (contract, section 11)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.names import LOCAL, check_new_address
from mq9_mcp.domain.state import Caller

AGENT_HEADER = "mq9-agent"
_AGENT = AGENT_HEADER.encode()
_CREDENTIAL = b"authorization"
_REMEMBERED = 4096  # callers; others are made anew with each call


def caller_of(headers: Iterable[tuple[bytes, bytes]]) -> Caller:
    """Without keys the principal ``local``, as the agent that ``Mq9-Agent`` names; or ``Refused``.

    ``headers`` are those of the request as ASGI has them, names in lower case.
    """
    agent = b""
    for name, value in headers:
        if name == _AGENT:
            if agent and agent != value:
                raise Refused("INVALID_ARGUMENT", "Mq9-Agent: names two agents; accepted: one")
            agent = value
        elif name == _CREDENTIAL:
            raise Refused(
                "UNAUTHENTICATED",
                "Authorization: this broker has no keys, so no credential can be checked",
                "leave the Authorization header out: on loopback without keys everybody is principal 'local'",
            )
    return _local(agent)


@lru_cache(_REMEMBERED)
def _local(agent: bytes) -> Caller:
    return Caller(LOCAL, check_new_address(agent.decode("latin-1")) if agent else None)
