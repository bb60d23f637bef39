"""The page of the A2A door in docs/reference, from its tables of methods, paths, errors and extensions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mq9_a2a import errors, params
from mq9_a2a.bindings import ROUTES, STREAMING
from mq9_a2a.desk import HISTORY_MAX
from mq9_a2a.errors import Kind
from mq9_a2a.wire import PING_S
from mq9_a2a.words import ENVELOPE, NUMBERS, PROGRESS, PUSH_DELIVERY, ROUTED

Table = Callable[[Any, Any], Iterable[str]]


def a2a_page(table: Table) -> Iterator[str]:
    """The lines of ``a2a.md``."""
    yield "# A2A\n"
    yield (
        "Every mailbox is an agent of A2A 1.0: JSON-RPC at `/a2a/{address}`, HTTP+JSON below "
        "`/a2a/{address}/v1`. At `/a2a` the `tenant` of a request names the mailbox; "
        "without one the agent whose skills fit the words best gets the task. "
        "[How to use it](../how-to/call-an-agent-over-a2a.md), [why it is as it is](../why/a2a.md).\n"
    )
    yield "## Methods\n"
    yield from table(("JSON-RPC", "HTTP+JSON, below `/v1`", "answer"), _methods())
    yield (
        "Clients of 0.3 are served at the same addresses: JSON-RPC by their own method names, HTTP+JSON "
        "where `A2A-Version` is left out or 0.3.\n"
    )
    yield "## Discovery\n"
    yield from table(
        ("path", "what it is"),
        (
            ("`GET /a2a/{address}/.well-known/agent-card.json`", "The card of a mailbox."),
            ("`GET /.well-known/agent-card.json`", "The broker's own card."),
            ("`GET /.well-known/ai-catalog.json`", "All registered agents."),
            ("`POST /search`", "Agents by what is to be done; `{query: {text, filter?}, pageSize?}`."),
        ),
    )
    yield "Cards and catalogue have an `ETag`; `If-None-Match` saves the rest.\n"
    yield "## Headers\n"
    yield from table(
        ("header", "what it says"),
        (
            ("`A2A-Version`", "1.0, or 0.3; left out it is 0.3. A parameter of the address does too."),
            ("`A2A-Extensions`", "The extensions that the client knows, with commas between."),
            ("`Mq9-Agent`", "The agent that the caller acts as, as at the other doors."),
            ("`Last-Event-ID`", "With the extension below: the last event that the client knows."),
        ),
    )
    yield "## Extensions\n"
    yield (
        f"`{NUMBERS}`: every event says its number in `metadata`, as `{{number}}`, and a subscription with "
        "`Last-Event-ID` goes on behind that event, without the task first, also when the task is over. "
        "Without it streams are plain; the number is the `id` of each server-sent event all the same.\n"
    )
    yield f"`{PROGRESS}` stands in `metadata` where a worker told how far it is: `{{done, total, note}}`.\n"
    yield (
        f"`{ROUTED}` stands in the `metadata` of a task that the broker gave to an agent by its words: "
        "`{mailbox, agent, score, reason, candidates}`.\n"
    )
    yield (
        f"`{ENVELOPE}` stands in the `metadata` of the first part of a worker's message and holds what A2A "
        "writes around the parts: `{messageId, metadata, extensions, referenceTaskIds}`. The door shows it "
        "there and not on the part; with `direct: true` what completes a task is a bare Message to a client "
        "that blocks.\n"
    )
    yield (
        f"`{PUSH_DELIVERY}` among the extensions of a registered card has the broker "
        "[deliver to the agent's own address](../how-to/put-a-mailbox-before-an-a2a-agent.md).\n"
    )
    yield "## Pushes\n"
    yield (
        "The events of a task are posted to the URL of each of its push notification configs as "
        "`application/a2a+json`: a `StreamResponse` each, with `A2A-Version`, `X-A2A-Notification-Token` "
        "where the config has a token, and `Authorization` where it has credentials. The first is the task. "
        "A client of 0.3 gets the whole task each time, as `application/json`. 2xx acknowledges; 410 "
        "disables the config; all else is tried again, redirects are not followed "
        "([limits](limits.md): `push_*`). Credentials of a config never come back. "
        "[How to use it](../how-to/call-an-agent-over-a2a.md#be-told-of-changes).\n"
    )
    yield "## Bounds\n"
    yield (
        f"A stream says something at least every {PING_S} s. A task is shown with its last {HISTORY_MAX} "
        f"messages at most. A page has {params.PAGE_DEFAULT} tasks unless told otherwise, "
        f"{params.PAGE_MAX} at most. A blocking call, and a cancel that a worker has to hear of, is answered "
        "after `block_s` ([settings](settings.md)) with the task as it is.\n"
    )
    yield "## Errors\n"
    kinds = [one for one in vars(errors).values() if isinstance(one, Kind)]
    rows = sorted((-kind.code, kind.http, kind.reason, kind.text) for kind in kinds)
    yield from table(
        ("JSON-RPC", "HTTP", "reason", "message"),
        ((str(-code), str(http), f"`{reason}`", text) for code, http, reason, text in rows),
    )
    yield (
        "Each has an `ErrorInfo` of the domain `a2a-protocol.org`; what the broker refused has its code "
        "([errors](errors.md)) and hint in `metadata`. Credentials, hosts and origins are refused before any "
        "binding, as at the other doors."
    )


def _methods() -> Iterator[tuple[str, ...]]:
    for method in params.METHODS:
        paths = [f"`{verb} {_path(one)}`" for verb, one, name in ROUTES if name == method]
        yield f"`{method}`", ", ".join(paths), "a stream" if method in STREAMING else "one"


def _path(pattern: re.Pattern[str]) -> str:
    return re.sub(r"\(\?P<(.*?)>.*?\)", r"{\1}", pattern.pattern)
