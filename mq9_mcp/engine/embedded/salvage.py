"""What can be read of damaged tables, and tables of which a part is lost brought into a shape that works.

Nothing is guessed that could lose mail: what is not known to be settled is delivered again.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from mq9_mcp.domain import events as e
from mq9_mcp.domain.names import DEFAULT_GROUP
from mq9_mcp.engine.embedded.doctor import TABLES, TablesFound, open_read_only
from mq9_mcp.engine.embedded.fold import FOLDED_MARK
from mq9_mcp.engine.embedded.replay import Entry
from mq9_mcp.engine.embedded.rows import NUMBERS
from mq9_mcp.engine.embedded.tables import SCHEMA_VERSION, Tables

WINDOW = 2_048  # rows that are read, or given up, together
IDS_SKIPPED = 2**32  # ids that may have been given out and are not known any more
NUMBERS_SKIPPED = 2**20
KEYS = {
    "mailboxes": ("number",),
    "groups": ("number",),
    "messages": ("id",),
    "open_deliveries": ("grp", "message"),
    "deliveries": ("grp", "message"),
    "dedup_keys": ("mailbox", "key", "message"),
    "agents": ("name",),
    "sessions": ("name",),
    "tasks": ("id",),
    "task_events": ("task", "number"),
    "task_messages": ("message",),
    "vectors": ("model", "version", "text_hash"),
    "parked": ("message",),
    "pushes": ("task", "id"),
}
RECOVERED = "recovered-"


def salvage_rows(path: Path, found: TablesFound, tables: Tables, help_out: Path | None) -> list[str]:
    """Copy every row that can be read into new ``tables``; says what could not.

    ``help_out``: tables of the same record that were folded from the part of the journal that is left.
    """
    missing: dict[str, int] = {}
    with closing(open_read_only(path)) as con:
        for name in [name for name, since in TABLES.items() if since <= found.version]:
            missing[name] = _copy(con, name, tables, whole=name not in found.unreadable)
    tables.set_meta(schema_version=SCHEMA_VERSION)
    if help_out is not None:
        tables.con.execute(f"attach '{help_out}' as journal (read_only)")
        for name in found.unreadable:
            missing[name] -= _add(name, tables)
        tables.con.execute("detach journal")
    return [
        f"{count} rows of {name}, which could not be read and are not in the journal"
        for name, count in missing.items()
        if count > 0
    ]


def _copy(con: duckdb.DuckDBPyConnection, name: str, tables: Tables, whole: bool) -> int:
    """Copy one table, in windows where it is damaged; returns how many rows could not be read."""
    total, kept = _count(con, name), 0
    if name == "meta":
        tables.con.execute("delete from meta")
    for start in range(0, total, max(1, total) if whole else WINDOW):
        part = "" if whole else f" where rowid between {start} and {start + WINDOW - 1}"
        try:
            rows = con.execute(f"select * from {name}{part}").fetchall()
        except duckdb.Error:
            continue
        tables.append(name, rows)
        kept += len(rows)
    return total - kept


def _add(name: str, tables: Tables) -> int:
    """Add the rows that only the journal's tables have; returns how many."""
    before = _count(tables.con, name)
    same = " and ".join(f"mine.{one} = theirs.{one}" for one in KEYS[name])
    tables.con.execute(
        f"insert into {name} select * from journal.{name} theirs anti join {name} mine on {same}"
    )
    return _count(tables.con, name) - before


def _count(con: duckdb.DuckDBPyConnection, name: str) -> int:
    found = con.execute(f"select count(*) from {name}").fetchone()
    return int(found[0]) if found else 0


class Memory:
    """What the records that could be read say of mailboxes and groups whose beginning is lost."""

    def __init__(self) -> None:
        self.updates: dict[int, e.MailboxUpdated] = {}
        self.ended: set[int] = set()
        self.dropped: set[int] = set()
        self.names: dict[int, str] = {}
        self.addresses: dict[int, str] = {}
        self._mailboxes: dict[int, int] = {}  # message: mailbox
        self.last_id = 0

    def see(self, entry: Entry) -> None:
        """One more record."""
        for event in entry.events:
            if isinstance(event, e.MailboxUpdated):
                self.updates[event.mailbox] = event
            elif isinstance(event, e.MailboxDropped):
                self.dropped.add(event.mailbox)
            elif isinstance(event, e.GroupEnded):
                self.ended.add(event.group)
            elif isinstance(event, e.Died):
                self._see_letter(event)
            self._see_ids(event)

    def _see_letter(self, event: e.Died) -> None:
        """A dead letter names the mailbox and the group that it comes from."""
        letter = event.copy.extra.letter if event.copy.extra is not None else None
        if letter is not None:
            self.addresses[event.mailbox] = letter.source
            if event.group is not None:
                self.names[event.group] = letter.group
        self.last_id = max(self.last_id, event.copy.id)

    def _see_ids(self, event: e.Event) -> None:
        mails = getattr(event, "mails", [])
        ids = [mail.id for mail in mails] + list(getattr(event, "ids", [])) + [getattr(event, "id", 0)]
        self.last_id = max(self.last_id, *ids)


def mend(tables: Tables, memory: Memory, seq: int, at: int, owner: str) -> list[str]:
    """Make tables with holes work: what belongs to nothing goes, what is needed is made; says what was."""
    for name in ("mend_open", "mend_deliveries", "mend_delivery_mailboxes", "mend_agents"):
        tables.run(name)
    tables.run("mend_ending", [seq, at])
    tables.run("mend_parked", [seq, at])
    for name in ("mend_tasks", "mend_task_messages", "forget_pushes"):
        tables.run(name)
    said = [_mend_mailbox(tables, memory, number, at, owner) for number in _lost_mailboxes(tables, memory)]
    said += _mend_groups(tables, memory, at)
    _skip_numbers(tables, memory)
    return said


def _lost_mailboxes(tables: Tables, memory: Memory) -> list[int]:
    return [number for (number,) in tables.rows("lost_mailboxes") if number not in memory.dropped]


def _mend_mailbox(tables: Tables, memory: Memory, number: int, at: int, owner: str) -> str:
    """Make a mailbox again of which only the number is known, and perhaps its address and settings."""
    taken = {address for _, address in tables.rows("addresses")}
    address = memory.addresses.get(number, f"{RECOVERED}{number}")
    while address in taken:
        address = f"{RECOVERED}{address}"
    update = memory.updates.get(number)
    settings = update.settings if update is not None else e.Settings()
    encoded = msgspec.json.encode(settings).decode()
    described = update.description if update is not None else "made again by mq9 doctor"
    expires_at = update.expires_at if update is not None else None
    tables.run("insert_mailbox", [number, address, owner, described, encoded, at, expires_at, False])
    known = "its settings are known" if update is not None else "with default settings"
    return f"mailbox {number} is {address} now, owned by {owner}, {known}"


def _mend_groups(tables: Tables, memory: Memory, at: int) -> list[str]:
    """Make groups again of which only the number is known.

    One that is alone in its mailbox is taken for ``default``, as nearly every mailbox has no other.
    """
    lost: dict[int, list[int]] = {}
    for group, mailbox in tables.rows("lost_groups"):
        if group not in memory.ended and mailbox not in memory.dropped:
            lost.setdefault(mailbox, []).append(group)
    names: dict[int, set[str]] = {}
    for mailbox, name in tables.rows("group_names"):
        names.setdefault(mailbox, set()).add(name)
    said = []
    for mailbox, groups in lost.items():
        taken = names.setdefault(mailbox, set())
        alone = len(groups) == 1 and not taken
        for group in groups:
            name = memory.names.get(group, DEFAULT_GROUP if alone else f"{RECOVERED}{group}")
            name = f"{RECOVERED}{group}" if name in taken else name
            taken.add(name)
            tables.run("mend_groups", [group, mailbox, name, at])
            said.append(f"group {group} of mailbox {mailbox} is {name} now")
    return said


def _skip_numbers(tables: Tables, memory: Memory) -> None:
    """Numbers that were given out once are never given out again, also where nobody knows them."""
    largest: tuple[Any, ...] = tables.rows("largest_numbers")[0]
    least = (max(largest[0], memory.last_id) + IDS_SKIPPED, *(one + NUMBERS_SKIPPED for one in largest[1:]))
    numbers = {name: max(tables.meta(name), number) for name, number in zip(NUMBERS, least, strict=True)}
    tables.set_meta(**numbers, **{FOLDED_MARK: 0})
