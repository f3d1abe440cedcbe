"""`leelight plan price`: the price of a study from its plan alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from federation.console import plan_app
from federation.errors import InputError
from federation.identity import SigningKey
from federation.plan import SignedPlan, StudyPlan
from federation.privacy.accounting import SubsampledGaussian, epsilon_of
from federation.privacy.guarantee import price
from leelight import _compose
from tests.worlds import make_plan, sign


@pytest.fixture(scope="module")
def plan() -> StudyPlan:
    return make_plan()


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(plan_app(_compose), ["price", *(str(argument) for argument in arguments)])


def write(path: Path, signed: SignedPlan) -> Path:
    path.write_text(signed.to_json())
    return path


def test_a_plan_is_priced_without_a_home(tmp_path: Path, plan: StudyPlan) -> None:
    result = run(write(tmp_path / "plan.json", sign(plan)), "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    cost = price(plan)
    assert told["plan_sha256"] == plan.sha256
    assert told["rehearsal"] is True
    assert told["privacy_unit"] == "person_at_partner"
    assert told["price"] == {"delta": 1e-5, "round": cost.round, "training": cost.training, "total": cost.total,
                             "statistics": cost.statistics, "at_partners": [list(pair) for pair in cost.at_partners]}


def test_a_round_is_its_local_steps_by_themselves(plan: StudyPlan) -> None:
    alone = epsilon_of([SubsampledGaussian(noise_multiplier=5.0, sampling_probability=1.0, steps=2)], delta=1e-5)
    assert price(plan).round == alone < price(plan).training


def test_a_price_at_another_delta(plan: StudyPlan) -> None:
    assert price(plan, delta=1e-3).total < price(plan).total < price(plan, delta=1e-7).total
    assert price(plan, delta=1e-5) == price(plan)
    for delta in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="delta"):
            price(plan, delta=delta)


def test_in_words_no_figure_is_rounded_down(tmp_path: Path, plan: StudyPlan) -> None:
    output = run(write(tmp_path / "plan.json", sign(plan))).stdout
    cost = price(plan)
    lines = {name: next(line for line in output.splitlines() if line.strip().startswith(name))
             for name in ("one round", "learning", "counting", "together", "at 2", "at 3", "at 5")}
    shown = {name: float(line.split("ε = ")[1].split()[0]) for name, line in lines.items()}
    meant = [cost.round, cost.training, cost.statistics, cost.total, *(epsilon for _, epsilon in cost.at_partners)]
    for value, true in zip(shown.values(), meant, strict=True):
        assert true <= value <= true + 0.001
    assert "rehearsal" in output
    assert plan.sha256 in output


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"public_key": 3}', '{"public_key": "ab"}'])
def test_what_is_no_plan_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "plan.json").write_text(content)
    result = run(tmp_path / "plan.json")
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert "plan" in result.stderr


def test_a_changed_or_forged_plan_is_refused(tmp_path: Path, plan: StudyPlan) -> None:
    text = sign(plan).to_json()
    (tmp_path / "changed.json").write_text(text.replace('"rounds":2', '"rounds":1'))
    forged = json.loads(text) | {"public_key": SigningKey.generate().public}
    (tmp_path / "forged.json").write_text(json.dumps(forged))
    for name in ("changed", "forged", "absent"):
        assert run(tmp_path / f"{name}.json").exit_code == 2


def test_a_plan_that_claims_less_than_it_costs_is_refused(tmp_path: Path, plan: StudyPlan) -> None:
    cheap = plan.model_copy(update={"privacy": plan.privacy.model_copy(update={"training_epsilon": 0.5})})
    for more in ([], ["--json"]):
        result = run(write(tmp_path / "plan.json", sign(cheap)), *more)
        assert result.exit_code == 2
        assert "training_epsilon" in result.stderr


def test_settings_are_priced_as_simulate_would_run_them() -> None:
    result = run("encoder=hashing", "world.size=tiny", "training.rounds=2", "privacy=strict", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)["price"]
    assert 0.9 < told["training"] <= 1.0
    assert 0.9 < told["statistics"] <= 1.0
    assert told["delta"] == 1e-5


@pytest.mark.parametrize("settings", [["nothing=1"], ["encoder=absent"], ["training.rounds=0"], ["a=b=c", "seed"]])
def test_settings_that_cannot_be_used_are_refused(settings: list[str]) -> None:
    result = run(*settings)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_a_file_and_settings_together_are_refused(tmp_path: Path, plan: StudyPlan) -> None:
    assert run(write(tmp_path / "plan.json", sign(plan)), "seed=2").exit_code == 2


def test_composing_is_left_to_whoever_may() -> None:
    def refuse(_: list[str]) -> StudyPlan:
        raise InputError("settings", "cannot be composed here")

    result = CliRunner().invoke(plan_app(refuse), ["price", "seed=1"])
    assert result.exit_code == 2
    assert "cannot be composed" in result.stderr
