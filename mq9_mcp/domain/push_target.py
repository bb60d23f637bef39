"""Where a task's events are posted to, and how far that has come. Who asks for it is the task's asker.

The secrets in here are sent to the receiver and kept on disk; nothing else shows them.
"""

from __future__ import annotations

import re

from msgspec import Struct

from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.limits import limit

URL_CHARACTERS_MAX = limit("url_characters_max")
AS_IT_STANDS = -1  # nothing was posted yet, and the task as it stands comes first
_URL = re.compile(r"(https?)://([^/?#]*)([/?][^#]*)?(#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?")
_PORTS = {"http": 80, "https": 443}


class PushTarget(Struct, frozen=True, omit_defaults=True, gc=False):
    """A receiver. ``token`` and ``credentials`` are secrets; ``version`` of A2A says what is posted."""

    url: str
    token: str | None = None
    scheme: str | None = None
    credentials: str | None = None
    version: str = "1.0"


class Push(Struct, omit_defaults=True, gc=False):
    """One target of one task. ``number`` is the last event that the receiver has acknowledged."""

    task: str
    id: str
    principal: str
    target: PushTarget
    created_at: int
    made: int  # the journal's record that set it: another one if it is set anew
    number: int = AS_IT_STANDS
    failing_since: int | None = None
    trouble: str | None = None  # what was wrong with the first post that failed since then, or at the end
    disabled_at: int | None = None
    done: bool = False  # the task is over, and the receiver has all of it

    @property
    def live(self) -> bool:
        """True while there may be something to post."""
        return not self.done and self.disabled_at is None

    @property
    def state(self) -> str:
        """In one word."""
        if self.done:
            return "done"
        if self.disabled_at is not None:
            return "disabled"
        return "failing" if self.failing_since is not None else "active"


class Place(Struct, frozen=True):
    """What a URL names: the host without brackets, and the port."""

    scheme: str
    host: str
    port: int


def read_url(url: str, argument: str = "url") -> Place:
    """Where a URL leads; ``INVALID_ARGUMENT`` if nothing may be posted there, whatever address it has."""
    if len(url) > URL_CHARACTERS_MAX:
        what = f"{len(url)} characters; url_characters_max is {URL_CHARACTERS_MAX}"
        raise _refused(argument, what)
    found = _URL.fullmatch(url)
    if found is None or not url.isascii() or not url.isprintable() or " " in url:
        raise _refused(argument, "none; accepted: an http or https URL in ASCII, such as https://a.example/x")
    scheme, authority = found[1].lower(), found[2]
    if "@" in authority:
        raise _refused(
            argument, "has a user name or password; accepted: none, credentials have their own field"
        )
    named = _AUTHORITY.fullmatch(authority)
    port = int(named[2]) if named is not None and named[2] else _PORTS[scheme]
    if named is None or not 0 < port < 65536:
        raise _refused(argument, "has no host and port that could be called")
    return Place(scheme, named[1].strip("[]").lower(), port)


def _refused(argument: str, what: str) -> Refused:
    """Nothing of the URL itself: it may hold secrets."""
    return Refused("INVALID_ARGUMENT", f"{argument}: {what}")
