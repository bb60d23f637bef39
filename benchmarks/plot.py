"""Line plots as SVG: a few panels above each other, one axis of time. No library is needed for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

WIDTH, PANEL, GAP = 800, 150, 50
LEFT, RIGHT, TOP = 70, 130, 30
COLOURS = ("#1f6f8b", "#d1495b", "#66a182")
STYLE = "text { font: 12px sans-serif; fill: #333 } .axis { stroke: #999 } .grid { stroke: #e5e5e5 }"


class Panel(NamedTuple):
    """One plot: its title and unit, and lines by name."""

    title: str
    lines: Mapping[str, Sequence[float]]


def draw(times: Sequence[float], panels: Sequence[Panel], unit: str = "minutes") -> str:
    """The picture; every line has a value for each of ``times``."""
    height = TOP + len(panels) * (PANEL + GAP)
    body = [f"<style>{STYLE}</style>", '<rect width="100%" height="100%" fill="white"/>']
    for index, panel in enumerate(panels):
        body += _panel(times, panel, TOP + index * (PANEL + GAP), unit)
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', *body, "</svg>", ""])


def _panel(times: Sequence[float], panel: Panel, top: int, unit: str) -> list[str]:
    most = nice(max((max(line) for line in panel.lines.values()), default=1.0))
    end = times[-1] or 1.0
    right, bottom = WIDTH - RIGHT, top + PANEL

    def point(at: float, value: float) -> str:
        across = LEFT + at / end * (right - LEFT)
        return f"{across:.1f},{bottom - value / most * PANEL:.1f}"

    found = [_text(LEFT, top - 8, panel.title)]
    for part in range(5):
        height = bottom - part / 4 * PANEL
        found.append(f'<path class="grid" d="M{LEFT},{height:.1f}H{right}"/>')
        found.append(_text(LEFT - 6, round(height) + 4, f"{most * part / 4:g}", "end"))
    found.append(f'<path class="axis" fill="none" d="M{LEFT},{top}V{bottom}H{right}"/>')
    found.append(_text(LEFT, bottom + 16, "0", "middle"))
    found.append(_text(right, bottom + 16, f"{end:g} {unit}", "end"))
    for index, (name, line) in enumerate(panel.lines.items()):
        colour = COLOURS[index % len(COLOURS)]
        points = " ".join(point(at, value) for at, value in zip(times, line, strict=True))
        found.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{points}"/>')
        found.append(
            f'<rect x="{right + 12}" y="{top + 20 * index}" width="12" height="12" fill="{colour}"/>'
        )
        found.append(_text(right + 30, top + 20 * index + 11, name))
    return found


def nice(value: float) -> float:
    """The next of 1, 2, 4, 5, 8 times a power of ten that is not below ``value``."""
    if value <= 0:
        return 1.0
    power = 1.0
    while power > value:
        power /= 10
    while power * 10 <= value:
        power *= 10
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value)


def _text(x: int, y: int, words: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'
