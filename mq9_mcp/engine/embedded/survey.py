"""A survey of the journal's files: what is sound in each, what is damaged and where. Reads only.

Unlike a start, which ends at the first damage, it goes on behind it and finds all there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mq9_mcp.engine.embedded.frame import (
    FIRST_HASH,
    SEGMENT_HEADER,
    Damaged,
    Frame,
    Newer,
    SegmentHeader,
    decode_header,
    is_torn_header,
    read_frame,
)
from mq9_mcp.engine.embedded.replay import Entry, entries
from mq9_mcp.engine.embedded.segments import SUFFIX, Segment, is_blank, segment_path
from mq9_mcp.engine.embedded.torn import damage_in, next_sound

BITS_OF_HEADER = 8 * SEGMENT_HEADER


class Hurt(NamedTuple):
    """Damage in one place of a segment; ``last`` is 0 where nobody knows how many records it cost."""

    offset: int
    first: int
    last: int
    what: str


class Surveyed:
    """What was found in one segment's file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: SegmentHeader | None = None
        self.hurts: list[Hurt] = []
        self.notes: list[str] = []
        self.places: list[tuple[int, int, int]] = []  # offset, first and last record of a sound commit
        self.unmade = False  # it was being made, nothing is in it
        self.last_seq = 0
        self.end = SEGMENT_HEADER
        self.chain: bytes | None = None  # the hash of its last sound commit

    @property
    def number(self) -> int:
        """The number in its name."""
        return int(self.path.stem)

    def segment(self) -> Segment:
        """As the engine knows a segment; no file is open."""
        assert self.header is not None
        return Segment(self.path, -1, self.header, 0)

    def frames(self) -> Iterator[Frame]:
        """Its sound commits again, in order."""
        if not self.places:
            return
        assert self.header is not None
        data = self.path.read_bytes()
        for offset, _, _ in self.places:
            frame = read_frame(data, offset, self.header.salt)
            assert frame is not None, "it was sound a moment ago, and nobody else may write"
            yield frame


class Survey:
    """What was found in a journal."""

    def __init__(self) -> None:
        self.segments: list[Surveyed] = []
        self.foreign: list[Path] = []
        self.missing: list[tuple[int, int, int]] = []  # segment, first and last record (0: nobody knows)

    @property
    def first(self) -> int:
        """The first record that could be read; 0 if there is none."""
        return next((place[1] for one in self.segments for place in one.places), 0)

    @property
    def last(self) -> int:
        """The last record that could be read; 0 if there is none."""
        return max((place[2] for one in self.segments for place in one.places), default=0)

    @property
    def sound(self) -> bool:
        """True if nothing is damaged or missing between its first record and its last one."""
        return not self.missing and not any(one.hurts for one in self.segments)

    def records(self, after: int) -> Iterator[tuple[Frame, list[Entry]]]:
        """Every record after ``after`` that could be read, commit by commit."""
        for one in self.segments:
            if one.last_seq > after:
                for frame in one.frames():
                    found = [entry for entry in entries(one.segment(), frame) if entry.seq > after]
                    if found:
                        yield frame, found

    def gaps(self, after: int) -> list[tuple[int, int]]:
        """Which records after ``after`` cannot be read, up to the last one that can."""
        found, expected = [], after + 1
        for one in self.segments:
            for _, first, last in one.places:
                if first > expected:
                    found.append((expected, first - 1))
                expected = max(expected, last + 1)
        return found


def survey_journal(folder: Path) -> Survey:
    """Read every file in the journal's folder."""
    survey = Survey()
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        own = path.suffix == SUFFIX and path.stem.isdecimal() and path.is_file()
        if own and segment_path(folder, int(path.stem)) == path:
            survey.segments.append(Surveyed(path))
        else:
            survey.foreign.append(path)
    for index, one in enumerate(survey.segments):
        one.header = _header(one, last=index == len(survey.segments) - 1)
    used = len(survey.segments)
    while used > 1 and _is_blank(survey.segments[used - 1]):
        used -= 1
    for index, one in enumerate(survey.segments):
        before = survey.segments[index - 1] if index else None
        following = survey.segments[index + 1] if index + 1 < used else None
        if before is not None and one.number != before.number + 1:
            last = one.header.first_seq - 1 if one.header is not None else 0
            survey.missing.append((before.number + 1, before.last_seq + 1, last))
        if before is None or index < used:
            _survey_segment(one, before, following)
        elif one.header is not None:
            _survey_blank(one, before)
    return survey


def _is_blank(one: Surveyed) -> bool:
    return one.unmade or (not one.hurts and is_blank(one.path.read_bytes()[SEGMENT_HEADER:]))


def _survey_blank(one: Surveyed, before: Surveyed) -> None:
    """A segment at the end with nothing but its header: the next one, or made too early (``segments``)."""
    assert one.header is not None
    one.last_seq, one.chain = before.last_seq, before.chain
    if one.header.first_seq != before.last_seq + 1:
        one.unmade = True
        one.notes.append("was made for a commit that never came; the next start deletes it")


def _header(one: Surveyed, last: bool) -> SegmentHeader | None:
    """The header; one that a single flipped bit spoiled is as good as known, by its checksum."""
    data = one.path.read_bytes()
    head = data[:SEGMENT_HEADER]
    if last and is_torn_header(head) and is_blank(data[SEGMENT_HEADER:]):
        one.unmade = True
        return None
    header: SegmentHeader | None
    try:
        header = decode_header(head, one.path.name)
    except Newer:
        raise
    except Damaged as error:
        one.hurts.append(Hurt(0, 0, 0, str(error).partition(": ")[2]))
        header = _mended_header(head)
        if header is None:
            return None
    if header.number != one.number:
        one.hurts.append(Hurt(0, 0, 0, f"holds segment {header.number}, not {one.number}"))
        return None
    return header


def _mended_header(head: bytes) -> SegmentHeader | None:
    for bit in range(min(len(head) * 8, BITS_OF_HEADER)):
        flipped = bytearray(head)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            return decode_header(bytes(flipped), "")
        except Damaged:
            continue
    return None


def _survey_segment(one: Surveyed, before: Surveyed | None, following: Surveyed | None) -> None:
    until = following.header.first_seq if following is not None and following.header is not None else 0
    one.last_seq = before.last_seq if before is not None else 0
    if one.header is None:
        if one.unmade:
            one.notes.append("was being made when its broker ended; the next start deletes it")
            return
        first = one.last_seq + 1 if before is not None else 0
        one.hurts[0] = one.hurts[0]._replace(first=first, last=max(0, until - 1))
        one.last_seq = max(one.last_seq, until - 1)
        return
    one.last_seq = one.header.first_seq - 1
    linked = before is not None and before.last_seq == one.last_seq
    one.chain = before.chain if before is not None and linked else None
    if one.header.first_seq == 1:
        one.chain = FIRST_HASH
    data = one.path.read_bytes()
    while (offset := _read_on(one, data, until)) is not None:
        if offset == one.end:
            what = f"commit {one.last_seq + 1} does not follow the commit before it: the hash chain is broken"
            one.hurts.append(Hurt(one.end, one.last_seq + 1, max(0, until - 1), what))
            one.last_seq, one.chain = max(one.last_seq, until - 1), None
            return
        found = next_sound(data, offset, one.header.salt)
        while found is not None and found.first_seq <= one.last_seq:
            found = next_sound(data, found.offset + 1, one.header.salt)
        if found is None:
            _survey_end(one, data, until, last=following is None)
            return
        what = f"commit {one.last_seq + 1} does not match its checksum, but {found.first_seq} does"
        one.hurts.append(Hurt(one.end, one.last_seq + 1, found.first_seq - 1, what))
        one.end, one.last_seq, one.chain = found.offset, found.first_seq - 1, None
    _survey_end(one, data, until, last=following is None)


def _read_on(one: Surveyed, data: bytes, until: int) -> int | None:
    """Take sound commits from where the survey is; returns where the search goes on, None at the end."""
    assert one.header is not None
    while True:
        frame = read_frame(data, one.end, one.header.salt)
        if frame is None:
            return one.end + 1
        if until and frame.first_seq >= until:
            return None  # a commit that failed and was written anew in the next segment
        if frame.first_seq != one.last_seq + 1:
            return one.end + 1
        if one.chain is not None and frame.previous != one.chain:
            return one.end
        try:
            entries(one.segment(), frame)
        except Damaged as error:
            first, last = frame.first_seq, frame.first_seq + frame.records - 1
            one.hurts.append(Hurt(frame.offset, first, last, str(error).partition(": ")[2]))
        else:
            one.places.append((frame.offset, frame.first_seq, frame.first_seq + frame.records - 1))
        one.chain, one.end = frame.hash, frame.end
        one.last_seq = frame.first_seq + frame.records - 1


def _survey_end(one: Surveyed, data: bytes, until: int, last: bool) -> None:
    """What lies behind the last sound commit of a segment."""
    assert one.header is not None
    rest = data[one.end :]
    seq = one.last_seq + 1
    if until > seq:
        what = f"commit {seq} is damaged or missing" + "; the file ends too early" * (not rest)
        one.hurts.append(Hurt(one.end, seq, until - 1, what))
        one.last_seq, one.chain = until - 1, None
    elif last and (why := damage_in(rest, one.end, one.header.salt, seq, one.chain)) is not None:
        one.hurts.append(Hurt(one.end, seq, 0, why))
    elif not is_blank(rest):
        size = len(rest.rstrip(b"\0"))
        what = "an unfinished commit; the next start cuts it off" if last else "not part of any commit"
        one.notes.append(f"{size} bytes from byte {one.end} on are {what}")
