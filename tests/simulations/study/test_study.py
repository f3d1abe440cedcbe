"""A whole study of a tiny world, the word lists, and the command."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from federation.errors import InputError
from federation.start import sentences
from federation.taxonomy import Indicator, Task
from simulations.federation import plan_for
from simulations.study import __main__ as command
from simulations.study.figures import figures_of
from simulations.study.lexicon import lexicon, lexicon_score, words_of
from simulations.study.records import Bench
from simulations.study.run import Asked, run, unprotected
from simulations.world.slices import slices, truth_table
from simulations.world.synthetic import SyntheticWorld
from tests.simulations.study.test_study_pages import study
from tests.simulations.test_federation_faults import settings

METHODS = {("lexicon", None), ("pooled", None), ("federated", None), ("alone", None), ("local", 3.0), ("secure", 3.0),
           ("alone", 3.0)}


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return ("world.size=tiny", "encoder=hashing", "encoder.dimension=128", "training.rounds=2",
            "training.local_steps=1", f"simulation.cache={tmp_path_factory.mktemp('cache')}")


@pytest.fixture(scope="module")
def ran(overrides: tuple[str, ...]) -> dict[str, Any]:
    told: list[str] = []
    found = run(Asked(worlds=("synthetic",), seeds=(1,), epsilons=(3.0,), overrides=overrides), told.append)
    assert told == ["synthetic, seed 1"]
    return found


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    chosen = settings(tmp_path_factory.mktemp("cache"))
    return Bench.prepare(chosen, plan_for(chosen, chosen.open_world()).plan, tmp_path_factory.mktemp("bench"))


def test_json_has_every_method_task_and_truth(ran: dict[str, Any]) -> None:
    assert json.loads(json.dumps(ran, allow_nan=False)) == ran
    assert set(ran) == {"worlds", "seeds", "epsilons", "overrides", "rows"}
    assert ran["worlds"]["synthetic"]["label"] == "SYNTHETIC"
    assert ran["worlds"]["synthetic"]["partners"] == 8
    for basis in ("truth", "recorded"):
        for task in ("recruitment", "distress"):
            rows = [row for row in ran["rows"] if (row["basis"], row["task"]) == (basis, task)]
            assert {(row["method"], row["epsilon"]) for row in rows} == METHODS
            assert all(bool(row["partner"]) == bool(row["kind"]) == (row["method"] == "alone") for row in rows)
            assert all(0 <= row["figures"]["pr_auc"] <= 1 for row in rows)
            # All are judged on the same records.
            assert len({row["figures"]["prevalence"] for row in rows}) == 1
    lists = [row["figures"] for row in ran["rows"] if row["method"] == "lexicon"]
    assert all(figures["calibration_error"] is None for figures in lists)


def test_a_study_repeats_itself(ran: dict[str, Any], overrides: tuple[str, ...]) -> None:
    again = run(Asked(worlds=("synthetic",), seeds=(1,), epsilons=(3.0,), overrides=overrides), lambda _what: None)
    assert again == ran


def test_records_are_joined_to_their_truth_and_parts(bench: Bench) -> None:
    world = SyntheticWorld(seed=1, size="tiny")
    judged = bench.judged["truth", Task.RECRUITMENT]
    assert len(bench.inputs) == len(bench.lexicon) == len(bench.priors) == len(judged.truth)
    assert not np.isnan(judged.truth).any()
    for partner in world.partners:
        truth, own = truth_table(world, partner.name), judged.partner == partner.name
        parts = slices(truth)
        # Everything that the encoder reads, and it reads every language here.
        assert own.sum() == len(truth)
        assert judged.truth[own].sum() == truth["true_recruitment"].sum()
        assert judged.unseen[own].sum() == parts["template_unseen"].sum()
        for name, mask in judged.groups.items():
            assert mask[own].sum() == (parts[name].sum() if name in parts else 0)
        recorded = bench.judged["recorded", Task.RECRUITMENT].truth[own]
        assert (recorded == 1).sum() == (truth["recorded_recruitment"] == "positive").sum()
        assert (recorded == 0).sum() == (truth["recorded_recruitment"] == "negative").sum()
    assert 0.1 < judged.held_out.mean() < 0.3
    assert {"hard_negative:migrant_job", "hard_negative:adult_services"} <= set(judged.groups)


def test_unseen_templates_are_never_labelled(bench: Bench) -> None:
    for task in bench.tasks:
        unseen = bench.judged["truth", task].unseen
        assert np.isnan(bench.judged["recorded", task].truth[unseen]).all()


def test_scores_of_lists_belong_to_their_records(bench: Bench) -> None:
    world = SyntheticWorld(seed=1, size="tiny")
    for partner in world.partners:
        texts = [draft.row["text"] for draft in world.stream(partner.name) if not draft.bad]
        own = bench.lexicon[bench.judged["truth", Task.DISTRESS].partner == partner.name]
        for column, task in enumerate(bench.tasks):
            # Stored texts are redacted, which may cost a word here or there.
            expected = np.array([lexicon_score(task, text) for text in texts])
            assert np.sort(own[:, column]).mean() == pytest.approx(expected.mean(), abs=0.2)


def test_a_list_holds_words_that_signals_have_more_often() -> None:
    for task in Task:
        signal, other = sentences(task)
        for word in lexicon(task):
            inside = sum(word in words_of(text) for text in signal) / len(signal)
            outside = sum(word in words_of(text) for text in other) / len(other)
            assert inside > outside or any(word in tag.value.split("_") for tag in Indicator), word
    assert {"scared", "afraid"} <= lexicon(Task.DISTRESS)
    assert "passport" in lexicon(Task.RECRUITMENT)
    assert lexicon_score(Task.RECRUITMENT, "PASSPORT, passport; nothingofthekind") == 1.0


def test_steps_without_noise_are_of_the_classical_length(bench: Bench, tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    plan = plan_for(chosen, chosen.open_world()).plan
    slots = {entry.name: entry.slots for entry in plan.roster}
    shares = {name: len(own) / slots[name] for name, own in bench.people.items()}
    assert unprotected(plan, bench.people).training.learning_rate == pytest.approx(4 / 1.01 / max(shares.values()))
    own = {"ngo-legal": bench.people["ngo-legal"]}
    assert unprotected(plan, own).training.learning_rate == pytest.approx(4 / 1.01 / shares["ngo-legal"])
    assert unprotected(plan, own).training.rounds == 4 * plan.training.rounds


@pytest.mark.parametrize(("text", "expected"), [("3", (3.0,)), ("0.5,1,1", (0.5, 1.0))])
def test_epsilons_are_read(text: str, expected: tuple[float, ...]) -> None:
    assert command.numbers(text) == expected


@pytest.mark.parametrize("text", ["", "1,", "none", "0", "-1", "inf", "nan"])
def test_what_is_no_epsilon_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="epsilons"):
        command.numbers(text)


def start(*arguments: str) -> Any:
    app = typer.Typer()
    app.command()(command.main)
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "160"})


@pytest.mark.parametrize(("secure", "code"), [(0.66, 0), (0.55, 1)])
def test_the_command_tells_by_its_exit_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, secure: float,
                                            code: int) -> None:
    asked: list[Asked] = []
    monkeypatch.setattr(command, "run", lambda what, progress: asked.append(what) or study(secure))
    monkeypatch.setattr(command, "DOCS", tmp_path)
    done = start("--seeds", "2", "--epsilons", "1,3", "--json", str(tmp_path / "study.json"), "--docs",
                 "world.size=tiny")
    assert done.exit_code == code, done.output
    assert asked == [Asked(worlds=("synthetic",), seeds=(1, 2), epsilons=(1.0, 3.0), overrides=("world.size=tiny",))]
    assert json.loads((tmp_path / "study.json").read_text()) == study(secure)
    assert (tmp_path / "utility.md").is_file()
    assert ("MISSED" in done.stdout) == bool(code)


@pytest.mark.parametrize(("arguments", "words"), [
    (["--worlds", "mars"], "worlds: mars is unknown"), (["--worlds", "sms"], "data.root: is not set"),
    (["--epsilons", "0"], "epsilons: 0 cannot be read"), (["world.size=huge"], "world.size: huge is unknown")])
def test_what_it_cannot_use_it_says(arguments: list[str], words: str) -> None:
    done = start(*arguments)
    assert done.exit_code == 2
    assert words in done.stderr


def test_nothing_is_known_of_a_model_that_says_nothing(bench: Bench) -> None:
    flat = np.zeros(len(bench.inputs))
    found = figures_of(flat, None, bench.judged["truth", Task.DISTRESS])
    assert found["auc"] == 0.5
    assert math.isclose(found["pr_auc"], found["prevalence"])
