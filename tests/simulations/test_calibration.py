"""What decides whether the figures of calibration meet their bar, and how a calibrated record is judged."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from federation.calibration import Calibration
from federation.errors import InputError
from federation.model import initial_model, model_arrays
from federation.plan_statistics import ScoresSpec
from federation.taxonomy import Family, Task
from simulations import evaluation
from simulations.calibration import DEALS, EPSILONS, LARGEST_GAP, SETS, Row, missed
from simulations.evaluation import evaluate, measure
from tests.simulations.test_compose import composed
from tests.worlds import make_plan

GOOD = [Row(data=name, deal=deal, epsilon=epsilon, pooled=0.7, auc=0.9, declared=0.1, calibrated=0.6, own=0.68)
        for name, deal, epsilon in itertools.product(SETS, DEALS, EPSILONS)]


def test_the_mean_over_deals_counts_at_epsilon_3_and_without_privacy() -> None:
    assert missed(GOOD) == []
    for epsilon, words in ((3.0, ["sms_spam at epsilon 3"]), (None, ["sms_spam at no privacy"]), (1.0, [])):
        worse = [replace(row, own=row.own - 0.02) if (row.data, row.epsilon) == ("sms_spam", epsilon) else row
                 for row in GOOD]
        assert missed(worse) == words
    one_deal = [replace(row, own=row.own - LARGEST_GAP) if row.deal == 2 else row for row in GOOD]
    assert missed(one_deal) == []


def test_a_calibrated_task_is_judged_by_its_odds_and_the_partners_own_share_and_another_as_before() -> None:
    plan, rng = make_plan(), np.random.default_rng(2)
    model = initial_model(plan)
    with torch.no_grad():
        model.output.weight.normal_(generator=torch.Generator().manual_seed(1))
    inputs = torch.from_numpy(rng.normal(size=(300, 65)).astype(np.float32))
    with torch.no_grad():
        scores = model(inputs).numpy().astype(np.float64)
    test = evaluation.TestSet(inputs=inputs, targets=(rng.random((300, 2)) < 0.4).astype(np.float32), people=300,
                   priors=np.full((300, 2), -3.0, dtype=np.float32), own_priors=rng.normal(size=(300, 2)))
    one = Calibration(slope=2.0, intercept=0.3, prior=-5.0)
    found = evaluate(plan, model_arrays(model), test, {Task.DISTRESS: one})
    assert found[Task.RECRUITMENT] == evaluate(plan, model_arrays(model), test)[Task.RECRUITMENT]
    truth = test.targets[:, 1].astype(np.float64)
    assert found[Task.DISTRESS] == measure(2.0 * scores[:, 1] + 0.3, test.own_priors[:, 1], truth)


def test_a_composed_plan_gives_scores_the_noise_of_confusion_and_the_price_of_none(tmp_path: Path) -> None:
    plans = [composed(tmp_path, f"statistics.scores={scores}") for scores in ("null", "{bins: 12, reach: 0.6}")]
    assert plans[0].statistics.scores is None
    assert plans[1].statistics.scores == ScoresSpec(bins=12, reach=0.6)
    scales = dict(plans[1].statistics.noise_scales)
    assert scales.pop(Family.SCORES) == scales[Family.CONFUSION]
    assert scales == plans[0].statistics.noise_scales
    assert plans[0].privacy == plans[1].privacy


def test_scores_of_too_few_bins_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bins"):
        composed(tmp_path, "statistics.scores={bins: 2, reach: 0.6}")
