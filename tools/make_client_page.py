"""The page of the Python client in docs/reference, from its signatures and docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from mq9_mcp.broker.catalogue import CATALOGUE
from mq9_mcp.client import (
    ConnectionFailed,
    Consumer,
    Job,
    LeaseLost,
    Mq9Client,
    Mq9Message,
    Reject,
    Suspended,
    SyncJob,
    TaskCanceled,
    TaskFailed,
)
from mq9_mcp.client.consuming import Consuming
from mq9_mcp.client.following import Following
from mq9_mcp.client.job import Facts
from mq9_mcp.client.mq9_names import Mq9Names
from mq9_mcp.client.retry import FIRST_CONTACT_S, FIRST_S, MOST_S, REPEATABLE


def client_page() -> Iterator[str]:
    """The lines of ``client.md``."""
    yield "# Python client\n"
    yield (
        "`mq9_mcp.client` calls a broker over HTTP. `Mq9Client` is for asyncio; `SyncMq9Client` has the same "
        "arguments, methods and promises for code without an event loop, and `SyncConsumer` those of "
        "`Consumer`. Arguments that are left out are not sent; replies are dicts, their types are in "
        "`mq9_mcp.client.replies`. Every failure is an [`Mq9Error`](errors.md). "
        "[How to use it](../how-to/use-the-python-client.md).\n"
    )
    yield "## Mq9Client\n"
    yield from _signature("Mq9Client", Mq9Client.__init__)
    yield from _prose(Mq9Client)
    for name in ("url", "close", "call"):
        yield from _member(Mq9Client, name)
    yield "## Commands\n"
    yield "One method per command, under its name, with its arguments as keywords.\n"
    yield "| method | what | repeated after a lost answer |"
    yield "|---|---|---|"
    for entry in CATALOGUE.values():
        yield f"| [`{entry.name}`](commands.md#{entry.name}) | {entry.help} | {_repeated(entry.name)} |"
    yield ""
    yield from _retries()
    yield "## task_follow\n"
    yield from _signature("task_follow", Following.task_follow)
    yield from _prose(Following.task_follow)
    yield "## consume\n"
    yield from _signature("consume", Consuming.consume)
    yield from _prose(Consuming.consume)
    yield "## Consumer\n"
    yield from _prose(Consumer)
    for name in ("is_running", "wait", "stop"):
        yield from _member(Consumer, name)
    yield "## work\n"
    yield from _signature("work", Consuming.work)
    yield from _prose(Consuming.work)
    yield "It is a `Consumer`, which counts tasks: `processed_count` those completed. [How to use it]"
    yield "(../how-to/let-a-worker-work-on-tasks.md).\n"
    yield "### Job\n"
    yield from _prose(Job)
    yield "| attribute | what |"
    yield "|---|---|"
    for name, attribute in vars(Facts).items():
        if isinstance(attribute, property):
            yield f"| `{name}` | {_text(attribute.fget)} |"
    yield ""
    for name, function in vars(Job).items():
        if inspect.iscoroutinefunction(function):
            yield from _member(Job, name)
    yield "### SyncJob\n"
    yield from _prose(SyncJob)
    for kind in (TaskCanceled, LeaseLost, Suspended, TaskFailed):
        yield f"### {kind.__name__}\n"
        yield from _prose(kind)
    yield "## Reject\n"
    yield from _signature("Reject", Reject.__init__)
    yield from _prose(Reject)
    yield "## mq9's names\n"
    yield from _prose(Mq9Names)
    for name, function in vars(Mq9Names).items():
        if inspect.isfunction(function) and not name.startswith("_"):
            yield from _member(Mq9Names, name)
    yield "### Mq9Message\n"
    yield from _prose(Mq9Message)
    yield "| attribute | what |"
    yield "|---|---|"
    for name, attribute in vars(Mq9Message).items():
        if isinstance(attribute, property):
            yield f"| `{name}` | {_text(attribute.fget)} |"
    yield ""


def _repeated(name: str) -> str:
    if name == "mailbox_create":
        return "with an `address`"
    if name == "task_update":
        return "with a `state` that ends the lease"
    return "yes" if name in REPEATABLE else "no"


def _retries() -> Iterator[str]:
    yield "## What is repeated\n"
    yield (
        f"Within `timeout_s`, with pauses that grow from {FIRST_S} to {MOST_S:g} s and are jittered, and not "
        "before `Retry-After`:\n"
    )
    yield (
        "- any call that did not reach a broker, or was refused with status 503 or with `RATE_LIMITED`: "
        "nothing was done;\n"
        "- a call whose answer was lost, if the table above says so. Every message that is sent carries a "
        "`dedup_key`, a random one unless the caller gave one, so a repeated send stores nothing twice, in "
        "mailboxes whose `dedup_window_s` is not shorter than the call; its receipt then says `duplicate`. A "
        "repeated settlement is the same settlement.\n"
    )
    yield (
        "A fetch whose answer was lost is not repeated, as it may hold leases; they end by themselves. "
        f"A broker that never answered this client is given {FIRST_CONTACT_S:g} s: it starts just now, or "
        "there is none.\n"
    )
    yield "### ConnectionFailed\n"
    yield from _prose(ConnectionFailed)
    yield (
        "An `Unavailable` with the code `CONNECTION_FAILED`, which no broker sends. `details` has `url` and "
        "`unknown`; `hint` names the next step.\n"
    )


def _member(kind: type[Any], name: str) -> Iterator[str]:
    member = getattr(kind, name)
    yield f"### {name}\n"
    if isinstance(member, property):
        yield from _prose(member.fget)
        return
    yield from _signature(name, member)
    yield from _prose(member)


def _signature(name: str, function: Callable[..., Any]) -> Iterator[str]:
    """The signature as code, a parameter a line where there are many."""
    signature = inspect.signature(function)
    parameters: list[str] = []
    for one in list(signature.parameters.values())[1:]:
        if one.kind is one.KEYWORD_ONLY and "*" not in parameters:
            parameters.append("*")
        parameters.append(
            "**" * (one.kind is one.VAR_KEYWORD)
            + f"{one.name}: {one.annotation}"
            + (f" = {one.default!r}" if one.default is not one.empty else "")
        )
    waits = "await " if inspect.iscoroutinefunction(function) else ""
    returned = signature.return_annotation
    behind = f" -> {returned}" if returned not in ("None", inspect.Signature.empty) else ""
    line = f"{waits}{name}({', '.join(parameters)}){behind}"
    if len(line) > 100:
        inner = "".join(f"    {one},\n" for one in parameters)
        line = f"{waits}{name}(\n{inner}){behind}"
    yield f"```\n{line}\n```\n"


def _prose(thing: Any) -> Iterator[str]:
    for paragraph in (inspect.getdoc(thing) or "").split("\n\n"):
        yield _plain(paragraph) + "\n"


def _text(thing: Any) -> str:
    return _plain(inspect.getdoc(thing) or "")


def _plain(text: str) -> str:
    return " ".join(text.replace("``", "`").split())
