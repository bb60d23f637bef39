"""What the doctor found, mended: tables built anew from the journal, damaged files moved aside.

Nothing is deleted. Whatever is replaced lies in ``damaged-<time>/`` in the data directory afterwards.
Each step leaves a directory that can be repaired again: the tables come first, the segments after them.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

from mq9_mcp.domain.errors import Unavailable
from mq9_mcp.engine.embedded.disk import Disk
from mq9_mcp.engine.embedded.doctor import (
    DAMAGED_PREFIX,
    Report,
    belongs,
    examine_owned,
    is_data_directory,
    span,
)
from mq9_mcp.engine.embedded.fold import Fold
from mq9_mcp.engine.embedded.frame import Damaged
from mq9_mcp.engine.embedded.journal import SEGMENT_BYTES
from mq9_mcp.engine.embedded.lock import OwnerLock
from mq9_mcp.engine.embedded.replay import Entry
from mq9_mcp.engine.embedded.salvage import Memory, mend, salvage_rows
from mq9_mcp.engine.embedded.segments import (
    JOURNAL_FOLDER,
    OFFSET_BITS,
    close_segments,
    create_segment,
    segment_path,
)
from mq9_mcp.engine.embedded.survey import Surveyed
from mq9_mcp.engine.embedded.tables import TABLES_FILE, Tables, log_of

FOLD_RECORDS = 1_000  # in one transaction
BUILT = "built.duckdb"
OTHER = "journal.duckdb"  # what the journal alone tells; deleted when it has helped out
SEQ_SKIPPED = 1_000_000  # records that may have been written and are not known any more: fences go on above


class Repaired:
    """What a repair did: ``done`` step by step, ``lost`` for good, and the report of what is there now."""

    def __init__(self, before: Report) -> None:
        self.before = before
        self.after = before
        self.aside: Path | None = None
        self.done: list[str] = []
        self.lost: list[str] = []

    def as_dict(self) -> dict[str, Any]:
        """For programs: what was found before, what was done, what is lost."""
        found = [finding.as_dict() for finding in self.before.findings if finding.kind == "damage"]
        aside = {"aside": str(self.aside)} if self.aside is not None else {}
        return {"repaired": found, "done": self.done, "lost": self.lost} | aside


def repair(folder: Path, owner: str = "local") -> Repaired:
    """Examine ``folder`` and mend what is damaged; ``owner`` gets mailboxes whose owner is lost."""
    if not is_data_directory(folder):
        raise FileNotFoundError(f"there is no data directory in {folder}")
    lock = OwnerLock(folder)
    try:
        report = examine_owned(folder)
        repaired = Repaired(report)
        if not report.sound:
            if not belongs(report):
                raise Damaged(
                    f"{TABLES_FILE} and the journal do not belong together, and nobody but you knows which "
                    "one is right: put back the one that belongs here, or move one of them away"
                )
            Repair(folder, repaired, owner).run()
            repaired.after = examine_owned(folder)
        return repaired
    finally:
        lock.release()


class Repair:
    """One repair of a directory that is owned and was examined."""

    def __init__(self, folder: Path, repaired: Repaired, owner: str) -> None:
        self.folder = folder
        self.path = folder / TABLES_FILE
        self.journal = folder / JOURNAL_FOLDER
        self.out = repaired
        self.owner = owner
        self.survey = repaired.before.survey
        self.tables = repaired.before.tables
        self.aside = _new_folder(folder)
        repaired.aside = self.aside
        self._disk = Disk()
        self._named = 0  # the last segment that the tables name

    def run(self) -> None:
        """All steps, in the order in which an end half way does no harm."""
        kept = self._kept_segments()
        replaced = [one for one in self.survey.segments if one not in kept]
        folded = self._bring_up(anew=not kept)
        for path in [path for path in self.survey.foreign if path.suffix == ".mq9"]:
            self._move(path)
        for one in replaced:
            self._move(one.path)
        if not kept:
            self._begin_segment(folded + 1)
        self._disk.sync_folder(self.folder)
        if not any(self.aside.iterdir()):
            self.aside.rmdir()
            self.out.aside = None

    # -- the journal

    def _kept_segments(self) -> list[Surveyed]:
        """The last segments that are sound one after the other; all of them if nothing is damaged."""
        kept: list[Surveyed] = []
        for one in reversed(self.survey.segments):
            if one.unmade and not kept:
                continue
            if one.hurts or one.header is None or (kept and kept[0].number != one.number + 1):
                break
            kept.insert(0, one)
        ends = self.survey.segments[-1].last_seq if kept else 0
        return kept if ends >= self.tables.folded or not self.tables.sound else []

    def _begin_segment(self, first_seq: int) -> None:
        # Above every number that a place in the tables names: another body must not be found there.
        number = max([self._named, *(one.number for one in self.survey.segments)]) + 1
        self.journal.mkdir(mode=0o700, exist_ok=True)
        close_segments([create_segment(self._disk, self.journal, number, first_seq, SEGMENT_BYTES)])
        name = segment_path(self.journal, number).name
        self.out.done.append(f"the journal goes on in {name} with record {first_seq}")

    # -- the tables

    def _bring_up(self, anew: bool) -> int:
        """Tables that hold all that can be known; returns the last record in them.

        Sound ones are used as they are when the journal has everything after them.
        """
        base = self.tables.folded if self.tables.sound else 0
        lost = [f"the changes of {span(first, last)}" for first, last in self._gaps(base)]
        lost += [f"the changes of {span(first, 0)}, if there were any" for first in self._open_ends(base)]
        if self.tables.sound and not lost and not anew and (self.survey.sound or base >= self.survey.last):
            return base
        work = self.path if self.tables.sound and not lost else self.aside / BUILT
        if self.tables.sound and lost:
            self._copy_tables(work)
        tables = Tables(work)
        try:
            if not self.tables.sound and not self._all_in_journal():
                lost = self._salvage(tables) + lost
            folded = self._fold(tables, lost, anew)
            self._named = tables.rows("last_position")[0][0] >> OFFSET_BITS
        finally:
            tables.close()
        if log_of(work).exists():
            raise Unavailable("STORAGE_UNAVAILABLE", f"{work} could not be written to its end", "free room")
        if work != self.path:
            self._install(work)
        self.out.lost += lost
        return folded

    def _gaps(self, base: int) -> list[tuple[int, int]]:
        """Records that nobody has; if all before the journal begins is lost, that is told apart."""
        gaps = self.survey.gaps(base)
        return gaps[1:] if not base and self.survey.first > 1 else gaps

    def _open_ends(self, base: int) -> list[int]:
        """Where records are damaged and nobody knows how many."""
        hurts = [hurt for one in self.survey.segments for hurt in one.hurts]
        return [hurt.first for hurt in hurts if hurt.first > base and not hurt.last]

    def _all_in_journal(self) -> bool:
        """True if the journal has every record from the first one on."""
        survey = self.survey
        return survey.first == 1 and not survey.gaps(0) and survey.last >= self.tables.folded

    def _copy_tables(self, work: Path) -> None:
        """Begin with a copy: the tables that are there stay as they are until all is done."""
        shutil.copyfile(self.path, work)
        if log_of(self.path).exists():
            shutil.copyfile(log_of(self.path), log_of(work))

    def _salvage(self, tables: Tables) -> list[str]:
        """Begin with what can be read of damaged tables, and what the journal still has of the rest."""
        first = self.survey.first
        if self.tables.problem or "meta" in self.tables.unreadable:
            when = f"before record {first}" if first else "ever"
            return [
                f"what was settled {when}, and what has waited since, with the mailboxes, groups and "
                "dedup keys of that time, where the journal does not speak of them"
            ]
        help_out: Path | None = None
        if self.tables.unreadable and first and not self.survey.gaps(first - 1):
            help_out = self.aside / OTHER
            other = Tables(help_out)
            self._fold_up_to(Fold(other), self.tables.folded)
            other.close()
        lost = salvage_rows(self.path, self.tables, tables, help_out)
        if help_out is not None:
            help_out.unlink()
        return lost

    def _fold_up_to(self, fold: Fold, last: int) -> None:
        """Fold every record of the journal that can be read, up to ``last``."""
        piece: list[Entry] = []
        for _, found in self.survey.records(fold.seq):
            piece += [entry for entry in found if entry.seq <= last]
            if len(piece) >= FOLD_RECORDS:
                fold.fold(piece)
                piece = []
        fold.fold(piece)

    def _fold(self, tables: Tables, lost: list[str], anew: bool) -> int:
        """Fold what the journal has after them, and mend the holes, if there are any."""
        fold = Fold(tables)
        self._fold_up_to(fold, self.survey.last)
        if fold.seq > self.tables.folded or not self.tables.sound:
            self.out.done.append(f"{TABLES_FILE} holds everything that is known up to record {fold.seq}")
        seq = fold.seq + (SEQ_SKIPPED if anew and self._end_unknown() else 0)
        if lost or (self.tables.loose and not self._all_in_journal()):
            memory = Memory()
            for _, found in self.survey.records(0):
                for entry in found:
                    memory.see(entry)
            tables.con.begin()
            self.out.done += mend(tables, memory, seq, fold.at, self.owner)
            tables.con.commit()
        if seq != fold.seq:
            tables.set_meta(folded_seq=seq)
        return seq

    def _end_unknown(self) -> bool:
        """True if there may have been records after the last one known."""
        ends = [hurt for one in self.survey.segments for hurt in one.hurts if hurt.first and not hurt.last]
        last = max((one.last_seq for one in self.survey.segments), default=0)
        return bool(ends) or last < self.tables.folded or not self.survey.segments

    def _install(self, built: Path) -> None:
        """Put the tables that were built in place of those that are there, which are moved aside."""
        if self.path.exists():
            try:
                os.link(self.path, self.aside / self.path.name)
            except OSError:  # a file system without links
                os.rename(self.path, self.aside / self.path.name)
            self.out.done.append(f"{self.path.name} is in {self.aside.name}")
        if log_of(self.path).exists():
            self._move(log_of(self.path))
        os.replace(built, self.path)
        self._disk.sync_folder(self.aside)
        self._disk.sync_folder(self.folder)

    def _move(self, path: Path) -> None:
        target = self.aside / path.name
        os.rename(path, target)
        self._disk.sync_folder(self.aside)
        self._disk.sync_folder(path.parent)
        self.out.done.append(f"{path.relative_to(self.folder)} is in {self.aside.name}")


def _new_folder(folder: Path) -> Path:
    """A new ``damaged-<time>`` in the data directory."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for name in (
        f"{DAMAGED_PREFIX}{stamp}",
        *(f"{DAMAGED_PREFIX}{stamp}-{index}" for index in range(2, 100)),
    ):
        try:
            (folder / name).mkdir(mode=0o700)
        except FileExistsError:
            continue
        return folder / name
    raise Damaged(f"there are too many {DAMAGED_PREFIX} folders of this second")
