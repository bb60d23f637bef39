"""Every planted mistake is found; ``make mutants`` tries more seeds and longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.mutants import MUTANTS, STEPS, Mutant, copy_package, killed, plant, simulate

MISTAKES = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.says)


@MISTAKES
def test_a_mistake_is_found(mutant: Mutant) -> None:
    where = killed(mutant, STEPS)
    assert where.startswith(f"seed={mutant.seed} step="), "the simulation does not see it"


def test_the_same_seed_finds_it_at_the_same_step() -> None:
    assert killed(MUTANTS[0], STEPS) == killed(MUTANTS[0], STEPS)


def test_a_copy_without_a_mistake_passes(tmp_path: Path) -> None:
    copy_package(tmp_path)
    code, output = simulate(tmp_path, MUTANTS[0].seed, STEPS)
    assert code == 0, output


def test_an_edit_that_does_not_fit_any_more_is_an_error(tmp_path: Path) -> None:
    copy_package(tmp_path)
    gone = Mutant(1, "rots", "domain/message.py", "text that is not there", "")
    with pytest.raises(AssertionError, match="is 0 times in"):
        plant(gone, tmp_path)
    with pytest.raises(AssertionError, match="times in"):
        plant(gone._replace(old="return"), tmp_path)
