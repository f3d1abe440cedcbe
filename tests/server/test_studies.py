"""What the coordinator keeps of a study: its noisy sums, and a commitment to them that tells nobody anything."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from federation.errors import InputError
from federation.plan import StudyPlan
from federation.privacy.guarantee import table_variances
from federation.statistics import Measurements, TableLayout
from server.coordinator import CoordinatorHome
from server.rounds import StageReport, StudyOutcome
from server.studies import commitment_to, measurements_json, read_measurements, salt_for
from tests.worlds import COORDINATOR, make_plan, sign

PLAN = make_plan()


def sums(plan: StudyPlan = PLAN, partners: tuple[str, ...] = ("partner-0", "partner-2")) -> Measurements:
    layout = TableLayout(plan)
    return Measurements(layout=layout, values=np.arange(layout.length, dtype=np.int64) - 7, partners=partners,
                        variances=table_variances(plan, len(partners)))


def test_sums_come_back_as_they_were() -> None:
    found = read_measurements(measurements_json(sums()), PLAN, name="x")
    np.testing.assert_array_equal(found.values, sums().values)
    assert (found.partners, found.variances) == (sums().partners, sums().variances)


def test_a_commitment_is_a_hash_of_salt_and_sums() -> None:
    data = measurements_json(sums())
    assert commitment_to(data, b"s" * 32) == hashlib.sha256(b"s" * 32 + data).hexdigest()
    assert commitment_to(data, b"t" * 32) != commitment_to(data, b"s" * 32)
    assert commitment_to(data.replace(b"-7", b"-8"), b"s" * 32) != commitment_to(data, b"s" * 32)


def test_a_salt_is_new_each_time_but_in_a_rehearsal() -> None:
    real = PLAN.model_copy(update={"rehearsal": False})
    assert len({salt_for(real) for _ in range(3)}) == 3
    assert salt_for(PLAN) == salt_for(PLAN)
    assert salt_for(PLAN) != salt_for(make_plan(learning_rate=2.0))
    assert {len(salt_for(plan)) for plan in (PLAN, real)} == {32}


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000,
                                  b'{"plan_sha256":"00","partners":["a"],"values":[1]}'])
def test_what_are_no_sums_is_told(text: bytes) -> None:
    with pytest.raises(InputError, match="does not hold the noisy sums"):
        read_measurements(text, PLAN, name="x")


def test_sums_of_another_plan_or_shape_are_told() -> None:
    with pytest.raises(InputError, match="belongs to plan"):
        read_measurements(measurements_json(sums(make_plan(learning_rate=2.0))), PLAN, name="x")
    document = json.loads(measurements_json(sums()))
    for values in (document["values"][:-1], [*document["values"], 0], [2**70] * len(document["values"])):
        with pytest.raises(InputError, match="other numbers than the plan's cells"):
            read_measurements(json.dumps({**document, "values": values}).encode(), PLAN, name="x")
    for values in ([1.5] * len(document["values"]), ["1"] * len(document["values"])):
        with pytest.raises(InputError, match="does not hold"):
            read_measurements(json.dumps({**document, "values": values}).encode(), PLAN, name="x")


def test_a_study_is_kept_whole_and_private(tmp_path: Path) -> None:
    home = CoordinatorHome.create(tmp_path / "home", key=COORDINATOR)
    model = {"output.weight": np.ones((2, 3), np.float32)}
    stage = StageReport(stage="hello", answered=("partner-0",), late=(), refused=(("partner-1", "busy"),), seconds=1.5)
    home.keep(sign(PLAN), StudyOutcome(model=model, measurements=sums(), stages=(stage,)))
    study = home.study(PLAN.sha256)
    assert {path.name for path in study.path.iterdir()} == {
        "plan.json", "model.safetensors", "measurements.json", "measurements.salt", "stages.json"}
    for path in (study.measurements_path, study.salt_path):
        assert path.stat().st_mode & 0o777 == 0o600
    assert study.signed_plan(COORDINATOR.public) == sign(PLAN)
    np.testing.assert_array_equal(study.model()["output.weight"], model["output.weight"])
    assert json.loads((study.path / "stages.json").read_text())[0]["refused"] == [["partner-1", "busy"]]
    assert [path.name for path in study.path.parent.iterdir()] == [PLAN.sha256[:16]]
    with pytest.raises(InputError, match="public_key"):
        study.signed_plan("0" * 64)


def test_secrets_that_others_can_read_are_refused(tmp_path: Path) -> None:
    home = CoordinatorHome.create(tmp_path / "home", key=COORDINATOR)
    home.keep(sign(PLAN), StudyOutcome(model={"w": np.ones(1, np.float32)}, measurements=sums(), stages=()))
    home.study(PLAN.sha256).salt_path.chmod(0o644)
    with pytest.raises(InputError, match="0600"):
        _ = home.study(PLAN.sha256).commitment


def test_a_study_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = CoordinatorHome.create(tmp_path / "home", key=COORDINATOR)
    outcome = StudyOutcome(model={"w": np.ones(1, np.float32)}, measurements=sums(), stages=())

    def full(_measurements: Measurements) -> bytes:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("server.studies.measurements_json", full)
        with pytest.raises(OSError, match="No space"):
            home.keep(sign(PLAN), outcome)
    assert not any((home.path / "studies").iterdir())
    home.keep(sign(PLAN), outcome)
    assert home.study(PLAN.sha256).commitment


def test_two_studies_lie_beside_each_other(tmp_path: Path) -> None:
    home = CoordinatorHome.create(tmp_path / "home", key=COORDINATOR)
    plans = [PLAN, make_plan(learning_rate=2.0)]
    for number, plan in enumerate(plans):
        home.keep(sign(plan), StudyOutcome(model={"w": np.full(1, number, np.float32)}, measurements=sums(plan),
                                           stages=()))
    assert home.model()["w"][0] == 1.0
    assert home.study(PLAN.sha256).model()["w"][0] == 0.0
    assert home.measurements().layout.plan == plans[1]


def test_what_is_no_home_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a coordinator's home"):
        CoordinatorHome.load(tmp_path)
    assert CoordinatorHome.load(CoordinatorHome.create(tmp_path / "home").path).path == tmp_path / "home"
