"""The soak's judgement bites, and its picture is one."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.plot import nice
from benchmarks.soak import Window, judge, picture, report


def windows(**last: float) -> list[Window]:
    """Forty flat windows, but for the last ten."""
    flat = [Window(float(minute), 100, 90.0, 60.0, 40.0, 1.0, 9.0) for minute in range(40)]
    return [*flat[:30], *(window._replace(**last) for window in flat[30:])]  # type: ignore[arg-type]


def test_what_is_flat_is_called_flat() -> None:
    assert all(row.reached for row in judge(windows()))
    assert all(row.reached for row in judge(windows(broker_mib=98.9, p50_ms=1.5, files_mib=1.0)))


@pytest.mark.parametrize(
    ("field", "value"),
    [("broker_mib", 99.1), ("folder_mib", 66.1), ("files_mib", 44.1), ("p50_ms", 1.51), ("p99_ms", 9.91)],
)
def test_what_grew_is_found(field: str, value: float) -> None:
    assert [row.reached for row in judge(windows(**{field: value}))].count(False) == 1


def test_the_page_has_its_table_and_picture_beside_it(tmp_path: Path) -> None:
    page = tmp_path / "soak.md"
    report(page, windows(), judge(windows()), "python benchmarks/soak.py")
    assert "**flat**" in page.read_text()
    assert len(page.with_suffix(".csv").read_text().splitlines()) == 41
    report(page, windows(), judge(windows(files_mib=99.0)), "python benchmarks/soak.py")
    assert "**NOT FLAT**" in page.read_text()


def test_the_picture_is_well_formed_and_keeps_its_frame() -> None:
    root = ElementTree.fromstring(picture(windows(p99_ms=700.0)))
    lines = [one for one in root.iter() if one.tag.endswith("polyline")]
    assert len(lines) == 5
    points = [pair.split(",") for line in lines for pair in line.attrib["points"].split()]
    assert all(0 <= float(x) <= float(root.attrib["width"]) for x, _ in points)
    assert all(0 <= float(y) <= float(root.attrib["height"]) for _, y in points)


@pytest.mark.parametrize(
    ("value", "above"), [(0.0, 1.0), (0.03, 0.04), (7.1, 8.0), (10.0, 10.0), (99.0, 100.0)]
)
def test_axes_end_at_round_numbers(value: float, above: float) -> None:
    assert nice(value) == pytest.approx(above)
