"""A data directory looked over from end to end: what is damaged, what it means, what to do. Reads only.

A start ends at the first damage; the doctor finds all of it and reads what a start does not: every
row of the tables, every segment of the journal. It owns the directory meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from mq9_mcp.engine.embedded.fold import FOLDED_MARK, mark_of
from mq9_mcp.engine.embedded.frame import Damaged, Newer
from mq9_mcp.engine.embedded.load import Replay
from mq9_mcp.engine.embedded.lock import LOCK_FILE, OwnerLock
from mq9_mcp.engine.embedded.segments import JOURNAL_FOLDER
from mq9_mcp.engine.embedded.survey import Hurt, Survey, Surveyed, survey_journal
from mq9_mcp.engine.embedded.tables import (
    MEMORY_LIMIT,
    SCHEMA_VERSION,
    SQL,
    TABLES_FILE,
    Tables,
    configuration,
    log_of,
    patiently,
)

DAMAGED_PREFIX = "damaged-"
TABLES = (
    *("meta", "mailboxes", "groups", "messages", "open_deliveries", "deliveries", "dedup_keys"),
    *("tasks", "task_events", "task_messages"),
)
ROWS = 20_000

DAMAGE, NOTE = "damage", "note"
REPAIR = "mq9 doctor --repair"
REBUILT = f"nothing is lost: {REPAIR} builds the tables anew from the journal"


class Finding(NamedTuple):
    """One thing found. ``records`` are the first and last concerned, the last 0 where nobody knows."""

    kind: str
    file: str
    what: str
    means: str
    next: str = ""
    offset: int | None = None
    records: tuple[int, int] | None = None

    def as_dict(self) -> dict[str, Any]:
        """For programs; what is absent is left out."""
        fields = {name: value for name, value in self._asdict().items() if value not in (None, "")}
        if self.records is not None:
            last = self.records[1]
            fields["records"] = {"first": self.records[0]} | ({"last": last} if last else {})
        return fields


class TablesFound:
    """What DuckDB's file turned out to be."""

    def __init__(self) -> None:
        self.there = False
        self.problem = ""  # why it is of no use as a whole
        self.unreadable: dict[str, str] = {}  # tables that cannot be read, and why
        self.loose: list[str] = []  # rows that do not fit together
        self.folded = 0
        self.mark = 0
        self.rows: dict[str, int] = {}

    @property
    def sound(self) -> bool:
        """True if every row of it can be read."""
        return self.there and not self.problem and not self.unreadable and not self.loose


class Report:
    """Everything that was found in one data directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.survey = Survey()
        self.tables = TablesFound()
        self.findings: list[Finding] = []

    @property
    def sound(self) -> bool:
        """True if a broker opens the directory and finds everything in it."""
        return not any(finding.kind == DAMAGE for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        survey = self.survey
        journal = {"segments": len(survey.segments), "first_record": survey.first, "last_record": survey.last}
        tables = {"folded_record": self.tables.folded, "rows": self.tables.rows}
        return {
            "directory": str(self.folder),
            "sound": self.sound,
            "journal": journal,
            "tables": tables,
            "findings": [finding.as_dict() for finding in self.findings],
        }


def examine(folder: Path) -> Report:
    """Look ``folder`` over; raises ``Unavailable`` if a broker has it open, ``Newer`` if it is from one."""
    if not is_data_directory(folder):
        raise FileNotFoundError(f"there is no data directory in {folder}")
    lock = OwnerLock(folder)
    try:
        return examine_owned(folder)
    finally:
        lock.release()


def is_data_directory(folder: Path) -> bool:
    """True if there is anything of a broker in ``folder``."""
    return any((folder / name).exists() for name in (JOURNAL_FOLDER, TABLES_FILE, LOCK_FILE))


def examine_owned(folder: Path) -> Report:
    """Look a directory over that the caller owns."""
    report = Report(folder)
    report.survey = survey_journal(folder / JOURNAL_FOLDER)
    report.tables = survey_tables(folder / TABLES_FILE)
    report.findings += _journal_findings(report)
    report.findings += _tables_findings(report)
    report.findings += _foreign_findings(report)
    if report.sound:
        report.findings += _start_findings(report)
    return report


# -- the tables


def open_read_only(path: Path) -> duckdb.DuckDBPyConnection:
    """DuckDB's file and log, which stay as they are."""
    return patiently(lambda: duckdb.connect(str(path), read_only=True, config=configuration(MEMORY_LIMIT)))


def survey_tables(path: Path) -> TablesFound:
    """Read every row of every table."""
    found = TablesFound()
    found.there = path.exists() and path.stat().st_size > 0
    if not found.there:
        found.problem = "it is missing" if not path.exists() else "it is empty"
        if log_of(path).exists():
            found.problem += f", and its log {log_of(path).name} is there"
        return found
    try:
        with closing(open_read_only(path)) as con:
            _survey_rows(con, found)
            if not found.unreadable and not found.problem:
                _survey_sense(con, found)
    except duckdb.Error as error:
        found.problem = f"DuckDB cannot open it: {_line(error)}"
    return found


def _survey_rows(con: duckdb.DuckDBPyConnection, found: TablesFound) -> None:
    known = {name for (name,) in con.execute("select table_name from duckdb_tables()").fetchall()}
    missing = [name for name in TABLES if name not in known]
    if missing:
        found.problem = f"it has no table {', '.join(missing)}: it is not of a broker, or was emptied"
        return
    for name in TABLES:
        count = 0
        try:
            cursor = con.execute(f"select * from {name}")
            while rows := cursor.fetchmany(ROWS):
                count += len(rows)
                if name == "meta":
                    _read_meta(dict(rows), found)
        except duckdb.Error as error:
            found.unreadable[name] = _line(error)
        else:
            found.rows[name] = count


def _read_meta(meta: dict[str, int], found: TablesFound) -> None:
    version = meta.get("schema_version", 0)
    if version > SCHEMA_VERSION:
        raise Newer(f"{TABLES_FILE}: has schema version {version}, this one knows {SCHEMA_VERSION}")
    found.folded = meta.get("folded_seq", 0)
    found.mark = meta.get(FOLDED_MARK, 0)


def _survey_sense(con: duckdb.DuckDBPyConnection, found: TablesFound) -> None:
    for table, count in con.execute(SQL["twice"]).fetchall():
        if count:
            found.loose.append(f"{count} rows of {table} stand there twice")
    for what, count in con.execute(SQL["astray"]).fetchall():
        if count:
            found.loose.append(f"{count} {what}")


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [repr(error)])[0]


# -- what it means


def span(first: int, last: int) -> str:
    """Records in words."""
    if not last:
        return f"records from {first} on"
    return f"record {first}" if first == last else f"records {first} to {last}"


def _journal_findings(report: Report) -> Iterator[Finding]:
    for number, first, last in report.survey.missing:
        file = f"{JOURNAL_FOLDER}/{number:010d}.mq9"
        means, then = _meaning(report, first, last)
        yield Finding(DAMAGE, file, "the segment is missing", means, then, records=(first, last))
    for one in report.survey.segments:
        file = f"{JOURNAL_FOLDER}/{one.path.name}"
        for hurt in one.hurts:
            yield _hurt_finding(report, one, hurt, file)
        for note in one.notes:
            yield Finding(NOTE, file, note, "nothing that was acknowledged is in it")


def _hurt_finding(report: Report, one: Surveyed, hurt: Hurt, file: str) -> Finding:
    if not hurt.offset and one.header is not None:
        means = "its checksum tells the header that was written, and its commits were read with it"
        return Finding(DAMAGE, file, hurt.what, means, REPAIR, 0)
    means, then = _meaning(report, hurt.first, hurt.last)
    return Finding(DAMAGE, file, hurt.what, means, then, hurt.offset, (hurt.first, hurt.last))


def _meaning(report: Report, first: int, last: int) -> tuple[str, str]:
    """What it means that these records cannot be read, and what to do."""
    tables = report.tables
    if tables.sound and last and last <= tables.folded:
        return f"nothing is lost: the tables have {span(first, last)}", REPAIR
    copy = f"restore a copy of the whole directory; or go on without them: {REPAIR}"
    if not tables.sound:
        return f"nobody has {span(first, last)}, as the tables are damaged too", copy
    lost = span(max(first, tables.folded + 1), last)
    if not last:
        return f"lost: {lost}, if there were any; the tables have all before", copy
    return f"lost: {lost}; what was changed then is as if it had never happened", copy


def _tables_findings(report: Report) -> Iterator[Finding]:
    tables, survey = report.tables, report.survey
    if not tables.there and not survey.segments and not tables.problem.count("log"):
        return  # a directory in which nothing has begun
    means, then = _tables_meaning(report)
    if tables.problem:
        if tables.problem == "it is missing" and survey.first == 1 and survey.sound:
            yield Finding(NOTE, TABLES_FILE, tables.problem, "the next start builds it from the journal")
            return
        yield Finding(DAMAGE, TABLES_FILE, tables.problem, means, then)
        return
    for name, why in tables.unreadable.items():
        yield Finding(DAMAGE, TABLES_FILE, f"table {name} cannot be read: {why}", means, then)
    for what in tables.loose:
        yield Finding(DAMAGE, TABLES_FILE, f"its rows do not fit together: {what}", means, then)
    if tables.sound:
        yield from _fit_findings(report)


def _tables_meaning(report: Report) -> tuple[str, str]:
    survey, tables = report.survey, report.tables
    if survey.first == 1 and survey.sound:
        return REBUILT, REPAIR
    copy = f"restore a copy of the whole directory; or go on with what is left: {REPAIR}"
    if not survey.first:
        return "the journal has nothing to build it from: lost is what cannot be read", copy
    if tables.problem or "meta" in tables.unreadable:
        means = (
            f"the journal begins with record {survey.first}; lost: what was settled before, and what has "
            "waited since, with the mailboxes, groups and dedup keys of that time, where the journal does "
            "not speak of them"
        )
        return means, copy
    return f"lost: rows that cannot be read and are older than record {survey.first}", copy


def _fit_findings(report: Report) -> Iterator[Finding]:
    """Do journal and tables belong together?"""
    tables, survey = report.tables, report.survey
    last = survey.last or max((one.last_seq for one in survey.segments), default=0)
    if last < tables.folded and survey.sound:
        what = f"the journal ends with record {last}, the tables hold {tables.folded}"
        means = "its last segments are missing or were cut; what came after is lost, if anything did"
        yield Finding(DAMAGE, JOURNAL_FOLDER, what, means, REPAIR, records=(last + 1, 0))
    if survey.first > tables.folded + 1:
        what = f"the journal begins with record {survey.first}, the tables end with {tables.folded}"
        means, then = _meaning(report, tables.folded + 1, survey.first - 1)
        yield Finding(
            DAMAGE, JOURNAL_FOLDER, what, means, then, records=(tables.folded + 1, survey.first - 1)
        )
    if not belongs(report):
        what = f"record {tables.folded} is not the same in the tables and in the journal"
        means = "one of them is of another directory, or of an older copy of this one"
        then = "put back the one that belongs here; or restore a copy of both"
        yield Finding(DAMAGE, TABLES_FILE, what, means, then, records=(tables.folded, tables.folded))


def belongs(report: Report) -> bool:
    """True unless the tables end with a commit that is another one in the journal."""
    tables = report.tables
    if not tables.mark:
        return True
    for one in report.survey.segments:
        for frame in one.frames() if one.last_seq >= tables.folded else ():
            if frame.first_seq > tables.folded + 1:
                return True
            if frame.first_seq == tables.folded + 1:
                return mark_of(frame.previous) == tables.mark
            if frame.first_seq + frame.records - 1 == tables.folded:
                return mark_of(frame.hash) == tables.mark
    return True


def _foreign_findings(report: Report) -> Iterator[Finding]:
    """Files that no broker made. One that is named like a segment keeps a broker from starting."""
    known = {JOURNAL_FOLDER, TABLES_FILE, log_of(Path(TABLES_FILE)).name, f"{TABLES_FILE}.tmp", LOCK_FILE}
    for path in sorted(report.folder.iterdir()):
        if path.name.startswith(DAMAGED_PREFIX):
            means = "what an earlier repair moved aside; delete it when you miss nothing"
            yield Finding(NOTE, path.name, "is kept", means)
        elif path.name not in known:
            yield Finding(NOTE, path.name, "is not of the broker", "it is left alone")
    for path in report.survey.foreign:
        file = f"{JOURNAL_FOLDER}/{path.name}"
        if path.suffix == ".mq9":
            what = "is named like a segment and is none"
            yield Finding(
                DAMAGE, file, what, "no broker starts while it lies there", f"move it away, or {REPAIR}"
            )
        else:
            yield Finding(NOTE, file, "is not of the broker", "it is left alone")


def _start_findings(report: Report) -> Iterator[Finding]:
    """Everything is sound by itself: does it make a state, as a start would make it?"""
    if not report.tables.there:
        return
    try:
        with closing(open_read_only(report.folder / TABLES_FILE)) as con:
            replay = Replay(Tables.over(con))
            for one in report.survey.segments:
                for frame in one.frames():
                    replay(one.segment(), frame)
    except duckdb.Error as error:
        report.tables.loose.append(f"an index: {_line(error)}")
        means, then = _tables_meaning(report)
        yield Finding(DAMAGE, TABLES_FILE, _line(error), means, then)
    except Damaged as error:
        means = "a broker does not start on it; this may be a fault of mq9-mcp itself"
        yield Finding(DAMAGE, TABLES_FILE, _line(error), means, "keep a copy, and report it")
