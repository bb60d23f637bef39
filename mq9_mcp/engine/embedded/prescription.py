"""What the doctor found and did, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator

from mq9_mcp.engine.embedded.doctor import Finding, Report, span
from mq9_mcp.engine.embedded.repair import Repaired

SINGULAR = {"segments": "segment", "mailboxes": "mailbox", "messages": "message"}


def written(report: Report, repaired: Repaired | None = None) -> Iterator[str]:
    """The whole report; after a repair what was found, what was done, what is lost, and how it is now."""
    if repaired is not None and repaired.before is not report:
        for finding in repaired.before.findings:
            if finding.kind == "damage":
                yield from _finding(finding)
        yield from (f"done: {line}" for line in repaired.done)
        yield from (f"lost: {line}" for line in repaired.lost)
        if not repaired.lost:
            yield "lost: nothing that was in the tables or in the journal"
    for finding in report.findings:
        yield from _finding(finding)
    yield _standing(report)


def _finding(finding: Finding) -> Iterator[str]:
    where = finding.file
    if finding.offset is not None:
        where += f" at byte {finding.offset}"
    if finding.records is not None:
        where += f", {span(*finding.records)}"
    yield f"{finding.kind}: {where}: {finding.what}"
    yield f"  means: {finding.means}"
    if finding.next:
        yield f"  next: {finding.next}"


def _standing(report: Report) -> str:
    survey, tables = report.survey, report.tables
    parts = [_counted(len(survey.segments), "segments")]
    if survey.first:
        parts.append(f"records {survey.first} to {survey.last}")
    if tables.there:
        parts.append(f"tables up to record {tables.folded}")
    parts += [_counted(tables.rows[name], name) for name in ("mailboxes", "messages") if name in tables.rows]
    return f"{report.folder}: {'sound' if report.sound else 'damaged'} ({', '.join(parts)})"


def _counted(count: int, names: str) -> str:
    return f"{count} {names}" if count != 1 else f"1 {SINGULAR[names]}"
