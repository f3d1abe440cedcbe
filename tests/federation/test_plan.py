from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from federation.canonical import canonical_json, sha256_hex
from federation.errors import InputError
from federation.identity import SigningKey
from federation.plan import MAX_PLAN_BYTES, SignedPlan, StudyPlan, averaged_rounds, read_plan_file
from federation.plan_parts import ReleaseSpec
from federation.plan_statistics import AppearancesSpec, Corridor, IndicatorsSpec, ScoresSpec, SeriesSpec, SuperRegion
from federation.taxonomy import AreaLevel, Family, RegionRole
from tests.worlds import (
    COORDINATOR,
    CORRIDORS,
    REGIONS,
    RELEASE,
    SUPER_REGIONS,
    TAGS,
    make_plan,
    make_statistics,
    sign,
)


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


# The tables: what may be asked for. Each row breaks one rule of a plan that keeps all.

NORTH, SOUTH = SUPER_REGIONS


@pytest.mark.parametrize(("change", "problem"), [
    ({"regions": ("XA-01", "XA-01", "XA-02", "XA-03")}, "listed twice"),
    ({"regions": ()}, "at least 1 item"),
    ({"roles": ()}, "at least 1 item"),
    ({"roles": (RegionRole.ORIGIN,) * 2}, "listed twice"),
    ({"protected": ("XA-09", "XA-09")}, "listed twice"),
    ({"corridors": CORRIDORS[:1] * 2}, "listed twice"),
    ({"protected": REGIONS, "super_regions": (), "corridors": ()}, "regions: all of them are protected"),
    ({"max_roles_per_person": 3}, "max_roles_per_person is 3, expected at most the 2 roles"),
    ({"appearances": AppearancesSpec(releases_a_year=4, releases_per_person=5, release_of_year=1)},
     r"appearances\.releases_per_person is above releases_a_year"),
    ({"appearances": AppearancesSpec(releases_a_year=4, releases_per_person=4, release_of_year=5)},
     r"appearances\.release_of_year is above releases_a_year"),
    ({"super_regions": (NORTH, SOUTH, NORTH)}, "super_regions: one is listed twice"),
    ({"super_regions": (NORTH, SOUTH, NORTH.model_copy(update={"code": "XA:other"}))}, "or a region is in two"),
    ({"super_regions": (NORTH, SOUTH.model_copy(update={"regions": ("XA-03", "XA-03")}))}, "or a region is in two"),
    ({"super_regions": (NORTH,), "corridors": ()}, "super_regions: must hold every region that is not protected"),
    ({"super_regions": (NORTH, SOUTH.model_copy(update={"regions": ("XA-03", "XA-04")}))}, "and nothing else"),
    ({"protected": ("XA-03",)}, "super_regions: must hold every region that is not protected, and nothing else"),
    ({"super_regions": (NORTH, SOUTH.model_copy(update={"code": "XB:south"})), "corridors": ()},
     "super_regions: one holds a region of another country"),
    ({"corridors": (Corridor(origin="XA:north", destination="XA:west"),)}, "corridors: each end must be"),
    ({"corridors": (Corridor(origin="XB", destination="XA"),)}, "corridors: each end must be"),
    ({"corridors": (Corridor(origin="XA-01", destination="XA-02"),)}, "corridors: each end must be"),
    ({"corridors": (*CORRIDORS, Corridor(origin="XA", destination="XA"))}, "all ends must be super-regions, or all c"),
    ({"corridors": (Corridor(origin="XA", destination="XA:north"),)}, "all ends must be super-regions, or all count"),
    ({"super_regions": (), "corridors": (), "indicators": IndicatorsSpec(level=AreaLevel.SUPER_REGION, tags=TAGS)},
     r"indicators\.level: the plan has no super-regions"),
    ({"scores": ScoresSpec(bins=8, reach=1.0), "noise_scales": {
        **make_statistics(scores=ScoresSpec(bins=8, reach=1.0)).noise_scales, Family.SCORES: 5.99}},
     "noise_scales.scores is 5.99, expected at least the 6 of confusion, in whose price it is"),
    ({"scores": ScoresSpec(bins=8, reach=1.0), "noise_scales": make_statistics().noise_scales}, "given for .*expected"),
    ({"noise_scales": make_statistics(scores=ScoresSpec(bins=8, reach=1.0)).noise_scales}, "given for .*scores"),
    ({"noise_scales": {}}, "noise_scales: given for nothing, expected for regions, super_regions"),
    ({"noise_scales": dict.fromkeys([*Family][1:], 6.0)}, "noise_scales: given for .*, expected for regions, "),
    ({"indicators": None, "noise_scales": dict.fromkeys(Family, 6.0)}, "noise_scales: given for .*indicators"),
    *(({"noise_scales": {**dict.fromkeys(Family, 6.0), Family.DOMINANCE: scale}}, r"noise_scales\.dominance")
      for scale in (0.0, 0.09, -6.0, math.nan, math.inf, 1.1e5)),
])
def test_tables_that_do_not_fit_together_are_refused(change: dict[str, Any], problem: str) -> None:
    make_statistics()
    with pytest.raises(ValidationError, match=problem):
        make_statistics(**change)


@pytest.mark.parametrize(("make", "problem"), [
    (lambda: IndicatorsSpec(level=AreaLevel.COUNTRY, tags=()), "at least 1 item"),
    *((lambda bins=bins: ScoresSpec(bins=bins, reach=1.0), "than") for bins in (-1, 0, 3, 257)),
    *((lambda reach=reach: ScoresSpec(bins=8, reach=reach), "than") for reach in (0.0, -1.0, 0.009, 101.0, math.inf)),
    (lambda: ScoresSpec(bins=8, reach=math.nan), "than"),
    (lambda: ScoresSpec(bins=8.0, reach=1.0), "integer"),
    (lambda: IndicatorsSpec(level=AreaLevel.COUNTRY, tags=TAGS[:1] * 2), "listed twice"),
    *((lambda values=values: AppearancesSpec(**dict(zip(AppearancesSpec.model_fields, values, strict=True))), "than")
      for values in ((0, 1, 1), (1, 0, 1), (1, 1, 0), (367, 1, 1))),
    *((lambda code=code: SuperRegion(code=code, name="North", regions=("XA-01",)), "pattern")
      for code in ("XA", "XA-01", "xa:north", "XA:North", "XA:", "XA:" + "a" * 41, "XA:a b")),
    (lambda: SuperRegion(code="XA:north", name="", regions=("XA-01",)), "at least 1 char"),
    (lambda: SuperRegion(code="XA:north", name="North", regions=()), "at least 1 item"),
])
def test_parts_of_the_tables_that_are_none_are_refused(make: Callable[[], object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        make()


def test_a_period_ends_no_earlier_than_it_begins() -> None:
    tree = make_plan().model_dump()
    tree["period_end"] = tree["statistics"]["period_start"]
    StudyPlan.model_validate(tree)
    tree["period_end"] -= timedelta(days=1)
    with pytest.raises(ValidationError, match=r"statistics\.period_start 2026-04-01 is after period_end 2026-03-31"):
        StudyPlan.model_validate(tree)


@pytest.mark.parametrize(("start", "end"), [("1899-12-31", "2026-06-30"), ("2026-04-01", "2200-01-01"),
                                            ("2026-04-01", "9999-12-31")])
def test_a_period_lies_where_days_can_be_added_to_it(start: str, end: str) -> None:
    tree = make_plan().model_dump()
    tree["period_end"], tree["statistics"]["period_start"] = date.fromisoformat(end), date.fromisoformat(start)
    with pytest.raises(ValidationError, match="not within 1900 to 2199"):
        StudyPlan.model_validate(tree)


@pytest.mark.parametrize("place", ["regions", "protected"])
def test_places_that_there_are_not_are_refused(place: str) -> None:
    tree = make_plan().model_dump()
    tree["statistics"] = make_statistics(super_regions=(), corridors=(), indicators=None).model_dump()
    StudyPlan.model_validate(tree)
    tree["statistics"][place] = (*tree["statistics"][place], "ZZ-99")
    with pytest.raises(ValidationError, match="ZZ-99"):
        StudyPlan.model_validate(tree)


@pytest.mark.parametrize(("change", "problem"), [
    ({"signers": RELEASE.signers[:1], "signatures": 1}, "at least 2|greater than or equal to 2"),
    ({"signers": (*RELEASE.signers, RELEASE.signers[0])}, "signers: two have the same name or the same key"),
    ({"signers": (*RELEASE.signers[:2], RELEASE.signers[0].model_copy(update={"name": "other"}))}, "the same key"),
    ({"signers": (*RELEASE.signers[:2], RELEASE.signers[2].model_copy(update={"name": "officer1"}))}, "same name"),
    ({"signatures": 4}, "signatures is 4, expected at most the 3 signers"),
    ({"signatures": 1}, "greater than or equal to 2"),
])
def test_who_signs_a_release_are_several_different_people(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        ReleaseSpec(**{**dict(RELEASE), **change})


def test_what_is_counted_follows_from_the_parts_that_there_are() -> None:
    series = SeriesSpec(name="all", index=1, level=AreaLevel.COUNTRY)
    scores = ScoresSpec(bins=8, reach=1.0)
    assert make_statistics(series=series, scores=scores).families == tuple(Family)
    assert Family.SCORES not in make_statistics(series=series).families
    every = tuple(Family)[:-2]
    assert make_statistics().families == every
    assert make_statistics(super_regions=(), corridors=(), indicators=None).families == (
        Family.REGIONS, Family.COUNTRIES, Family.CONFUSION, Family.DOMINANCE)
    for part, family, without in (("indicators", Family.INDICATORS, None), ("corridors", Family.CORRIDORS, ())):
        assert make_statistics(**{part: without}).families == tuple(one for one in every if one is not family)


def test_scales_survive_the_journey_as_json() -> None:
    scales = {family: 2.0 + number / 7 for number, family in enumerate(make_statistics().families)}
    plan = make_plan().model_copy(update={"statistics": make_statistics(noise_scales=scales)})
    again = SignedPlan.open(sign(plan).to_json(), trusted_key=COORDINATOR.public).plan
    assert again.statistics == plan.statistics
    assert again.sha256 == plan.sha256
    # In whichever order they were given: the hash is of what is said.
    turned = plan.model_copy(update={"statistics": make_statistics(
        noise_scales=dict(reversed(scales.items())))})
    assert turned.sha256 == plan.sha256


@pytest.mark.parametrize("version", [
    "", "1\n\n# Approved by the ministry", "<script>", "[x](javascript:y)", "1 2", "v" * 64])
def test_an_encoders_version_is_no_free_text(version: str) -> None:
    tree = json.loads(sign(make_plan()).to_json())["plan"]
    StudyPlan.model_validate_json(json.dumps(tree | {"encoder": tree["encoder"] | {"version": "1.2.0rc1+cpu"}}))
    with pytest.raises(ValidationError, match=r"encoder\.version"):
        StudyPlan.model_validate_json(json.dumps(tree | {"encoder": tree["encoder"] | {"version": version}}))


@pytest.mark.parametrize("mark", ["\u200b", "\ufeff", "\u202e", "\u2067", "\u00ad"])
@pytest.mark.parametrize("name", ["label", "purpose", "super_regions"])
def test_no_text_of_a_plan_holds_what_cannot_be_seen(name: str, mark: str) -> None:
    tree = json.loads(sign(make_plan()).to_json())["plan"]
    if name == "super_regions":
        tree["statistics"]["super_regions"][0]["name"] += mark
    else:
        tree[name] += mark
    with pytest.raises(ValidationError, match=f"{name}.*\n.*invisible character"):
        StudyPlan.model_validate_json(json.dumps(tree))


def test_a_plan_without_scores_has_the_bytes_and_the_hash_that_it_had_before_there_were_any() -> None:
    plan = make_plan()
    tree = json.loads(plan.to_json())
    # Computed by the version before; a start of the model came into plans later.
    assert tree["model"].pop("start") is None
    assert sha256_hex(canonical_json(tree)) == "368806381572db0979b164785b924022823f27f1991f024bb6b6aae39158c1b7"
    assert "scores" not in json.loads(plan.to_json())["statistics"]
    assert SignedPlan.open(sign(plan).to_json(), trusted_key=COORDINATOR.public).plan == plan


def test_a_plan_with_scores_comes_back_from_its_json() -> None:
    plan = make_plan(statistics={"scores": ScoresSpec(bins=12, reach=0.6)})
    assert plan.sha256 != make_plan().sha256
    opened = SignedPlan.open(sign(plan).to_json(), trusted_key=COORDINATOR.public).plan
    assert opened == plan
    assert opened.statistics.scores == ScoresSpec(bins=12, reach=0.6)
    # What says nothing of them, and what says that there are none, are not both a plan: one hash has one text.
    tree = json.loads(sign(make_plan()).to_json())
    tree["plan"]["statistics"]["scores"] = None
    with pytest.raises(InputError, match="rebuilding"):
        SignedPlan.open(json.dumps(tree), trusted_key=COORDINATOR.public)
