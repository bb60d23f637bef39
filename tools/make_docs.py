"""Writes docs/reference: the tables in code that commands, errors, limits, events and schema are, as pages.

``pages()`` is what the folder must hold; the tests compare. Nothing here knows a fact of its own but
words for people, and each table of words must name exactly what the code names.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import duckdb
import msgspec.inspect as mi
from msgspec import NODEFAULT

from mq9_mcp.broker.catalogue import CATALOGUE, LATER, Entry
from mq9_mcp.broker.receipts import RUNGS
from mq9_mcp.cli.exits import exit_code
from mq9_mcp.domain import commands, delivery, events, names, task
from mq9_mcp.domain.errors import CODES
from mq9_mcp.domain.limits import LIMITS
from mq9_mcp.domain.registry import STATUSES
from mq9_mcp.doors.rest.events import HEARTBEAT_S
from mq9_mcp.doors.rest.headers import COMMAND, HEADERS
from mq9_mcp.engine.embedded.engine import EmbeddedEngine
from mq9_mcp.engine.embedded.frame import FRAME_HEADER, RECORD_HEADER, SEGMENT_HEADER
from mq9_mcp.engine.embedded.lock import CONFIG_FILE
from mq9_mcp.engine.embedded.tables import SCHEMA_VERSION, migrations
from mq9_mcp.settings import SETTINGS, Setting, flag, variable
from tools import docs_states
from tools.make_a2a_page import a2a_page
from tools.make_cli_page import cli_page
from tools.make_client_page import client_page
from tools.make_mcp_page import mcp_page

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
NOTE = "<!-- Made by `make docs` from the code; edits here are lost. -->"
MESSAGE_ID = (1, 2**53)

OBJECTS: dict[type, str] = {
    commands.SettingsArguments: "[settings](settings.md#mailbox-settings)",
    commands.Retention: "[retention](settings.md#retention)",
    commands.MessageArguments: "[message](#a-message-in-a-call)",
    commands.AckItem: "[item](#an-item-of-mailbox_ack)",
    **docs_states.OBJECTS,
}
ENGINE_OPTIONS = {
    "segment_bytes": "Size of a journal segment; its space is reserved when it is made.",
    "journal_bytes": "Journal that is kept after everything in it is in the tables. Bodies of unsettled mail "
    "keep their segments longer, by at most one and a half times the bytes of that mail.",
    "memory_limit": "Memory that DuckDB may use.",
    "fold_apart": "Fold in a process of its own; false: in a thread, for tests and short-lived brokers.",
    "disk": "The system calls under the journal; tests put failures there.",
}
TABLES = {
    "meta": "Numbers that the tables keep about themselves, such as the last record folded.",
    "mailboxes": "Mailboxes that live.",
    "groups": "Groups that live, and how far they have read old mail again.",
    "messages": "Every message that is retained, settled or not.",
    "open_deliveries": "What a group has touched and not settled: leases, attempts, backoff.",
    "deliveries": "What a group has settled, and how.",
    "dedup_keys": "Dedup keys that still count.",
    "agents": "Agents that are registered, with their cards.",
    "parked": "What parked messages wait for: the intent, and for whom; gone when an agent has it.",
    "vectors": "Vectors of the texts of cards, by model and text; what is lost is made again.",
    "sessions": "Sessions that are named, or that a second message joined, until long after their end.",
    **docs_states.TABLES,
}


# What GET /v1/events tells of each kind of event.
SHOWN = {
    "opened": "",
    "mailbox_created": "mailbox, agent?, expires_at?",
    "mailbox_updated": "mailbox, expires_at?",
    "mailbox_dropped": "mailbox, reason",
    "group_made": "mailbox, group, settled?",
    "group_ended": "mailbox, group, reason, settled?",
    "group_seen": "mailbox, group",
    "revived": "mailbox, group, ids",
    "sent": "messages: [{id, mailbox, from, priority, session?, deliver_at?, expires_at?}], "
    "answers?: [{id, in_reply_to}], withdrawn?, superseded?",
    "leased": "mailbox, group, ids, worker, leased_until",
    "acked": "mailbox, group, ids",
    "nacked": "mailbox, group, ids, reason?, waits_until",
    "released": "mailbox, group, ids",
    "extended": "mailbox, group, ids, leased_until",
    "lapsed": "mailbox, group, ids, waits_until?",
    "closed": "mailbox, group, ids, state, outcome?",
    "died": "mailbox, group?, ids, outcome?, reason, letter: {id, mailbox}",
    "expired": "mailbox, ids, held?",
    "due": "mailbox, ids, withdrawn?, superseded?",
    "deleted": "mailbox, ids",
    "redriven": "messages: [{letter, id, mailbox}]",
    "unparked": "mailbox, ids, tasks?",
    "pruned": "mailbox, count, bytes",
    "agent_registered": "mailbox, agent, version",
    "agent_status": "mailbox, agent, status, load?, note?",
    "agent_unregistered": "mailbox, agent",
    "session_closed": "session",
    "session_reopened": "session, turns_max",
    "task_opened": "mailbox, task, id, asker, timeout_at?; also to the asker's principal",
    "task_moved": "mailbox, task, state, by, entries?: [{kind, id?, reason?}]",
    "push_set": "task, push; to the asker's principal",
    "push_deleted": "task, push; to the asker's principal",
    "push_moved": "",
    "push_disabled": "task, push, trouble; to the asker's principal",
}


def pages() -> dict[str, str]:
    """Every reference page: file name and text."""
    made: dict[str, Callable[[], Iterable[str]]] = {
        "commands.md": _commands,
        "errors.md": _errors,
        "limits.md": _limits,
        "settings.md": _settings,
        "states.md": lambda: docs_states.page(_table),
        "events.md": _events,
        "schema.md": _schema,
        "rest.md": _rest,
        "cli.md": lambda: cli_page(_table, _code),
        "client.md": client_page,
        "mcp.md": lambda: mcp_page(_table),
        "a2a.md": lambda: a2a_page(_table),
    }
    return {name: "\n".join([NOTE, "", *make()]).rstrip() + "\n" for name, make in made.items()}


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        cells = (cell.replace("|", "\\|").replace("<", "&lt;") for cell in row)
        yield f"| {' | '.join(cells)} |"
    yield ""


def _same(words: dict[str, Any], known: Iterable[str], what: str) -> None:
    assert set(words) == set(known), f"{what}: words for {sorted(words)}, the code has {sorted(known)}"


def _number(value: float) -> str:
    return f"{value:,}"


# -- types in words


def _unwrap(kind: mi.Type) -> tuple[mi.Type, str]:
    """The type without its wrapping, and the help that hangs on it; ``null`` is as good as left out."""
    text = ""
    while True:
        if isinstance(kind, mi.Metadata):
            text = text or (kind.extra_json_schema or {}).get("description", "")
            kind = kind.type
        elif isinstance(kind, mi.UnionType) and kind.includes_none:
            rest = tuple(one for one in kind.types if not isinstance(one, mi.NoneType))
            kind = rest[0] if len(rest) == 1 else mi.UnionType(rest)
        else:
            return kind, text


# Values in the order in which people think of them; all others by alphabet.
_ORDERS: tuple[Sequence[str], ...] = (
    commands.TIERS,
    STATUSES,
    RUNGS,
    tuple(delivery.DeliveryState),
    tuple(delivery.Step),
    tuple(task.TaskState),
)


def _ordered(values: Sequence[Any]) -> Sequence[Any]:
    order = next((one for one in _ORDERS if set(values) <= set(one)), None)
    return sorted(values, key=order.index) if order else values


_PLAIN: dict[type, str] = {
    mi.BoolType: "true or false",
    mi.DateTimeType: "time",
    mi.DictType: "object",
    mi.AnyType: "anything",
}


def _type(kind: mi.Type) -> str:
    """A type in words."""
    kind, _ = _unwrap(kind)
    if isinstance(kind, mi.UnionType):
        return " or ".join(_type(one) for one in kind.types)
    if isinstance(kind, mi.ListType):
        return f"list of {_type(kind.item_type)}"
    if isinstance(kind, mi.LiteralType):
        return ", ".join(f"`{value}`" for value in _ordered(kind.values))
    if isinstance(kind, mi.StructType):
        return OBJECTS[kind.cls]
    if isinstance(kind, mi.StrType):
        return "address" if kind.pattern == names.ADDRESS_PATTERN else "string"
    if isinstance(kind, mi.IntType):
        return "message id" if (kind.ge, kind.lt) == MESSAGE_ID else "integer"
    if isinstance(kind, mi.FloatType):
        return "number"
    return _PLAIN[type(kind)]


def _bounds(kind: mi.Type) -> str:
    """The bounds of a type in words."""
    kind, _ = _unwrap(kind)
    if isinstance(kind, mi.UnionType):
        return "; ".join(dict.fromkeys(filter(None, map(_bounds, kind.types))))
    if isinstance(kind, mi.IntType | mi.FloatType):
        if kind.lt is not None or (kind.ge is None and kind.gt is None):
            return ""
        low = f"{_number(kind.ge)} to" if kind.ge is not None else f"over {_number(kind.gt or 0)}, up to"
        return f"{low} {_number(kind.le or 0)}"
    if isinstance(kind, mi.StrType) and kind.max_length is not None:
        return f"{kind.min_length or 0} to {_number(kind.max_length)} characters"
    if isinstance(kind, mi.ListType):
        inner = _bounds(kind.item_type)
        least, most = kind.min_length or 0, kind.max_length
        size = (
            f"{least} to {_number(most)} of them" if most is not None else f"at least {least}" * bool(least)
        )
        return ", each ".join(filter(None, (size, inner)))
    return ""


def _default(field: mi.Field) -> str:
    if field.required:
        return "required"
    if field.default in (None, NODEFAULT):
        return ""
    return f"`{json.dumps(field.default)}`"


def _fields(model: type, hidden: Sequence[str] = (), left_out: Sequence[str] = ()) -> Iterable[str]:
    """The table of a struct's fields."""
    kind = mi.type_info(model)
    assert isinstance(kind, mi.StructType)
    rows = []
    for field in kind.fields:
        if field.encode_name in left_out:
            continue
        text = _unwrap(field.type)[1]
        if field.encode_name in hidden:
            text += " Not shown to models."
        rows.append(
            (f"`{field.encode_name}`", _type(field.type), _bounds(field.type), _default(field), text.strip())
        )
    return _table(("argument", "type", "bounds", "default", "what"), rows)


# -- pages


def _commands() -> Iterable[str]:
    yield "# Commands\n"
    yield (
        "Every command of this version, with the arguments and replies that all doors will share. In this "
        "version they are called from Python: `await broker.call(Caller(principal, agent), name, "
        "arguments)`. `mq9 commands NAME` shows the same. The owner of a mailbox may do everything with it; "
        "anybody may send to the mailbox of an agent.\n"
    )
    yield (
        "Durations are numbers of seconds, fractions allowed where the type is `number`. A time is RFC 3339 "
        "with a zone. `null` is the same as leaving an argument out; an unknown argument is refused. What is "
        "marked as not shown to models will be left out of the tools that the MCP door offers. "
        f"An address is {names.ADDRESS_ACCEPTED}.\n"
    )
    yield from _table(
        ("command", "what it does"),
        ((f"[`{one.name}`](#{one.name})", one.help) for one in CATALOGUE.values()),
    )
    for entry in CATALOGUE.values():
        yield from _command(entry)
    yield "## A message in a call\n"
    yield "What `messages` of `mailbox_send` and `send` of `mailbox_ack` are made of.\n"
    yield from _fields(commands.MessageArguments, CATALOGUE["mailbox_send"].hidden)
    yield "## An item of mailbox_ack\n"
    yield from _fields(commands.AckItem)
    for heading, part in docs_states.objects():
        yield heading
        yield from _fields(part)
    yield "## Later\n"
    yield "Named by the contract, refused by name in this version:\n"
    yield from _table(("command", "belongs to"), ((f"`{name}`", what) for name, what in LATER.items()))


def _command(entry: Entry) -> Iterable[str]:
    yield f"## {entry.name}\n"
    yield (
        entry.help + (" For operators: not among a model's default tools." if entry.operators else "") + "\n"
    )
    yield f"Right: `{entry.action}` on the {entry.resource}.\n"
    yield "### Arguments\n"
    yield from _fields(entry.arguments, entry.hidden)
    yield "### Reply\n"
    yield from _table(("field", "what"), ((f"`{name}`", text) for name, text in entry.reply.items()))
    yield f"Errors: {', '.join(_code(code) for code in entry.errors)}.\n"
    for example in entry.examples:
        call = {"command": entry.name, "arguments": example.arguments}
        yield f"{example.says[0].upper()}{example.says[1:]}:\n"
        yield f"```json\n{json.dumps(call, indent=2)}\n```\n"


def _code(code: str) -> str:
    return f"[`{code}`](errors.md#{code.lower()})"


def _errors() -> Iterable[str]:
    yield "# Errors\n"
    yield (
        "One shape everywhere: `{code, message, hint?, details?}`. `message` names the value seen and the "
        "values accepted, `hint` the next call, `details` the same as data. In Python it is an `Mq9Error`: "
        "`Refused` is the caller's to mend, `Unavailable` is outside; after either nothing was changed.\n"
    )
    for code, one in CODES.items():
        yield f"## {code}\n"
        ends = f"exit code [{exit_code(code)}](cli.md#exit-codes)"
        yield f"{one.meaning} HTTP status {one.status}, {ends}.\n"
        users = [
            f"[`{name}`](commands.md#{name})" for name, entry in CATALOGUE.items() if code in entry.errors
        ]
        if len(users) == len(CATALOGUE):
            yield "Any command may be refused so.\n"
        elif users:
            yield f"Comes from {', '.join(users)}.\n"
        else:
            yield "No command of this version lists it.\n"


def _limits() -> Iterable[str]:
    yield "# Limits\n"
    yield (
        "Every bound and default, with the reason for it. Over a limit a call is refused, the refusal names "
        "limit and value, and nothing is stored. What a mailbox may be told otherwise is in "
        "[settings](settings.md).\n"
    )
    rows = (
        (f"`{name}`", _number(one.value), one.unit, "yes" if one.per_mailbox else "", one.reason)
        for name, one in LIMITS.items()
    )
    yield from _table(("limit", "value", "unit", "per mailbox", "why"), rows)


def _settings() -> Iterable[str]:
    yield "# Settings\n"
    yield from _server_settings()
    yield "## Mailbox settings\n"
    yield (
        "`settings` of [`mailbox_create`](commands.md#mailbox_create) and, later, of "
        "[`mailbox_update`](commands.md#mailbox_update). `ordered_by` and `exactly_once` change only while "
        "nothing is unsettled.\n"
    )
    kind = mi.type_info(commands.SettingsArguments)
    assert isinstance(kind, mi.StructType)
    defaults = events.Settings()
    rows = []
    for field in kind.fields:
        default = getattr(defaults, field.encode_name, None)
        shown = "[see below](#retention)" if field.encode_name == "retention" else f"`{json.dumps(default)}`"
        text = _unwrap(field.type)[1]
        rows.append(
            (
                f"`{field.encode_name}`",
                _type(field.type),
                _bounds(field.type),
                shown if shown != "`null`" else "",
                text,
            )
        )
    yield from _table(("setting", "type", "bounds", "default", "what"), rows)
    yield "## Retention\n"
    yield "Settled mail goes when either is exceeded, oldest settled first. Unsettled mail never goes.\n"
    yield from _fields(commands.Retention)
    yield "## Engine options\n"
    yield "Keyword arguments of `open_engine(folder, ...)`.\n"
    options = [one for one in inspect.signature(EmbeddedEngine).parameters.values() if one.name != "folder"]
    _same(ENGINE_OPTIONS, (one.name for one in options), "engine options")
    yield from _table(
        ("option", "default", "what"),
        ((f"`{one.name}`", _option_default(one.default), ENGINE_OPTIONS[one.name]) for one in options),
    )


def _server_settings() -> Iterable[str]:
    yield "## Server settings\n"
    yield (
        "What `mq9 serve` and a daemon are told. `log_level` is the flag `--log-level`, the variable "
        f"`MQ9_LOG_LEVEL` and the key `log_level` of a TOML file: the one that `{flag('config')}` or "
        f"`{variable('config')}` names, else `{CONFIG_FILE}` in the data directory. A flag counts before a "
        "variable, that before the file, that before the default. What is unknown, of a wrong type or out of "
        "bounds is refused. [Run the server](../how-to/run-the-server.md) has more.\n"
    )
    yield from _table(
        ("setting", "accepted", "unit", "default", "what", "why"),
        (
            (f"`{name}`", one.accepted, one.unit, _setting_default(one), one.help, one.reason)
            for name, one in SETTINGS.items()
        ),
    )


def _setting_default(one: Setting) -> str:
    if one.default is None:
        return ""
    return ", ".join(one.default) if one.kind is list else f"`{one.default}`"


def _option_default(value: Any) -> str:
    return _number(value) if isinstance(value, int) else "" if value is None else f"`{value}`"


def _events() -> Iterable[str]:
    yield "# Journal events\n"
    yield (
        f"What the journal records: record format version {events.RECORD_VERSION}. A change of shape is a "
        "new version with a migration. Times are integer milliseconds since 1970, fields at their defaults "
        "are left out. `mq9 journal DIR` shows the records of a data directory.\n"
    )
    yield "## Files\n"
    yield (
        f"A segment is a file of preallocated size: a header of {SEGMENT_HEADER} bytes (magic, record format "
        "version, segment number, first sequence, random salt, checksum), then one frame after another. A "
        f"frame is one commit: a header of {FRAME_HEADER} bytes (magic, CRC-32 over salt and content, "
        "length, number of records, first sequence, SHA-256 of the commit before it), then its records. A "
        f"record is one command: {RECORD_HEADER} bytes with two lengths, the events as a JSON list, the "
        "bodies of the messages that they store.\n"
    )
    yield "## Events\n"
    kinds = get_args(events.AnyEvent)
    yield from _table(
        ("event", "what happened"),
        ((f"[`{_tag(kind)}`](#{_tag(kind)})", _doc(kind).split(". ")[0].rstrip(".")) for kind in kinds),
    )
    for kind in kinds:
        yield f"### {_tag(kind)}\n"
        yield _doc(kind) + "\n"
        yield from _struct(kind)
    yield "## What events are made of\n"
    for part in (events.Settings, events.Mail, events.Extra, events.Letter, events.DedupKey, events.Step):
        yield f"### {part.__name__}\n"
        form = " Written as a list in this order." if part.__struct_config__.array_like else ""
        yield _doc(part) + form + "\n"
        yield from _struct(part)


def _tag(kind: type[Any]) -> str:
    return str(kind.__struct_config__.tag)


def _doc(thing: type) -> str:
    """A docstring as a paragraph."""
    return " ".join((inspect.getdoc(thing) or "").replace("``", "`").split())


def _struct(kind: type[Any]) -> Iterable[str]:
    info = mi.type_info(kind)
    assert isinstance(info, mi.StructType)
    rows = [
        (f"`{one.encode_name}`", f"`{_annotation(kind, one.name)}`", _field_default(one))
        for one in info.fields
    ]
    return _table(("field", "type", "default"), rows)


def _annotation(kind: type, name: str) -> str:
    """The type of a field as the source has it."""
    return str(
        next(base.__annotations__[name] for base in kind.__mro__ if name in inspect.get_annotations(base))
    )


def _field_default(field: mi.Field) -> str:
    if field.required:
        return "always there"
    if field.default_factory is not NODEFAULT:
        return "`[]`"
    return f"`{json.dumps(field.default)}`"


def _schema() -> Iterable[str]:
    yield "# Tables\n"
    yield (
        f"The tables in `mq9.duckdb`, schema version {SCHEMA_VERSION}: what the journal is folded into. Look "
        "at them while no broker has the data directory open; nothing but the broker may write to them.\n"
    )
    steps = migrations()
    con = duckdb.connect(":memory:")
    for _, text in steps:
        con.execute(text)
    columns = con.execute(
        "select table_name, column_name, lower(data_type), is_nullable from duckdb_columns() "
        "where not internal order by table_oid, column_index"
    ).fetchall()
    con.close()
    _same(TABLES, (row[0] for row in columns), "tables")
    notes = _notes("\n".join(text for _, text in steps))
    for table in dict.fromkeys(row[0] for row in columns):
        yield f"## {table}\n"
        yield TABLES[table] + "\n"
        yield from _table(
            ("column", "type", "null", "note"),
            (
                (f"`{column}`", kind, "yes" if null else "", notes.get((table, column), ""))
                for name, column, kind, null in columns
                if name == table
            ),
        )


def _rest() -> Iterable[str]:
    yield "# REST\n"
    yield (
        "`POST /v1/{command}` executes a command: the body is its arguments as one JSON object (no body: "
        "none), the answer its reply. Names, types and defaults are those of the "
        "[commands](commands.md). [Call over HTTP](../how-to/call-over-http.md) shows it with curl. "
        "`GET /v1/openapi.json` is all of it as OpenAPI 3.1, with the schema of every reply.\n"
    )
    yield from _table(
        ("path", "what it does"),
        (
            *(
                (f"`POST /v1/{one.name}`", f"{one.help} [Arguments](commands.md#{one.name})")
                for one in CATALOGUE.values()
            ),
            ("`GET /v1/events`", "What happens, as server-sent events. [See below](#events)"),
            (
                "`GET /v1/tasks/{id}/events`",
                "A task and every later entry of its history, as server-sent events. "
                "[See below](#events-of-a-task)",
            ),
            ("`GET /v1/openapi.json`", "REST as OpenAPI 3.1."),
        ),
    )
    yield "## Headers\n"
    yield from _table(
        ("header", "what"),
        (
            ("`Content-Type`", "`application/json`; nothing else is taken for a body."),
            (
                "`Mq9-Agent`",
                "The agent that the caller acts as: an address. Without it, the caller is `principal:local`.",
            ),
            ("`Authorization`", "Refused with 401: a broker without keys cannot check a credential."),
        ),
    )
    yield (
        f"`{COMMAND}` of one message takes these too, each instead of the argument that it stands for. "
        "Beside that argument, beside `messages` and with any other command they are refused; so is a value "
        "that the argument would not take, and any other header that begins with `mq9-`.\n"
    )
    yield from _table(
        ("header", "argument", "what"),
        ((f"`{name}`", f"`{one.argument}`", one.help) for name, one in HEADERS.items()),
    )
    yield "## Refusals\n"
    yield (
        'The body is `{"error": {code, message, hint?, details?}}`, the status that of the '
        "[code](errors.md). What is no command answers 400 and says what there is, a wrong method 405 with "
        "`Allow`. What passes by itself comes with `Retry-After`.\n"
    )
    statuses: dict[int, list[str]] = {}
    for code, one in CODES.items():
        statuses.setdefault(one.status, []).append(_code(code))
    yield from _table(
        ("status", "codes"), ((str(status), ", ".join(codes)) for status, codes in statuses.items())
    )
    yield "## Hanging up\n"
    yield (
        "A call that waits ends when its caller hangs up: a waiting fetch takes nothing. Leases of a reply "
        "that could not be written are given back at once, and no attempt is counted. Whatever else was "
        "stored stays stored: repeat a send with the same `dedup_key`, an ack with the same leases.\n"
    )
    yield "## Events\n"
    yield (
        "`GET /v1/events?after=SEQUENCE` tells every record of the journal after that one with something to "
        "see for the caller: events of mailboxes that its principal owns, and messages that it sent. No "
        "bodies, no leases. Without `after` it begins now; `Last-Event-ID` counts before `after`. An "
        "`after` that the journal does not reach back to is refused, and the refusal names the first that "
        "can be had.\n"
    )
    yield (
        f"The data of an event is `{{seq, at, events}}`, its id the sequence. Every {HEARTBEAT_S} seconds a "
        "comment comes with the id of the last record, so a reader that comes back does not read again what "
        "was not for it. A reader so slow that the journal went on without it gets an event `error` with "
        "the error shape, and the stream ends; it also ends when the broker stops.\n"
    )
    kinds = get_args(events.AnyEvent)
    _same(SHOWN, map(_tag, kinds), "shown events")
    yield from _table(
        ("event", "what happened", "what is told"),
        (
            (f"[`{tag}`](events.md#{tag})", _doc(kind).split(". ")[0].rstrip("."), SHOWN[tag])
            for kind in kinds
            if SHOWN[tag := _tag(kind)]
        ),
    )
    yield "## Events of a task\n"
    yield (
        "`GET /v1/tasks/{id}/events` tells a task's life to whoever may call "
        "[`task_get`](commands.md#task_get) for it. The data of the first event is `{task}`, the task as it "
        "stands; of each later one `{entry}`, an entry of its `history`. The id of an event is the number of "
        "the last entry that it tells, so `Last-Event-ID` or `?after=NUMBER` goes on behind it, without the "
        "task; `after=0` tells the whole history. A number that the history does not reach is refused.\n"
    )
    yield (
        "The stream ends after the entry that ends the task. Who comes back after that one gets 204, which "
        "tells a browser not to come again. Heartbeats, errors and the end of the broker are as above.\n"
    )


def _notes(sql: str) -> dict[tuple[str, str], str]:
    """The comments behind columns, by table and column."""
    found, table = {}, ""
    for line in sql.splitlines():
        if made := re.match(r"create table (\w+)", line):
            table = made[1]
        elif note := re.match(r"\s+(\w+) .*--\s*(.*)", line):
            found[table, note[1]] = note[2]
    return found


def main() -> None:
    """Write the pages, and remove those that are not made any more."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    made = pages()
    for path in REFERENCE.glob("*.md"):
        if path.name not in made and path.read_text(encoding="utf-8").startswith(NOTE):
            path.unlink()
    for name, text in made.items():
        (REFERENCE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
