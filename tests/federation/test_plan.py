from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from federation.errors import InputError
from federation.identity import SigningKey
from federation.plan import MAX_PLAN_BYTES, SignedPlan, StudyPlan, averaged_rounds, read_plan_file
from tests.worlds import COORDINATOR, make_plan, sign


def test_round_trip_gives_the_same_plan_and_hash() -> None:
    signed = sign(make_plan())
    again = SignedPlan.open(signed.to_json(), trusted_key=COORDINATOR.public)
    assert again == signed
    assert again.plan.sha256 == signed.sha256
    assert again.to_json() == signed.to_json()


def test_plan_is_frozen() -> None:
    with pytest.raises(ValidationError):
        make_plan().study = "other"  # type: ignore[misc]


def _tampered(change: dict[str, object]) -> str:
    tree = json.loads(sign(make_plan()).to_json())
    tree["plan"]["training"] |= change
    return json.dumps(tree)


@pytest.mark.parametrize("change", [{"noise_multiplier": 0.1}, {"l2_clip_norm": 100.0}, {"rounds": 9}])
def test_a_changed_plan_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match="sha256"):
        SignedPlan.open(_tampered(change), trusted_key=COORDINATOR.public)


def test_a_changed_plan_with_its_new_hash_is_refused() -> None:
    tree = json.loads(_tampered({"noise_multiplier": 0.1}))
    weaker = StudyPlan.model_validate_json(json.dumps(tree["plan"]))
    tree["sha256"] = weaker.sha256
    with pytest.raises(InputError, match="signature"):
        SignedPlan.open(json.dumps(tree), trusted_key=COORDINATOR.public)


def test_a_plan_signed_by_somebody_else_is_refused() -> None:
    other = SignedPlan.sign(make_plan(), SigningKey.from_bytes(b"x" * 32))
    with pytest.raises(InputError, match="pinned"):
        SignedPlan.open(other.to_json(), trusted_key=COORDINATOR.public)


def test_a_foreign_key_in_the_envelope_does_not_help() -> None:
    tree = json.loads(SignedPlan.sign(make_plan(), SigningKey.from_bytes(b"x" * 32)).to_json())
    tree["public_key"] = COORDINATOR.public
    with pytest.raises(InputError, match="signature"):
        SignedPlan.open(json.dumps(tree), trusted_key=COORDINATOR.public)


@pytest.mark.parametrize("text", ["", "{}", "null", "[1]", "not json", '{"plan": {}}'])
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="plan"):
        SignedPlan.open(text, trusted_key=COORDINATOR.public)


@pytest.mark.parametrize(("part", "field", "value"), [
    ("training", "noise_multiplier", 0.0), ("training", "noise_multiplier", math.nan),
    ("training", "noise_multiplier", math.inf), ("training", "l2_clip_norm", -1.0),
    ("training", "l2_clip_norm", math.inf), ("training", "sampling_probability", 0.0),
    ("training", "sampling_probability", 1.5), ("training", "rounds", 0), ("training", "max_records_per_person", 9),
    ("privacy", "delta", 0.0), ("privacy", "delta", math.nan),
    ("training", "l2_clip_norm", 1.7e-44), ("training", "learning_rate", 1e38), ("training", "weight_decay", 10.0),
    ("training", "sampling_probability", 1e-9), ("model", "intercept_scale", 1e39),
    ("training", "noise_multiplier", 1e-3),
    ("conduct", "quorum", 0), ("conduct", "stage_deadline_seconds", math.inf),
    *(("release", name, value) for name, values in {
        "minimum_count": (0, 2.5), "false_publication": (0.0, 1.0, math.nan), "minimum_partners": (0,),
        "minimum_kinds": (0, 4), "most_of_one_partner": (0.0, 1.01, math.nan), "least_youden": (0.0, 1.0, math.nan),
        "band_factor": (1.0, 101.0, math.nan), "embargo_days": (-1,), "signatures": (1, 4)}.items()
      for value in values),
    *(("statistics", name, value) for name, values in {
        "flag_threshold": (0.0, 1.0, math.nan), "max_roles_per_person": (0, 5)}.items() for value in values),
])
def test_settings_that_would_void_the_promise_are_refused(part: str, field: str, value: float) -> None:
    tree = make_plan().model_dump()
    tree[part][field] = value
    with pytest.raises(ValidationError):
        StudyPlan.model_validate(tree)


def test_delta_must_fit_the_largest_partner() -> None:
    tree = make_plan().model_dump()
    tree["privacy"]["delta"] = 0.05
    with pytest.raises(ValidationError, match=r"slots\^-1.1"):
        StudyPlan.model_validate(tree)


def test_a_partner_listed_twice_is_refused() -> None:
    tree = make_plan().model_dump()
    tree["roster"] = (*tree["roster"], tree["roster"][0])
    with pytest.raises(ValidationError, match="twice"):
        StudyPlan.model_validate(tree)


def test_an_invented_region_in_a_real_study_is_refused() -> None:
    tree = make_plan().model_dump()
    tree["synthetic"] = False
    with pytest.raises(ValidationError, match="user-assigned"):
        StudyPlan.model_validate(tree)


@pytest.mark.parametrize(("rounds", "share", "expected"), [(15, 0.5, 8), (1, 0.1, 1), (4, 1.0, 4), (10, 0.25, 3)])
def test_averaged_rounds(rounds: int, share: float, expected: int) -> None:
    assert averaged_rounds(make_plan(rounds=rounds, averaged_share=share, noise_multiplier=20.0).training) == expected


@pytest.mark.parametrize("hidden", [None, 1, 7])
def test_model_size_counts_what_an_update_holds(hidden: int | None) -> None:
    from federation.model import initial_model, model_arrays

    plan = make_plan()
    plan = plan.model_copy(update={"model": plan.model.model_copy(update={"hidden_units": hidden})})
    assert plan.model_size == sum(value.size for value in model_arrays(initial_model(plan)).values())


def test_a_plan_file_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(sign(make_plan()).to_json() + "\n")
    assert SignedPlan.open(read_plan_file(path), trusted_key=COORDINATOR.public) == sign(make_plan())


def test_what_cannot_be_a_plan_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xe9\xff")
    (tmp_path / "vast").write_bytes(b" " * (MAX_PLAN_BYTES + 1))
    for name in ("nowhere", ".", "latin", "vast"):
        with pytest.raises(InputError, match="plan"):
            read_plan_file(tmp_path / name)
