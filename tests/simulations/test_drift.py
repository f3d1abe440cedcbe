"""Quarters of an invented world: the threshold that recall is taken at, and a run of two quarters."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.drift import run, threshold_at


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=30), st.sampled_from([0.3, 0.5, 0.9]))
def test_threshold_agrees_with_trying_each(pairs: list[tuple[int, bool]], precision: float) -> None:
    found, truth = np.array([float(score) for score, _ in pairs]), np.array([true for _, true in pairs])
    good = [score for score in sorted(set(found.tolist())) if truth[found >= score].mean() >= precision]
    assert threshold_at(found, truth, precision=precision) == (good[0] if good else math.inf)


def test_ties_stand_or_fall_together() -> None:
    assert threshold_at(np.array([1.0, 1.0, 0.0]), np.array([True, False, True]), precision=0.6) == 0.0
    assert threshold_at(np.array([1.0, 1.0]), np.array([False, False]), precision=0.5) == math.inf


@pytest.mark.long
def test_two_quarters(tmp_path: Path) -> None:
    rows, flags = run(1, 2, "tiny", tmp_path, "encoder=hashing", "encoder.dimension=256")
    assert [(row.quarter, row.model) for row in rows] == [
        (quarter, model) for quarter in (0, 1)
        for model in ("kept", "with feedback, as it comes", "with feedback, after")]
    # In the first quarter there is one model.
    assert len({json.dumps([row.pr_auc, row.auc, row.calibration_error]) for row in rows[:3]}) == 1
    assert rows[5].pr_auc != rows[3].pr_auc
    assert {flag.quarter for flag in flags} == {1}
    assert len(flags) == 8
