"""Far too many calls, in small: every receipt is true, every refusal says when to come again."""

from __future__ import annotations

from benchmarks.overload import overload, rows


def test_every_receipt_is_true_and_every_refusal_says_when_to_come_again() -> None:
    run = overload(64, 2, 4, "--calls-max", "4", capacity_s=0.5)
    pressed = run.pressed
    assert pressed.stored
    assert pressed.again, "it was too much"
    assert (pressed.bare, pressed.other, pressed.lost) == (0, 0, 0)
    assert set(pressed.stored) <= run.there
    assert len(set(pressed.stored)) == len(pressed.stored)
    assert run.kept_ms
    assert run.fresh_ms
    assert run.exit_code == 0
    assert len(rows(run, 4)) == 10
