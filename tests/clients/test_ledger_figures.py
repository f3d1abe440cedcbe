"""What a ledger says that was spent, against dp-accounting's own composition, built here without our code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from dp_accounting.pld import privacy_loss_distribution as pld

from clients.ledger import Stage
from federation.privacy.accounting import DiscreteGaussianTable, SubsampledGaussian
from tests.clients.ledgers import DELTA, Work, ask, never, open_ledger, study
from tests.clients.ledgers import WIDE as NARROW

WIDE = replace(NARROW, round=40.0, study=40.0, year=40.0, total=40.0)


def independent(
    *, gaussian: tuple[float, float, int], scale: float, tables: int, pessimistic: bool = True,
) -> float:
    """Epsilon at `DELTA` of (noise, sampling probability, steps) and scalar discrete Gaussians, on a 1e-4 grid."""
    noise, probability, steps = gaussian
    total = pld.from_gaussian_mechanism(
        noise, value_discretization_interval=1e-4, sampling_prob=probability,
        pessimistic_estimate=pessimistic).self_compose(steps)
    if tables:
        total = total.compose(pld.from_discrete_gaussian_mechanism(
            scale, value_discretization_interval=1e-4, pessimistic_estimate=pessimistic).self_compose(tables))
    return float(total.get_epsilon_for_delta(DELTA))


# Privacy dossier 2.1 and 2.2, at delta 1e-6.
@pytest.mark.parametrize(("noise", "steps", "tables", "golden"), [
    (1.2, 400, 0, 5.440), (1.2, 400, 52, 6.590), (1.5, 400, 0, 3.813)])
def test_a_study_costs_what_dp_accounting_says(
    tmp_path: Path, noise: float, steps: int, tables: int, golden: float,
) -> None:
    rounds = 20
    request = study(
        a_round=SubsampledGaussian(noise_multiplier=noise, sampling_probability=0.05, steps=steps // rounds),
        rounds=rounds, table=DiscreteGaussianTable(scale=10.0, entries=1), tables=max(1, tables))
    if not tables:
        request = replace(request, stages=request.stages[:1])
    with open_ledger(tmp_path) as ledger:
        for number in range(1, rounds + 1):
            ledger.answer(ask(request, number), ceilings=WIDE, work=Work())
        for number in range(1, tables + 1):
            ledger.answer(ask(request, number, stage=Stage.TABLE), ceilings=WIDE, work=Work())
        ours, audited = ledger.balance(WIDE).total.epsilon, ledger.verify_full()
    theirs = independent(gaussian=(noise, 0.05, steps), scale=10.0, tables=tables)
    assert theirs - 1e-9 <= ours <= theirs * 1.001
    assert ours >= independent(gaussian=(noise, 0.05, steps), scale=10.0, tables=tables, pessimistic=False)
    assert ours == pytest.approx(golden, abs=5e-4)
    assert audited.epsilon == ours == audited.studies[0][2]
    assert audited.renyi_epsilon > ours


def test_several_studies_and_a_lost_attempt_compose_as_one_account(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        for name in ("one", "two"):
            ledger.answer(study(name), ceilings=WIDE, work=Work())
        with pytest.raises(AssertionError):
            ledger.answer(ask(study("two"), 2), ceilings=WIDE, work=never)
        ledger.answer(ask(study("two"), 2), ceilings=WIDE, work=Work())
        ours = ledger.balance(WIDE).total.epsilon
    # Two plans of three rounds of four steps and a table of three entries each, and one round again.
    theirs = independent(gaussian=(20.0, 1.0, 2 * 12 + 4), scale=20.0, tables=2 * 3)
    assert theirs - 1e-9 <= ours <= theirs * 1.001
