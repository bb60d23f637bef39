"""Who calls over HTTP: the credential names the principal, a header the agent (contract, section 11)."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.names import check_new_address
from mq9_mcp.domain.state import Caller

AGENT_HEADER = "mq9-agent"
LOCAL = "local"


def caller_of(connection: HTTPConnection) -> Caller:
    """Without keys the principal ``local``, as the agent that ``Mq9-Agent`` names; or ``Refused``."""
    if "authorization" in connection.headers:
        raise Refused(
            "UNAUTHENTICATED",
            "Authorization: this broker has no keys, so no credential can be checked",
            "leave the Authorization header out: on loopback without keys everybody is principal 'local'",
        )
    agent = connection.headers.get(AGENT_HEADER)
    return Caller(LOCAL, check_new_address(agent) if agent else None)
