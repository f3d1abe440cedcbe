"""One partner's broken file stops nobody else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from clients.approvals import require_approval
from clients.node import NodeHome
from federation.errors import InputError
from federation.plan import StudyPlan
from federation.privacy.guarantee import Price
from server.coordinator import CoordinatorHome
from server.release.audit import audit_release
from server.rounds import StageReport, StudyStopped
from simulations import homes
from simulations.federation import plan_for, run_federation
from simulations.homes import SourceOutcome
from simulations.settings import Settings
from simulations.world.interface import World


class Quiet:
    def __init__(self) -> None:
        self.stages: list[StageReport] = []

    def plan_ready(self, plan: StudyPlan, cost: Price) -> None: ...

    def working(self, what: str, total: int | None) -> Callable[[int], None]:
        return lambda done: None

    def ingested(self, outcomes: list[SourceOutcome]) -> None: ...

    def encoded(self, unreadable: int, encoder: str) -> None: ...

    def stage_done(self, report: StageReport) -> None:
        self.stages.append(report)


def settings(cache: Path, *overrides: str) -> Settings:
    size = [] if "world=real" in overrides else ["world.size=tiny"]
    with initialize_config_module("conf", version_base="1.3"):
        return Settings.from_hydra(compose("config", overrides=[
            *size, "encoder=hashing", "encoder.dimension=128", "training.rounds=1",
            "training.local_steps=2", "simulation.baselines=false", "simulation.workers=1",
            f"simulation.cache={cache}", *overrides]))


class Damaged:
    """A world in which one partner's file arrives as the given bytes."""

    def __init__(self, world: World, partner: str, content: bytes) -> None:
        self._world, self._partner, self._content = world, partner, content

    def __getattr__(self, name: str) -> object:
        return getattr(self._world, name)

    def write(self, partner: str, directory: Path) -> Path:
        path = self._world.write(partner, directory)
        if partner == self._partner:
            path.write_bytes(self._content)
        return path


def _compose(cache: Path, *overrides: str) -> None:
    chosen = settings(cache, *overrides)
    plan_for(chosen, chosen.open_world())


HEADER = b"record_id,person,actor_kind,channel,text,language,observed_at\n"


@pytest.mark.parametrize(("content", "word"), [
    pytest.param(b"", "empty", id="empty"),
    pytest.param("text,naïve\n".encode("utf-16"), "utf-8", id="utf-16", marks=pytest.mark.long),
    pytest.param(HEADER, "", id="no rows", marks=pytest.mark.long),
    pytest.param(b"a,b\n1,2\n", "column", id="missing columns", marks=pytest.mark.long),
    pytest.param(b"phone," + HEADER + b"1\n", "phone", id="identity column"),
])
def test_a_broken_file_is_told_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes,
                                                    word: str) -> None:
    chosen = settings(tmp_path / "cache")
    world = Damaged(chosen.open_world(), "ngo-legal", content)
    monkeypatch.setattr(homes, "_world", lambda _settings: world)
    watch = Quiet()
    result = run_federation(chosen, tmp_path / "run", watch)
    problem = next(source for source in result.sources if source.partner == "ngo-legal").problem
    assert "ngo-legal" in problem
    assert word in problem.lower()
    assert watch.stages[1].refused == (("ngo-legal", "not_ready"),)
    assert len(watch.stages[1].answered) == 7
    released = json.loads((result.release / "release.json").read_text())
    assert "ngo-legal" not in released["content"]["coverage"]["in_sum"]
    assert audit_release(result.release).sound


def test_below_the_quorum_nothing_is_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings(tmp_path / "cache", "study.quorum=8")
    world = Damaged(chosen.open_world(), "ngo-legal", b"")
    monkeypatch.setattr(homes, "_world", lambda _settings: world)
    with pytest.raises(StudyStopped, match="ngo-legal"):
        run_federation(chosen, tmp_path / "run", Quiet())
    assert not (tmp_path / "run/coordinator/releases").exists()
    assert not (tmp_path / "run/coordinator/studies").exists()
    # A study that stopped leaves the plan that it was about.
    assert CoordinatorHome(tmp_path / "run/coordinator").signed_plan().plan.conduct.quorum == 8


def test_every_simulated_partner_has_approved_the_plan_that_the_coordinator_keeps(tmp_path: Path) -> None:
    chosen = settings(tmp_path / "cache", "simulation.noise=system")
    result = run_federation(chosen, tmp_path / "run", Quiet())
    kept = CoordinatorHome(tmp_path / "run/coordinator").signed_plan()
    assert kept.plan == result.plan
    for entry in result.plan.roster:
        home = NodeHome.load(next((tmp_path / "run/nodes").glob(f"*-{entry.name}")))
        require_approval(home, kept.plan)
        home.policy().check(kept.plan)
        # Noise from the system is no rehearsal, and these rules would refuse one.
        assert home.policy().rehearsal == "refuse"


@pytest.mark.parametrize("overrides", [
    [], ["privacy=strict"], ["privacy=benchmark"], ["training=poisson", "model=mlp"], ["training.rounds=1"],
    ["privacy.training_epsilon=0.05", "privacy.statistics_epsilon=9"],
])
def test_simulated_rules_fit_what_can_be_set(tmp_path: Path, overrides: list[str]) -> None:
    with initialize_config_module("conf", version_base="1.3"):
        chosen = Settings.from_hydra(compose("config", overrides=["world.size=tiny", "encoder=hashing", *overrides]))
    homes.policy_for(chosen).check(plan_for(chosen, chosen.open_world()).plan)


def test_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    from omegaconf import OmegaConf

    with pytest.raises(InputError, match="surprise"):
        Settings.from_hydra(OmegaConf.create({"surprise": 1}))


@pytest.mark.parametrize(("overrides", "message"), [
    (["world=real"], "data.root"), (["world=real", "data.root=/nowhere"], "/nowhere"), (["world.size=vast"], "vast"),
    (["privacy.training_epsilon=-1"], "epsilon"), (["privacy.training_epsilon=nan"], "epsilon"),
    (["privacy.statistics_epsilon=inf"], "statistics_epsilon"), (["privacy.delta=0.05"], "delta"),
    (["privacy.training_epsilon=0.0000001"], "epsilon"), (["training.rounds=0"], "rounds"),
    (["training.sampling_probability=2"], "sampling_probability"), (["training.l2_clip_norm=0"], "l2_clip_norm"),
    (["training.max_records_per_person=9"], "max_records_per_person"), (["encoder.name=other"], "other"),
    (["study.quorum=99"], "quorum"), (["study.name=Not A Slug"], "study"),
    (["study.holdout_share=0.9"], "holdout_share"),
    (["release.minimum_count=0"], "minimum_count"), (["simulation.engine=other"], "engine"), (["seed=-1"], "seed"),
])
def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _compose(tmp_path, *overrides)
