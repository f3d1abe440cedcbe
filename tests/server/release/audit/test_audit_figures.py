"""A coordinator who changes what was found, and makes all else fit with valid keys, does not pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from federation.errors import InputError
from federation.plan import SignedPlan
from federation.plan_parts import PrivacyClaim
from server.coordinator import CoordinatorHome
from server.release.audit import Check, Evidence, audit_release
from server.release.bundle import RELEASE, SIGNED, release_json
from server.release.rebuild import rebuild
from server.studies import SALT_BYTES
from tests.server.release.audit.test_audit_files import failed, files_named
from tests.server.release.audit.test_audit_people import only
from tests.server.release.homes import (
    COORDINATOR,
    cheat,
    content_in,
    first_plan,
    forge,
    of_plan,
    plan_in,
    published_before,
    second_plan,
    story,
    two,
)

Row = dict[str, Any]


def a_cell(content: dict[str, Any], status: str = "shown", level: str = "region", reason: str | None = None) -> Row:
    """The first cell of a kind."""
    return next(row for row in content["cells"] if (row["status"], row["level"]) == (status, level)
                and reason in (None, row.get("reason")))


def a_node(content: dict[str, Any], cell: Row) -> Row:
    """The node of a cell."""
    return next(row for row in content["nodes"] if (row["area"], row["role"]) == (cell["area"], cell["role"]))


def rate(content: dict[str, Any]) -> None:
    shown = a_cell(content)["display"]
    shown["rate"] = (shown["rate"] + 1) % 10_000


def interval(content: dict[str, Any]) -> None:
    a_cell(content)["unclipped"]["upper"] -= 0.01


def flagged(content: dict[str, Any]) -> None:
    a_cell(content)["measured"]["flagged"] += 1


def adjusted(content: dict[str, Any]) -> None:
    a_cell(content)["adjusted"]["flagged"] += 1


def band(content: dict[str, Any]) -> None:
    cell = a_cell(content)
    cell["band"] = "low" if cell["band"] != "low" else "high"


def reviewed(content: dict[str, Any]) -> None:
    a_node(content, a_cell(content))["measured"]["reviewed"] += 1


def calibration(content: dict[str, Any]) -> None:
    content["calibration"][0]["sensitivity"]["value"] += 0.01


def labelled(content: dict[str, Any]) -> None:
    content["calibration"][0]["measured"]["true_positive"] += 50


def usable(content: dict[str, Any]) -> None:
    content["calibration"][0] |= {"usable": False, "reason": "model_not_good_enough"}


def suppression(content: dict[str, Any]) -> None:
    content["suppression"]["shown"] += 1


def threshold(content: dict[str, Any]) -> None:
    content["gate"]["thresholds"]["regions"] -= 1


def partners(content: dict[str, Any]) -> None:
    content["gate"]["minimum_partners"] -= 1


def coverage(content: dict[str, Any]) -> None:
    content["coverage"]["areas"]["XA-11"]["platform"] = 2


def lift(content: dict[str, Any]) -> None:
    row = next(row for row in content["indicators"]["cells"] if row["status"] == "shown")
    next(each for each in row["lifts"] if each["status"] == "shown")["lift"] += 0.001


def corridor(content: dict[str, Any]) -> None:
    row = next(row for row in content["corridors"] if row["status"] == "shown")
    row["band"] = {"from": row["band"]["from"], "to": None}


def name(content: dict[str, Any]) -> None:
    content["areas"][3]["name"] = "Somewhere"


def use(content: dict[str, Any]) -> None:
    content["responsible_use"] = "Do as you please."


def whole(content: dict[str, Any]) -> None:
    """Equal in Python, another number in JSON."""
    content["confidence"] = 0.9500000000000001


@pytest.mark.parametrize("change", [rate, interval, flagged, adjusted, band, reviewed, calibration, labelled, usable,
                                    suppression, threshold, partners, coverage, lift, corridor, name, use, whole])
def test_a_changed_figure_is_named(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    found = failed(audit_release(cheat(bundle, change)))
    assert RELEASE in {finding.file for finding in found["figures"].findings}
    # Nothing but figures speaks against it: hashes, signatures and journal were all made to fit.
    assert set(found) <= {"figures", "gate"}


def test_a_changed_figure_is_named_by_its_place(bundle: Path) -> None:
    cell = a_cell(content_in(bundle))
    words = only(failed(audit_release(cheat(bundle, rate))), "figures")
    assert f"({cell['area']} {cell['role']} {cell['task']}) does not follow" in words


def shown_again(content: dict[str, Any], cell: Row, **measured: int) -> None:
    """Show a withheld cell, with measured numbers that were made up."""
    model = a_cell(content)
    cell.pop("reason")
    cell |= {"status": "shown", **{key: model[key] for key in ("band", "adjusted", "signals", "unclipped", "display")},
             "measured": measured, "trend": None}
    node = a_node(content, cell)
    if node.pop("reason", None):
        node |= {"status": "shown", "measured": {"reviewed": 3000}, "adjusted": {"reviewed": 3000.0, "sd": 1.0}}


def derived_again(content: dict[str, Any]) -> None:
    """Let all else follow from the measured numbers."""
    content |= rebuild(content, second_plan(), None)


def below(content: dict[str, Any]) -> None:
    shown_again(content, a_cell(content, "withheld", reason="too_few_signals"), flagged=20)
    derived_again(content)


def test_a_withheld_number_that_is_shown_all_the_same_is_named(bundle: Path) -> None:
    """Everything follows from the made-up number, and the plan's rule forbids it."""
    words = only(failed(audit_release(cheat(bundle, below))), "gate")
    assert "is shown, and the rule says too_few_signals" in words


def hidden_dominance(content: dict[str, Any]) -> None:
    """Show a whole place that is one partner's."""
    place = a_cell(content, "withheld", reason="one_partner_dominates")["area"]
    for cell in content["cells"]:
        # With it, what was withheld for its sake.
        if cell["area"] == place or cell.get("reason") == "protects_another":
            shown_again(content, cell, flagged=300)
    derived_again(content)


def test_a_number_that_was_made_up_well_cannot_be_seen_in_the_bundle_and_that_is_said(bundle: Path) -> None:
    report = audit_release(cheat(bundle, hidden_dominance))
    assert report.sound
    open_one = next(check for check in report.checks if check.name == "measurements")
    assert "what is withheld had to be" in open_one.findings[0].words


def evidence_for(home: CoordinatorHome, folder: Path) -> Evidence:
    study = home.study(plan_in(folder).sha256)
    return Evidence(measurements=study.measurements_path, salt=study.salt_path)


def test_with_the_measurements_everything_can_be_made_again(
    bundle: Path, first_bundle: Path, released: CoordinatorHome
) -> None:
    shown = evidence_for(released, bundle)
    honest = audit_release(bundle, coordinator_key=COORDINATOR.public, previous=first_bundle, evidence=shown)
    assert {check.outcome for check in honest.checks} == {"passed"}
    cheat(bundle, hidden_dominance)
    for given in (None, first_bundle):
        found = failed(audit_release(bundle, previous=given, evidence=shown))
        assert "is not what the noisy sums give" in found["measurements"].findings[0].words


def test_a_reason_that_was_made_up_is_named_where_it_is_public(bundle: Path) -> None:
    def hide(content: dict[str, Any]) -> None:
        cell = a_cell(content)
        for key in set(cell) - {"area", "level", "role", "task"}:
            del cell[key]
        cell |= {"status": "withheld", "reason": "too_few_partners"}

    assert "by declared coverage it is not" in " ".join(
        finding.words for finding in failed(audit_release(cheat(bundle, hide)))["gate"].findings)


def test_an_unusable_model_that_is_used_all_the_same_is_named(bundle: Path) -> None:
    """The model's errors are made so large that nothing may be shown, and it is shown."""
    def poor(content: dict[str, Any]) -> None:
        row = content["calibration"][0]
        row["measured"] |= {"true_positive": 200, "false_negative": 700}
        derived_again(content)

    found = failed(audit_release(cheat(bundle, poor)))
    assert any("model_not_good_enough" in finding.words for finding in found["gate"].findings)


def test_a_figure_of_a_protected_region_is_named(bundle: Path) -> None:
    def show(content: dict[str, Any]) -> None:
        content["cells"].append({**a_cell(content), "area": "XA-12"})

    found = failed(audit_release(cheat(bundle, show)))
    assert "XA-12, which the plan protects" in found["places"].findings[0].words


def test_a_place_finer_than_a_region_is_named(bundle: Path) -> None:
    def finer(content: dict[str, Any]) -> None:
        content["cells"].append({**a_cell(content), "area": "XA-11-harbour"})
        content["areas"].append({"code": "XA-11-harbour", "name": "Harbour", "level": "region", "parent": "XA-11",
                                 "status": "measured"})

    found = failed(audit_release(cheat(bundle, finer)))
    assert "XA-11-harbour" in found["places"].findings[0].words


@pytest.mark.parametrize(("part", "field"), [("total", "total_epsilon"), ("training", "training_epsilon"),
                                             ("statistics", "statistics_epsilon")])
def test_a_plan_that_claims_too_little_is_named(bundle: Path, part: str, field: str) -> None:
    plan = second_plan()
    claim = PrivacyClaim.model_validate(plan.privacy.model_dump() | {field: getattr(plan.privacy, field) / 2})
    signed = SignedPlan.sign(plan.model_copy(update={"privacy": claim}), COORDINATOR)
    content = of_plan(content_in(bundle), signed)
    privacy = content["privacy"]
    if part == "total":
        privacy["total_epsilon"] = claim.total_epsilon
    else:
        next(one for one in privacy["parts"] if one["part"] == part)["epsilon"] = getattr(claim, field)
    earlier = published_before(content["previous_release_sha256"], SignedPlan.sign(first_plan(), COORDINATOR))
    forge(bundle, content=content, signed=signed, acts=story(signed, content, two(), earlier))
    words = only(failed(audit_release(bundle)), "privacy")
    assert f"plan.json claims what does not hold (plan.privacy.{field}" in words


def test_an_epsilon_that_is_not_the_plans_is_named(bundle: Path) -> None:
    found = failed(audit_release(cheat(bundle, lambda content: content["privacy"].update(total_epsilon=0.5))))
    assert "privacy.total_epsilon" in found["privacy"].findings[0].words
    found = failed(audit_release(cheat_again(bundle, lambda content: content["privacy"]["appearances"].update(
        year_epsilon=0.5))))
    assert "privacy.appearances" in found["privacy"].findings[0].words


def cheat_again(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A second forgery in one test: its journal is another."""
    for left in folder.parent.glob(f"{folder.name}.journal*"):
        left.unlink()
    return cheat(folder, change)


def test_a_registry_entry_that_says_otherwise_is_named(bundle: Path) -> None:
    entry = json.loads((bundle / "privacy.json").read_bytes())
    entry["entry"]["deployment"]["privacy_loss"]["privacy_parameters"]["epsilon"] = 99.0
    files = {"privacy.json": json.dumps(entry, indent=1, sort_keys=True).encode() + b"\n"}
    found = failed(audit_release(cheat(bundle, lambda content: None, files=files)))
    assert {check: {each.file for each in found[check].findings} for check in found} == {
        "privacy": {"privacy.json"}, "derived": {"privacy.json"}}


@pytest.mark.parametrize("file", [each for each in SIGNED if each not in (RELEASE, "plan.json")])
def test_a_file_that_says_something_else_than_the_release_is_named(bundle: Path, file: str) -> None:
    """Signed, sealed and journaled, and not what the content gives: a page with another rate, a table with one more."""
    data = (bundle / file).read_bytes()
    report = audit_release(cheat(bundle, lambda content: None, files={file: data.replace(b"a", b"b", 1)}))
    assert files_named(report) == {file}
    assert "derived" in failed(report)


def number_where_withheld(content: dict[str, Any]) -> None:
    a_cell(content, "withheld")["measured"] = {"flagged": 12}


def unknown_key(content: dict[str, Any]) -> None:
    content["note"] = "trust me"


def wrong_type(content: dict[str, Any]) -> None:
    a_cell(content)["display"]["rate"] = "120"


def missing_key(content: dict[str, Any]) -> None:
    del a_cell(content)["band"]


def unknown_reason(content: dict[str, Any]) -> None:
    a_cell(content, "withheld")["reason"] = "because"


@pytest.mark.parametrize("change", [number_where_withheld, unknown_key, wrong_type, missing_key, unknown_reason])
def test_a_content_of_another_form_is_named(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    files = {file: (bundle / file).read_bytes() for file in SIGNED}
    content = content_in(bundle)
    change(content)
    files[RELEASE] = release_json(content)
    words = only(failed(audit_release(cheat(bundle, lambda content: None, files=files))), "form")
    assert "release.json is not of the form of a release" in words


def test_rows_of_another_plan_are_named(bundle: Path) -> None:
    """Right form, right keys, wrong number of rows: nothing can be made of it, and nothing breaks."""
    found: dict[str, Check] = failed(audit_release(cheat(bundle, lambda content: content["cells"].pop())))
    assert "figures" in found
    assert "gate" in found


def test_measurements_of_another_study_are_named(bundle: Path, released: CoordinatorHome, tmp_path: Path) -> None:
    shown = evidence_for(released, bundle)
    salt = tmp_path / "salt"
    salt.write_bytes(bytes(SALT_BYTES))
    found = failed(audit_release(bundle, evidence=Evidence(measurements=shown.measurements, salt=salt)))
    assert "or to another salt" in only(found, "measurements")
    other = released.study(first_plan().sha256)
    for evidence, words in (
        (Evidence(measurements=other.measurements_path, salt=shown.salt), "belongs to plan"),
        (Evidence(measurements=bundle / RELEASE, salt=shown.salt), "does not hold the noisy sums"),
        (Evidence(measurements=tmp_path / "none", salt=shown.salt), "cannot be read"),
        (Evidence(measurements=shown.measurements, salt=bundle / RELEASE), "exactly 32"),
    ):
        with pytest.raises(InputError, match=words):
            audit_release(bundle, evidence=evidence)
