"""Addresses, tokens and identifiers: how they look, how they are made, how they are read back."""

from __future__ import annotations

import hashlib
import re

from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.limits import limit

ADDRESS_MAX = limit("address_characters_max")
# "(?!\n)$" because a bare "$" also matches before a last line feed.
ADDRESS_PATTERN = r"^(?!.*\.\.)[a-z0-9](?:[a-z0-9._-]{0,94}[a-z0-9])?(?!\n)$"
NAME_PATTERN = r"^[^\x00-\x1f\x7f\ud800-\udfff]+(?!\n)$"
TEXT_PATTERN = r"^[^\ud800-\udfff]*$"  # anything that can be written as UTF-8
BROKER_PREFIX = "mq9."
LOCAL = "local"  # the principal of all who call on loopback without keys
BROKER = "mq9"  # the principal that the broker itself is
PARKED = "mq9.parked"  # the broker's own mailbox of work for which no agent was there
DEFAULT_GROUP = "default"
DEAD_SUFFIX = ".dead"

_address = re.compile(ADDRESS_PATTERN)
_own_session = re.compile(r"mq9\.([1-9][0-9]{0,15})(?!\n)$")

# Two numbers below 2^56 and a secret in ASCII, as only such text can be compared in constant time.
_lease = re.compile(r"([0-9a-f]{1,14})\.([0-9a-f]{1,14})\.([!-~]+)(?!\n)$")

ADDRESS_ACCEPTED = (
    f"1 to {ADDRESS_MAX} characters of a-z 0-9 . _ -, first and last a letter or digit, no '..'"
)


def check_address(address: str, argument: str = "address") -> str:
    """Return ``address``, or refuse it by name (contract, section 1)."""
    if _address.match(address):
        return address
    if "@" in address:
        raise Refused(
            "INVALID_ARGUMENT",
            f"{argument}: {address[:120]!r} names another node; this broker is alone, without federation",
            "leave out '@' and what follows",
        )
    raise Refused(
        "INVALID_ARGUMENT", f"{argument}: {address[:120]!r} is no address; accepted: {ADDRESS_ACCEPTED}"
    )


def is_address(text: str) -> bool:
    """True if ``text`` is a well-formed address."""
    return _address.match(text) is not None


def check_new_address(address: str, argument: str = "address") -> str:
    """An address that a caller may create: well formed and not the broker's own."""
    check_address(address, argument)
    if address.startswith(BROKER_PREFIX):
        raise Refused(
            "INVALID_ARGUMENT",
            f"{argument}: {address!r} begins with {BROKER_PREFIX!r}, the broker's own prefix",
            "choose another first word",
        )
    return address


def dead_letter_address(address: str) -> str:
    """The default dead letter address: ``<address>.dead``, shortened with a digest where that is too long."""
    plain = address + DEAD_SUFFIX
    if len(plain) <= ADDRESS_MAX:
        return plain
    digest = hashlib.blake2b(address.encode(), digest_size=5).hexdigest()
    return f"{address[: ADDRESS_MAX - 16].rstrip('._-')}-{digest}{DEAD_SUFFIX}"


def lease_token(group: int, message: int, secret: str) -> str:
    """The lease on ``message`` in ``group``: where to look, then the unguessable part of that fetch."""
    return f"{group:x}.{message:x}.{secret}"


def read_lease_token(token: str) -> tuple[int, int, str] | None:
    """``(group, message, secret)`` of a lease token, or None if it cannot be one."""
    found = _lease.match(token)
    if found is None:
        return None
    group, message, secret = found.groups()
    return int(group, 16), int(message, 16), secret


def own_session(message: int) -> str:
    """The session of a message that names none and replies to nothing; it costs nothing until joined."""
    return f"{BROKER_PREFIX}{message}"


def read_own_session(session: str) -> int | None:
    """The message id behind an own session's name, or None if ``session`` was named by a caller."""
    found = _own_session.match(session)
    return int(found[1]) if found else None
