"""Where the broker is: what the caller says, else ``MQ9_URL``, else this user's daemon, else the default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mq9_mcp.domain.errors import Refused

DEFAULT_URL = "http://127.0.0.1:9009"


def find_url(url: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """The broker's address, or a refusal that names what is accepted."""
    named = url or environ.get("MQ9_URL")
    if not named:
        return _daemon(environ) or DEFAULT_URL
    if not named.startswith(("http://", "https://")):
        raise Refused(
            "INVALID_ARGUMENT",
            f"url: {named[:120]!r}; accepted: http://HOST:PORT or https://HOST:PORT",
            f"mq9 serve listens on {DEFAULT_URL} unless told otherwise",
        )
    return named.rstrip("/")


def _daemon(environ: Mapping[str, str]) -> str | None:
    """Where the live daemon of the data directory listens."""
    # Only here: most callers name an address, and these two cost more to import than the rest of the client.
    from mq9_mcp.daemon import find
    from mq9_mcp.settings import default_data

    named = environ.get("MQ9_DATA")
    running = find(Path(named) if named else default_data())
    return running.url if running is not None else None
