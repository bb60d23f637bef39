"""A short run of the simulation; ``make sim`` is the long one.

``MQ9_SIMULATION_STEPS`` makes it longer. The seeds are those that give the mutants away: here, without a
mistake, they must pass.
"""

from __future__ import annotations

import os

import pytest

from tests.simulation.mutants import MUTANTS, STEPS
from tests.simulation.simulate import main, run

SEEDS = sorted({mutant.seed for mutant in MUTANTS} | {101, 102})
LENGTH = max(STEPS, int(os.environ.get("MQ9_SIMULATION_STEPS", "160")))


@pytest.mark.parametrize("seed", SEEDS)
def test_engine_and_model_agree_at_every_step(seed: int) -> None:
    assert run([seed], LENGTH, 60) == 0


def test_a_run_says_how_much_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "103-104", "--steps", "5"]) == 0
    said = capsys.readouterr().out
    assert "10 steps" in said
    assert "2 seeds" in said
    assert "million journal events" in said
