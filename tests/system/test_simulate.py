"""The command as a user types it, in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from server.release.audit import Evidence, audit_release
from server.release.bundle import ALL

LEELIGHT = str(Path(sys.executable).with_name("leelight"))
SMALL = ["world.size=tiny", "encoder=hashing", "encoder.dimension=256", "training.rounds=2", "training.local_steps=2"]


def run(folder: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), "HOME": str(folder), "COLUMNS": "120"}
    return subprocess.run([LEELIGHT, *arguments], capture_output=True, text=True, cwd=cwd or folder, env=environment,
                          timeout=280, check=False)


MEASURED = ("model.safetensors", "measurements.json", "measurements.salt")


def study(folder: Path) -> Path:
    """What the coordinator keeps of a run's study."""
    found, = (folder / "coordinator/studies").iterdir()
    return found


def published(folder: Path) -> Path:
    """The release of a run."""
    found, = (folder / "coordinator/releases").iterdir()
    return found


def artefacts(folder: Path) -> dict[str, bytes]:
    return {name: (where / name).read_bytes() for where, names in (
        (folder, ("results.json", "coordinator/plan.json", "coordinator/journal.jsonl")), (study(folder), MEASURED),
        (published(folder), ALL)) for name in names}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("simulate")
    result = run(folder, "simulate", *SMALL, "hydra.run.dir=one")
    assert result.returncode == 0, result.stdout + result.stderr
    return folder, result.stdout


def test_it_prints_the_plan_then_the_results_then_the_place(finished: tuple[Path, str]) -> None:
    _, output = finished
    places = [output.index(word) for word in ("Study plan · SYNTHETIC", "ε ≤", "Published", "ngo-shelter",
                                              "Federated, protected", "Alone, protected", "Released", "index.html",
                                              "leelight audit release")]
    assert places == sorted(places)


def test_it_leaves_a_release_that_verifies(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    plan = json.loads((folder / "one/coordinator/plan.json").read_text())
    kept = study(folder / "one")
    report = audit_release(published(folder / "one"), coordinator_key=plan["public_key"], evidence=Evidence(
        measurements=kept / "measurements.json", salt=kept / "measurements.salt"))
    # There is no release before it that it could be held against.
    assert [check.name for check in report.checks if check.outcome != "passed"] == ["previous"]
    assert report.sound
    content = json.loads((published(folder / "one") / "release.json").read_bytes())["content"]
    assert content["label"] == "SYNTHETIC"
    assert content["privacy"]["rehearsal"] is True
    composed = yaml.safe_load((folder / "one/.hydra/config.yaml").read_text())
    assert composed["training"]["rounds"] == 2
    results = json.loads((folder / "one/results.json").read_text())
    assert set(results["quality"]["distress"]) == {"federated", "alone", "federated_without_privacy",
                                                   "pooled_without_privacy"}
    assert results["release"]["folder"] == f"coordinator/releases/{published(folder / 'one').name}"


@pytest.mark.long
def test_the_release_of_a_run_is_audited_by_the_command(finished: tuple[Path, str]) -> None:
    folder, output = finished
    command = next(line for line in output.splitlines() if "leelight audit release" in line).split()[2:]
    audited = run(folder, *command)
    assert audited.returncode == 0, audited.stdout + audited.stderr
    page = published(folder / "one") / "index.html"
    whole = page.read_bytes()
    page.write_bytes(whole.replace(b"SYNTHETIC", b"REAL DATA", 1))
    try:
        audited = run(folder, *command)
    finally:
        page.write_bytes(whole)
    assert (audited.returncode, "index.html" in audited.stdout) == (1, True)


@pytest.mark.long
def test_the_same_seed_gives_the_same_bytes(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    again = run(folder, "simulate", *SMALL, "hydra.run.dir=two")
    assert again.returncode == 0, again.stderr
    assert artefacts(folder / "two") == artefacts(folder / "one")


@pytest.mark.long
def test_flowers_engine_gives_the_same_bytes(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    flower = run(folder, "simulate", *SMALL, "simulation=flower", "hydra.run.dir=flower")
    assert flower.returncode == 0, flower.stdout + flower.stderr
    assert artefacts(folder / "flower") == artefacts(folder / "one")


@pytest.mark.long
def test_noise_from_the_system_changes_the_result(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    system = run(folder, "simulate", *SMALL, "simulation.noise=system", "simulation.baselines=false",
                 "hydra.run.dir=system")
    assert system.returncode == 0, system.stderr
    changed = artefacts(folder / "system")
    for name in MEASURED:
        assert changed[name] != artefacts(folder / "one")[name]
    assert audit_release(published(folder / "system")).sound


def test_nothing_private_lies_with_the_coordinator(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    everything = b"".join(p.read_bytes() for p in (folder / "one/coordinator").rglob("*") if p.is_file())
    source = next((folder / "one/nodes").glob("*ngo-shelter/inbox/*.csv")).read_text(encoding="utf-8")
    texts = [line for line in source.splitlines()[1:] if len(line) > 60]
    assert not any(line[40:80].encode() in everything for line in texts)
    for secret in (folder / "one/nodes").rglob("*.secret"):
        assert secret.read_bytes() not in everything
        assert secret.stat().st_mode & 0o777 == 0o600


@pytest.mark.long
def test_hydras_habits_hold(tmp_path: Path) -> None:
    shown = run(tmp_path, "simulate", "privacy=strict", "--cfg", "job")
    assert shown.returncode == 0
    assert yaml.safe_load(shown.stdout)["privacy"]["training_epsilon"] == 1.0
    sweep = run(tmp_path, "simulate", "--multirun", *SMALL, "seed=1,2", "simulation.baselines=false",
                "hydra.sweep.dir=sweep")
    assert sweep.returncode == 0, sweep.stderr
    assert (tmp_path / "sweep/0/results.json").exists()
    assert (tmp_path / "sweep/1/results.json").exists()


def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    result = run(tmp_path, "simulate", "world=real")
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Cannot run." in result.stdout
    assert "data.root" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


@pytest.mark.long
def test_leelight_alone_shows_what_there_is(tmp_path: Path) -> None:
    shown = run(tmp_path)
    assert "simulate" in shown.stdout
    assert "partner" in shown.stdout
    for command in ("init", "ingest", "review", "approve", "decline"):
        assert command in run(tmp_path, "partner", "--help").stdout
    assert "price" in run(tmp_path, "plan", "--help").stdout
    assert "verify" in run(tmp_path, "ledger", "--help").stdout
    assert "journal" in run(tmp_path, "audit", "--help").stdout
    for command in ("draft", "dry-run", "sign", "publish"):
        assert command in run(tmp_path, "release", "--help").stdout


@pytest.mark.long
def test_a_partner_reviews_and_withdraws_the_plan_of_a_run(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    home = next((folder / "one/nodes").glob("*ngo-shelter")).relative_to(folder)
    plan = "one/coordinator/plan.json"
    reviewed = run(folder, "partner", "review", plan, "--home", str(home))
    assert reviewed.returncode == 0, reviewed.stderr
    places = [reviewed.stdout.index(word) for word in ("SYNTHETIC", "Who asks", "What it costs", "What leaves",
                                                       "never leaves", "Your rules", "was approved here")]
    assert places == sorted(places)
    assert "BROKEN" not in reviewed.stdout
    assert run(folder, "partner", "decline", plan, "--home", str(home)).returncode == 0
    assert "was declined here" in run(folder, "partner", "review", plan, "--home", str(home)).stdout
    priced = run(folder, "plan", "price", plan, "--json")
    assert json.loads(priced.stdout)["price"]["total"] <= json.loads((folder / plan).read_text())[
        "plan"]["privacy"]["total_epsilon"] + 1e-6


@pytest.mark.long
def test_a_release_is_made_by_hand(tmp_path: Path) -> None:
    made = run(tmp_path, "simulate", *SMALL, "simulation.release=by_hand", "simulation.baselines=false",
               "hydra.run.dir=hand")
    assert made.returncode == 0, made.stdout + made.stderr
    assert "leelight release draft --home" in made.stdout
    assert json.loads((tmp_path / "hand/results.json").read_text())["release"] is None
    home = ("--home", "hand/coordinator")
    assert run(tmp_path, "release", "draft", *home).returncode == 0
    assert run(tmp_path, "release", "dry-run", *home).returncode == 0
    for name in ("first-officer", "second-officer"):
        assert run(tmp_path, "release", "publish", *home).returncode == 1
        signed = run(tmp_path, "release", "sign", "--name", name, "--key", f"hand/signers/{name}.key", *home)
        assert signed.returncode == 0, signed.stderr
    out = run(tmp_path, "release", "publish", *home, "--json")
    assert out.returncode == 0, out.stderr
    assert audit_release(tmp_path / json.loads(out.stdout)["path"]).sound
