"""The partner's rules: none is optional, each one binds, and nothing but the partner's disk can move them."""

from __future__ import annotations

import math
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from clients.findings import TABLES as NAMED_TABLES
from clients.policy import Ceilings, Policy
from federation.errors import InputError
from federation.plan import StudyPlan
from federation.plan_statistics import SeriesSpec
from federation.privacy.guarantee import price
from federation.statistics import shift_of
from federation.taxonomy import AreaLevel, Family
from tests.worlds import POLICY, make_plan, make_statistics

TREE = POLICY.model_dump(mode="json")
RULES = ("plans", "tasks", "encoders", "statistics", "records_without_person_id", "minimum_partners",
         "least_noise_multiplier", "least_l2_clip_norm", "least_table_noise_scale", "distributed_noise",
         "least_colluders", "ceilings", "rehearsal")
CEILINGS = ("delta", "round", "study", "year", "total")
PLAN = make_plan(secure="table", colluders=1, noise_scale=3.0)
COST = price(PLAN)


def changed(**changes: Any) -> dict[str, Any]:
    """The tree of good rules with some changed; `ceilings` merges."""
    tree = {**TREE, **changes}
    if isinstance(changes.get("ceilings"), dict):
        tree["ceilings"] = {**TREE["ceilings"], **changes["ceilings"]}
    return tree


def parse(tree: Any) -> Policy:
    return Policy.parse(yaml.safe_dump(tree).encode())


def test_there_are_exactly_these_rules() -> None:
    assert tuple(Policy.model_fields) == RULES
    assert tuple(TREE["ceilings"]) == CEILINGS
    assert parse(TREE) == POLICY
    assert all(field.is_required() for field in Policy.model_fields.values())


@pytest.mark.parametrize("rule", RULES)
def test_a_missing_rule_is_refused_by_name(rule: str) -> None:
    with pytest.raises(InputError, match=f"rule {rule} is missing"):
        parse({name: value for name, value in TREE.items() if name != rule})


@pytest.mark.parametrize("name", CEILINGS)
def test_a_missing_ceiling_is_refused_by_name(name: str) -> None:
    with pytest.raises(InputError, match=rf"rule ceilings\.{name} is missing"):
        parse({**TREE, "ceilings": {key: value for key, value in TREE["ceilings"].items() if key != name}})


@pytest.mark.parametrize("tree", [changed(least_nose_multiplier=1.0), changed(ceilings={"month": 1.0})])
def test_an_unknown_rule_is_refused_by_name(tree: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"rule (least_nose_multiplier|ceilings\.month) is unknown"):
        parse(tree)


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        parse({**changed(minimum_partners="many", extra=1), "ceilings": {}})
    for word in ("minimum_partners", "extra is unknown", *(f"ceilings.{name} is missing" for name in CEILINGS)):
        assert word in caught.value.problem


@pytest.mark.parametrize(("rule", "value"), [
    ("plans", "all"), ("plans", None), ("plans", ["abc"]), ("plans", ["A" * 64]), ("plans", True),
    ("plans", ["a" * 64, "a" * 64]), ("tasks", "distress"), ("tasks", ["everything"]), ("tasks", ["distress"] * 2),
    ("encoders", [1]), ("encoders", ["Any Encoder"]), ("encoders", None), ("statistics", ["every_table"]),
    ("statistics", True), ("records_without_person_id", "allow"), ("records_without_person_id", None),
    ("minimum_partners", 0), ("minimum_partners", 2.0), ("minimum_partners", "3"), ("minimum_partners", True),
    *((name, value) for name in ("least_noise_multiplier", "least_l2_clip_norm", "least_table_noise_scale")
      for value in (0, -1.0, math.nan, math.inf, "1.0", True, None)),
    ("rehearsal", True), ("rehearsal", "never"), ("ceilings", None), ("ceilings", []), ("ceilings", 3.0),
])
def test_a_value_that_a_rule_cannot_have_is_refused(rule: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"rule {rule}\b"):
        parse(changed(**{rule: value}))


@pytest.mark.parametrize("name", CEILINGS)
@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, -math.inf, "1.0", True, None, [1.0]])
def test_a_ceiling_that_is_no_number_above_0_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InputError, match="rule ceilings"):
        parse(changed(ceilings={name: value}))
    if isinstance(value, float):
        with pytest.raises(ValueError, match=name):
            Ceilings(**{**TREE["ceilings"], name: value})


def test_delta_is_below_1() -> None:
    with pytest.raises(InputError, match="delta"):
        parse(changed(ceilings={"delta": 1.0}))


@pytest.mark.parametrize("text", [b"", b"[]", b"5", b"a: [", b"\xff\xfe\x00", b"? [1]\n: 2", b"2026-01-01",
                                  b"plans: !!python/object/apply:os.getcwd []", b"{1: 2}"])
def test_what_is_not_a_policy_is_refused(text: bytes) -> None:
    with pytest.raises(InputError):
        Policy.parse(text)


def test_a_rule_written_twice_is_refused_though_yaml_would_take_the_last() -> None:
    text = yaml.safe_dump(TREE) + "rehearsal: allow\n"
    assert yaml.safe_load(text)["rehearsal"] == "allow"
    with pytest.raises(InputError, match="rehearsal is written twice"):
        Policy.parse(text.encode())
    inner = yaml.safe_dump(TREE).replace("  study:", "  total: 900.0\n  study:")
    with pytest.raises(InputError, match="total is written twice"):
        Policy.parse(inner.encode())


def test_a_small_number_may_be_written_as_people_write_it() -> None:
    text = yaml.safe_dump(TREE).replace("delta: 1.0e-05", "delta: 1e-5")
    assert "1e-5" in text
    assert Policy.parse(text.encode()).ceilings.delta == 1e-5


def test_the_shipped_rules_are_careful_private_and_explain_themselves(tmp_path: Path) -> None:
    Policy.write_default(tmp_path / "policy.yaml")
    policy = Policy.load(tmp_path)
    assert (tmp_path / "policy.yaml").stat().st_mode & 0o777 == 0o600
    assert (policy.plans, policy.rehearsal, policy.records_without_person_id) == ("approved", "refuse", "refuse")
    text = (tmp_path / "policy.yaml").read_text(encoding="utf-8")
    for name in (*RULES, *CEILINGS):
        assert f"{name}:" in text
    with pytest.raises(FileExistsError):
        Policy.write_default(tmp_path / "policy.yaml")


def test_written_rules_come_back(tmp_path: Path) -> None:
    POLICY.write(tmp_path / "policy.yaml")
    assert Policy.load(tmp_path) == POLICY
    with pytest.raises(FileExistsError):
        POLICY.write(tmp_path / "policy.yaml")


def test_no_file_means_no_rules_and_not_default_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no rules"):
        Policy.load(tmp_path)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_rules_that_others_can_change_are_no_rules(tmp_path: Path, mode: int) -> None:
    POLICY.write(tmp_path / "policy.yaml")
    (tmp_path / "policy.yaml").chmod(mode)
    with pytest.raises(InputError, match="others"):
        Policy.load(tmp_path)


def test_a_plan_within_the_rules_passes() -> None:
    POLICY.check(PLAN)
    assert all(finding.met for finding in POLICY.findings(PLAN))
    assert [finding.rule for finding in POLICY.findings(PLAN)] == [
        "plans", "tasks", "encoders", "statistics", "minimum_partners", "least_noise_multiplier", "least_l2_clip_norm",
        "least_table_noise_scale", "distributed_noise", "least_colluders",
        *(f"ceilings.{name}" for name in CEILINGS), "rehearsal"]


# One rule, tightened until the plan of `make_plan` breaks it and no other. Figures: 3 partners, noise multiplier 5,
# clip 0.5, table scale 3 in the sum with 1 colluder, delta 1e-5.
BREAKING: dict[str, dict[str, Any]] = {
    "plans": {"plans": ["0" * 64]}, "tasks": {"tasks": ["distress"]}, "encoders": {"encoders": ["use-multilingual"]},
    "statistics": {"statistics": []}, "minimum_partners": {"minimum_partners": 4},
    "least_noise_multiplier": {"least_noise_multiplier": 5.01},
    "least_l2_clip_norm": {"least_l2_clip_norm": 0.51}, "least_table_noise_scale": {"least_table_noise_scale": 3.01},
    "distributed_noise": {"distributed_noise": ["training"]}, "least_colluders": {"least_colluders": 2},
    "ceilings.delta": {"ceilings": {"delta": 9.9e-6}},
    "ceilings.round": {"ceilings": {"round": max(COST.round, COST.statistics) - 0.001}},
    "ceilings.study": {"ceilings": {"study": COST.total - 0.001}},
    "ceilings.year": {"ceilings": {"year": COST.total - 0.001}},
    "ceilings.total": {"ceilings": {"total": COST.total - 0.001}},
    "rehearsal": {"rehearsal": "refuse"},
}


def test_every_rule_about_plans_is_broken_below() -> None:
    assert set(BREAKING) == {finding.rule for finding in POLICY.findings(PLAN)}


@pytest.mark.parametrize("rule", BREAKING)
def test_each_rule_binds_by_itself(rule: str) -> None:
    policy = parse(changed(**BREAKING[rule]))
    broken = [finding for finding in policy.findings(PLAN) if not finding.met]
    assert [finding.rule for finding in broken] == [rule]
    with pytest.raises(InputError) as caught:
        policy.check(PLAN)
    assert "breaks 1 of" in caught.value.problem
    for part in (rule, broken[0].asked, broken[0].allowed, broken[0].remedy):
        assert part
        assert part in caught.value.problem


@pytest.mark.parametrize(("rule", "changes"), [
    ("plans", {"plans": [PLAN.sha256]}), ("minimum_partners", {"minimum_partners": 3}),
    ("least_noise_multiplier", {"least_noise_multiplier": 5.0}), ("least_l2_clip_norm", {"least_l2_clip_norm": 0.5}),
    ("least_table_noise_scale", {"least_table_noise_scale": 3.0}), ("ceilings.study", {"ceilings": {
        "round": COST.statistics, "study": COST.total, "year": COST.total, "total": COST.total}}),
])
def test_exactly_at_the_bound_a_plan_passes(rule: str, changes: dict[str, Any]) -> None:
    parse(changed(**changes)).check(PLAN)


def test_all_broken_rules_are_told_together() -> None:
    everything: dict[str, Any] = {"ceilings": {}}
    for change in BREAKING.values():
        everything["ceilings"] |= change.get("ceilings", {})
        everything |= {name: value for name, value in change.items() if name != "ceilings"}
    with pytest.raises(InputError) as caught:
        parse(changed(**everything)).check(PLAN)
    assert f"breaks {len(BREAKING)} of" in caught.value.problem
    assert all(f"{rule}: the plan asks" in caught.value.problem for rule in BREAKING)


def test_the_dearest_request_may_be_a_round_or_the_table() -> None:
    for plan in (make_plan(noise_multiplier=1.5), make_plan(noise_multiplier=50.0)):
        cost = price(plan)
        dearest = max(cost.round, cost.statistics)
        parse(changed(ceilings={"round": dearest})).check(plan)
        with pytest.raises(InputError, match=r"ceilings\.round"):
            parse(changed(ceilings={"round": dearest - 0.001})).check(plan)


def test_ceilings_hold_at_the_partners_delta_not_at_the_plans() -> None:
    # A plan that states its price at a large delta looks cheap; the ceiling asks what it costs at the partner's own.
    cheap_looking = PLAN.model_copy(update={"privacy": PLAN.privacy.model_copy(update={"delta": 1e-2})})
    at_own = price(PLAN).total
    assert price(cheap_looking).total < at_own
    policy = parse(changed(ceilings={"study": (price(cheap_looking).total + at_own) / 2}))
    broken = {finding.rule for finding in policy.findings(cheap_looking) if not finding.met}
    assert broken == {"ceilings.delta", "ceilings.study"}


def test_noise_too_small_for_any_bound_is_above_every_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    def unbounded(*_: object, **__: object) -> None:
        raise ValueError("the noise is too small for any bound")

    monkeypatch.setattr("clients.findings.price", unbounded)
    broken = {finding.rule for finding in POLICY.findings(PLAN) if not finding.met}
    assert broken == {"ceilings.round", "ceilings.study", "ceilings.year", "ceilings.total"}


@given(st.floats(0.5, 20.0), st.floats(0.5, 20.0), st.floats(0.01, 2.0), st.integers(1, 6))
def test_least_values_are_met_exactly_when_the_plan_has_no_less(noise: float, scale: float, clip: float,
                                                               quorum: int) -> None:
    policy = parse(changed(least_noise_multiplier=noise, least_table_noise_scale=scale, least_l2_clip_norm=clip,
                           minimum_partners=quorum))
    met = {finding.rule: finding.met for finding in policy.findings(PLAN)}
    assert met["least_noise_multiplier"] is (noise <= 5.0)
    assert met["least_table_noise_scale"] is (scale <= 3.0)
    assert met["least_l2_clip_norm"] is (clip <= 0.5)
    assert met["minimum_partners"] is (quorum <= 3)


def test_a_real_study_needs_no_rehearsal_rule() -> None:
    earnest: StudyPlan = PLAN.model_copy(update={"rehearsal": False})
    parse(changed(rehearsal="refuse")).check(earnest)


# What a partner calls the tables, the plan's part that asks for them, and the plan without it.
TABLES = {"indicators": {"indicators": None}, "corridors": {"corridors": ()}}


@pytest.mark.parametrize("name", TABLES)
def test_a_partner_may_take_part_in_the_tables_that_it_wants(name: str) -> None:
    allowed = [other for other in ("regional_table", "indicators", "corridors") if other != name]
    policy = parse(changed(statistics=allowed))
    (broken,) = (finding for finding in policy.findings(PLAN) if not finding.met)
    assert (broken.rule, broken.asked) == ("statistics", "regional_table, indicators, corridors")
    assert broken.allowed == ", ".join(allowed)
    without = PLAN.model_copy(update={"statistics": make_statistics(
        noise_scale=3.0, aggregation=PLAN.statistics.aggregation, **TABLES[name])})
    policy.check(without)
    (kept,) = (finding for finding in policy.findings(without) if finding.rule == "statistics")
    assert kept.asked == ", ".join(allowed)


def test_every_family_of_tables_is_under_one_of_the_names_that_rules_know() -> None:
    assert sorted(family for families in NAMED_TABLES.values() for family in families) == sorted(Family)
    (kept,) = (finding for finding in POLICY.findings(PLAN) if finding.rule == "statistics")
    assert set(kept.asked.split(", ")) == set(NAMED_TABLES) - {"series", "scores"}
    # The regional table cannot be left out of a plan, nor can it be left to the others.
    least = PLAN.model_copy(update={"statistics": make_statistics(
        noise_scale=3.0, aggregation=PLAN.statistics.aggregation, indicators=None, corridors=(), super_regions=())})
    broken = {finding.rule: finding for finding in parse(changed(
        statistics=["indicators", "corridors"])).findings(least) if not finding.met}
    assert broken["statistics"].asked == "regional_table"


def with_series(**statistics: Any) -> StudyPlan:
    series = SeriesSpec(name="borders", index=1, level=AreaLevel.COUNTRY)
    return PLAN.model_copy(update={"statistics": make_statistics(
        noise_scale=3.0, aggregation=PLAN.statistics.aggregation, series=series, **statistics)})


def test_a_running_total_is_a_table_of_its_own_for_the_rules() -> None:
    three = ["regional_table", "indicators", "corridors"]
    (broken,) = (finding for finding in parse(changed(statistics=three)).findings(with_series()) if not finding.met)
    assert (broken.rule, broken.asked, broken.allowed) == ("statistics", ", ".join([*three, "series"]),
                                                           ", ".join(three))
    parse(changed(statistics=[*three, "series"])).check(with_series())
    # A new partner's rules have it only once somebody has put it there.
    assert "series" not in yaml.safe_load(files("clients").joinpath("policy_template.yaml").read_text())["statistics"]


@pytest.mark.parametrize("family", Family)
def test_the_table_with_the_least_noise_is_held_against_the_rule(family: Family) -> None:
    spec = with_series().statistics
    for people, met in ((2.9, False), (3.0, True)):
        # In people, whatever the units of the table.
        scales = {**spec.noise_scales, family: people * shift_of(family)}
        plan = PLAN.model_copy(update={"statistics": spec.model_copy(update={"noise_scales": scales})})
        found = {finding.rule: finding.met for finding in parse(changed(least_table_noise_scale=3.0)).findings(plan)}
        assert found["least_table_noise_scale"] is met
