"""A partner that lies in every round, with real updates: what it ruins, and what each rule leaves of the model."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from federation.errors import InputError
from federation.messages import Arrays, check_arrays
from federation.taxonomy import PartnerKind
from simulations.poisoning.__main__ import main
from simulations.poisoning.attacks import ATTACKS, told
from simulations.poisoning.lab import RULES, Figures, Lab
from simulations.settings import Settings
from tests.simulations.test_federation_faults import settings

LIAR = "ngo-shelter"
MARGINS = {"trimmed_mean": 0.16, "centred_clipping": 0.10}
"""What a liar may take from AUC and from PR-AUC. Of one draw of the noise, with features of 128 buckets; figures for
the default federation are in docs/poisoning.md."""
RUINED = 0.05
"""Above an AUC of one half, or below it: no model at all."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    chosen = settings(tmp_path_factory.mktemp("cache"), "world.size=small", "statistics=local", "training.rounds=15",
                      "training.local_steps=8")
    return Lab.prepare(chosen, tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def truth(lab: Lab) -> dict[str, Figures]:
    return {rule: lab.measure(rule, "none", LIAR, runs=1) for rule in RULES}


@pytest.mark.long
def test_rules_cost_an_honest_federation_nothing_to_speak_of(truth: dict[str, Figures]) -> None:
    for rule in RULES:
        assert truth[rule].auc == pytest.approx(truth["none"].auc, abs=0.02), rule
        assert truth[rule].pr_auc == pytest.approx(truth["none"].pr_auc, abs=0.02), rule
    # The bound is one that honest updates keep, so that it is the same mean.
    assert truth["mean"].auc == pytest.approx(truth["none"].auc, abs=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("attack", ["flipped hundredfold", "huge", "against the others"])
def test_without_a_bound_one_of_eight_ruins_the_model(lab: Lab, truth: dict[str, Figures], attack: str) -> None:
    assert truth["none"].auc > 0.7
    assert lab.measure("none", attack, LIAR, runs=1).auc < 0.5 + RUINED


@pytest.mark.long
def test_a_bound_alone_does_not_stop_who_pulls_against_the_others(lab: Lab) -> None:
    assert lab.measure("mean", "against the others", LIAR, runs=1).auc < 0.5 + RUINED


@pytest.mark.long
@pytest.mark.parametrize("rule", MARGINS)
@pytest.mark.parametrize("attack", [name for name in ATTACKS if name != "none"])
def test_under_a_robust_rule_the_model_stays_near_the_honest_one(lab: Lab, truth: dict[str, Figures], rule: str,
                                                                attack: str) -> None:
    found = lab.measure(rule, attack, LIAR, runs=1)
    assert found.auc > truth[rule].auc - MARGINS[rule]
    assert found.pr_auc > truth[rule].pr_auc - MARGINS[rule]


# the attacks themselves


def models(count: int = 4) -> tuple[Arrays, dict[str, Arrays]]:
    rng = np.random.default_rng(3)

    def one() -> Arrays:
        return {"a": rng.normal(size=(2, 2)).astype(np.float32), "b": rng.normal(size=3).astype(np.float32)}

    return one(), {f"p{i}": one() for i in range(count)}


def moved(model: Arrays, arrays: Arrays) -> list[float]:
    return [float(x) - float(y) for name in model
            for x, y in zip(arrays[name].ravel(), model[name].ravel(), strict=True)]


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_lie_is_what_its_paper_says(attack: str) -> None:
    model, updates = models()
    generator = np.random.default_rng(1)
    sent = told(ATTACKS[attack], "p2", model, updates, generator)
    own, others = moved(model, updates["p2"]), [moved(model, updates[name]) for name in ("p0", "p1", "p3")]
    columns = list(zip(*others, strict=True))
    expected = {
        "none": own, "hundredfold": [100 * x for x in own], "flipped": [-x for x in own],
        "flipped hundredfold": [-100 * x for x in own],
        "huge": [300 * x for x in np.random.default_rng(1).standard_normal(7)],
        "a little": [statistics.fmean(column) - 1.5 * statistics.pstdev(column) for column in columns],
        "against the others": [-100 * statistics.fmean(column) for column in columns]}[attack]
    np.testing.assert_allclose(moved(model, sent["p2"]), expected, rtol=1e-4, atol=1e-4)
    assert all(sent[name] is updates[name] for name in ("p0", "p1", "p3"))


@pytest.mark.long
def test_a_lie_is_one_that_the_coordinator_would_accept() -> None:
    model, updates = models()
    far = {name: {part: value * np.float32(900) for part, value in arrays.items()} for name, arrays in updates.items()}
    for name, attack in ATTACKS.items():
        if name != "none":
            check_arrays(told(attack, "p0", model, far, np.random.default_rng(1))["p0"], model)


# the command


class Entry:
    def __init__(self, name: str, slots: int) -> None:
        self.name, self.slots, self.kind = name, slots, PartnerKind.NGO


class Plan:
    label, slots = "SYNTHETIC", 40
    roster = (Entry("small", 8), Entry("middle", 16), Entry("large", 16))

    def partner(self, name: str) -> Entry | None:
        return next((entry for entry in self.roster if entry.name == name), None)


class StandIn:
    """A lab in which nothing is trained."""

    plan = Plan()
    rules: dict[str, Any] = dict.fromkeys(RULES)

    @classmethod
    def prepare(cls, chosen: Settings, folder: Path) -> StandIn:
        if chosen.seed == 13:
            raise InputError("seed", "is 13", bound="another", remedy="take it")
        return cls()

    def measure(self, rule: str, attack: str, liar: str, *, runs: int) -> Figures:
        return Figures(auc=RULES.index(rule) / 10 + len(liar) / 100, pr_auc=runs / 1000)


def run(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("simulations.poisoning.__main__.Lab", StandIn)
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "160"})


def test_the_command_takes_a_small_and_a_large_liar_and_prints_both(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("--runs", "2", monkeypatch=monkeypatch)
    assert done.exit_code == 0, done.output
    assert "small lies (8 of 40 slots)" in done.stdout
    assert "middle lies (16 of 40 slots)" in done.stdout
    assert "large lies" not in done.stdout
    assert "0.350 / 0.002" in done.stdout
    assert all(attack in done.stdout for attack in ATTACKS)


def test_its_json_holds_every_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("--json", "--liar", "large", "--liar", "large", monkeypatch=monkeypatch)
    found = json.loads(done.stdout)
    assert found["runs"] == 3
    assert set(found["figures"]) == {"large"}
    assert set(found["figures"]["large"]) == set(ATTACKS)
    assert found["figures"]["large"]["huge"]["trimmed_mean"] == {"auc": pytest.approx(0.25), "pr_auc": 0.003}


@pytest.mark.parametrize(("arguments", "words"), [
    (["--liar", "nobody"], "liar: nobody is not a partner. What to do: give one of small, middle, large."),
    (["seed=13"], "seed: is 13. Allowed: another."), (["training.robust.median=1"], "settings: "),
    (["training.robust.iterations=0"], "training.robust.iterations"),
])
def test_what_it_cannot_use_it_says(monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str) -> None:
    done = run(*arguments, monkeypatch=monkeypatch)
    assert done.exit_code == 2
    assert words in done.stderr


def test_a_lab_needs_updates_that_are_seen(tmp_path: Path) -> None:
    chosen = settings(tmp_path, "training=secure", "training.local_steps=1")
    with pytest.raises(InputError, match="sees no update"):
        Lab.prepare(chosen, tmp_path)
