"""Drafting, looking and signing: one draft a plan, made of what was kept, signed by people whom the plan names."""

from __future__ import annotations

import json
import shutil
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from federation.errors import InputError
from federation.identity import SigningKey
from federation.journal import Act, DraftWithdrawn, ReleaseDrafted, ReleaseSigned
from federation.plan import SignedPlan
from federation.plan_parts import Signer
from server.coordinator import CoordinatorHome
from server.release.bundle import RELEASE, SIGNED, read_content
from server.release.drafts import check_draft, find_draft, make_draft, open_drafts, statement_of
from server.release.preview import preview
from server.release.publication import earliest_day, sign_draft, valid_approvals
from tests.server.release.homes import COORDINATOR, PEOPLE, STRANGER, new_home, plan_of, run_study, second_plan

DAY = earliest_day(second_plan())


def acts(home: CoordinatorHome) -> list[Act]:
    return [entry.act for entry in home.entries()]


def test_a_draft_holds_everything_but_signatures(drafted: CoordinatorHome) -> None:
    draft = find_draft(drafted)
    assert {path.name for path in draft.path.iterdir()} == {*SIGNED, "approvals"}
    assert draft.path.name == draft.sha256[:16]
    assert draft.approvals == ()
    assert read_content((draft.path / RELEASE).read_bytes()) == draft.content
    assert draft.content["previous_release_sha256"] == read_sha(next(drafted.releases.iterdir()))
    check_draft(drafted, draft)
    assert drafted.entries()[-1].facts == ReleaseDrafted(
        plan_sha256=draft.signed.sha256, content_sha256=draft.sha256,
        previous_release_sha256=draft.content["previous_release_sha256"])


def read_sha(folder: Path) -> str:
    found: str = json.loads((folder / RELEASE).read_bytes())["content_sha256"]
    return found


def test_drafting_the_same_again_changes_nothing(drafted: CoordinatorHome) -> None:
    before, draft = acts(drafted), find_draft(drafted)
    sign_draft(drafted, name="anna", key=PEOPLE["anna"])
    again = make_draft(drafted, released_on=DAY)
    assert (again.sha256, len(again.approvals)) == (draft.sha256, 1)
    assert acts(drafted) == [*before, Act.RELEASE_SIGNED]


def test_a_draft_for_another_day_takes_the_place_of_the_first(drafted: CoordinatorHome) -> None:
    first = sign_draft(drafted, name="anna", key=PEOPLE["anna"])
    second = make_draft(drafted, released_on=DAY + timedelta(days=1))
    assert [draft.sha256 for draft in open_drafts(drafted)] == [second.sha256]
    assert second.approvals == ()
    assert DraftWithdrawn(content_sha256=first.sha256) in [entry.facts for entry in drafted.entries()]
    with pytest.raises(InputError, match="no such draft"):
        find_draft(drafted, first.path.name)
    # Back to the first day: it is drafted anew, and who signed it before has not signed this.
    third = make_draft(drafted, released_on=DAY)
    assert third.sha256 == first.sha256
    assert third.approvals == ()
    assert statement_of(drafted, third).drafted.sequence == len(drafted.entries()) - 1


def test_a_second_draft_uses_the_same_measurements(drafted: CoordinatorHome) -> None:
    """One draw of the noise for each study, however often it is drafted."""
    first = find_draft(drafted).content
    second = make_draft(drafted, released_on=DAY + timedelta(days=9)).content
    assert second == first | {"released_on": (DAY + timedelta(days=9)).isoformat()}
    assert first["measurements_commitment"] == drafted.study(second_plan().sha256).commitment


def test_a_study_is_measured_once(drafted: CoordinatorHome) -> None:
    before = drafted.measurements()
    with pytest.raises(InputError, match="its study has run"):
        run_study(drafted, second_plan())
    np.testing.assert_array_equal(drafted.measurements().values, before.values)


def test_nothing_is_drafted_within_the_embargo_or_without_a_study(drafted: CoordinatorHome, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="within the embargo"):
        make_draft(drafted, released_on=DAY - timedelta(days=1))
    home = new_home(tmp_path / "fresh")
    with pytest.raises(InputError, match="no plan was signed in this home"):
        make_draft(home, released_on=DAY)
    home.keep_plan(SignedPlan.sign(second_plan(), COORDINATOR))
    with pytest.raises(InputError, match="nothing has been measured"):
        make_draft(home, released_on=DAY)
    assert not home.drafts.exists()


def test_a_series_goes_on_in_time(released: CoordinatorHome) -> None:
    run_study(released, plan_of(1, purpose="The same quarter of the same series, once more."))
    with pytest.raises(InputError, match="previous"):
        make_draft(released, released_on=date(2026, 12, 1))


def test_a_plan_whose_release_is_out_is_not_drafted_again(released: CoordinatorHome) -> None:
    with pytest.raises(InputError, match="what is published stays"):
        make_draft(released, released_on=DAY + timedelta(days=1))


@pytest.mark.parametrize("name", SIGNED)
def test_nobody_signs_a_draft_that_was_changed(drafted: CoordinatorHome, name: str) -> None:
    draft = find_draft(drafted)
    path = draft.path / name
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    with pytest.raises(InputError):
        sign_draft(drafted, name="anna", key=PEOPLE["anna"])
    path.unlink()
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        sign_draft(drafted, name="anna", key=PEOPLE["anna"])
    assert not any((draft.path / "approvals").iterdir())


def test_nobody_signs_a_draft_of_other_measurements(drafted: CoordinatorHome) -> None:
    """A draft that is whole in itself, made from sums that were changed since the study ran."""
    study = drafted.study(second_plan().sha256)
    sums = json.loads(study.measurements_path.read_bytes())
    sums["values"][0] += 1000
    study.measurements_path.write_text(json.dumps(sums, separators=(",", ":"), sort_keys=True))
    with pytest.raises(InputError, match="is not what the plan and the measurements that were kept give"):
        sign_draft(drafted, name="anna", key=PEOPLE["anna"])


def test_nobody_signs_with_a_file_too_many(drafted: CoordinatorHome) -> None:
    (find_draft(drafted).path / "index2.html").write_text("x")
    with pytest.raises(InputError, match=r"index2\.html.*does not belong"):
        sign_draft(drafted, name="anna", key=PEOPLE["anna"])


def test_people_whom_the_plan_names_sign_once_each(drafted: CoordinatorHome) -> None:
    for name in ("anna", "ben"):
        signed = sign_draft(drafted, name=name, key=PEOPLE[name])
    assert [one.name for one in valid_approvals(drafted, signed)] == ["anna", "ben"]
    assert [entry.facts for entry in drafted.entries()[-2:]] == [
        ReleaseSigned(content_sha256=signed.sha256, signer=name, public_key=PEOPLE[name].public)
        for name in ("anna", "ben")]
    with pytest.raises(InputError, match="has signed this draft already"):
        sign_draft(drafted, name="anna", key=PEOPLE["anna"])


@pytest.mark.parametrize(("name", "key", "words"), [
    ("dora", STRANGER, "not one of the people"), ("anna", STRANGER, "another key in the plan"),
    ("anna", PEOPLE["ben"], "another key in the plan"), ("", PEOPLE["anna"], "not one of the people"),
    ("../anna", PEOPLE["anna"], "not one of the people"),
])
def test_nobody_else_signs(drafted: CoordinatorHome, name: str, key: SigningKey, words: str) -> None:
    before = acts(drafted)
    with pytest.raises(InputError, match=words):
        sign_draft(drafted, name=name, key=key)
    assert acts(drafted) == before
    assert find_draft(drafted).approvals == ()


def test_the_coordinators_key_is_nobody_elses(tmp_path: Path) -> None:
    home = new_home(tmp_path / "coordinator")
    plan = plan_of(1, signers=(Signer(name="anna", public_key=PEOPLE["anna"].public),
                               Signer(name="clerk", public_key=COORDINATOR.public)))
    run_study(home, plan)
    make_draft(home, released_on=earliest_day(plan))
    with pytest.raises(InputError, match="coordinator's own key"):
        sign_draft(home, name="clerk", key=COORDINATOR)


def test_a_signature_that_was_put_there_is_refused(drafted: CoordinatorHome) -> None:
    draft = sign_draft(drafted, name="anna", key=PEOPLE["anna"])
    path = draft.path / "approvals" / "anna.json"
    path.write_text(path.read_text().replace('"name":"anna"', '"name":"ben"'))
    with pytest.raises(InputError, match="does not fit this draft or this plan"):
        valid_approvals(drafted, find_draft(drafted))
    path.write_text("{}")
    with pytest.raises(InputError, match="is no signature"):
        valid_approvals(drafted, find_draft(drafted))


def test_a_draft_is_found_by_its_name(drafted: CoordinatorHome) -> None:
    draft = find_draft(drafted)
    assert find_draft(drafted, draft.path.name).sha256 == draft.sha256
    with pytest.raises(InputError, match=f"neither published nor withdrawn: {draft.path.name}"):
        find_draft(drafted, "0" * 16)
    shutil.rmtree(draft.path)
    with pytest.raises(InputError, match="draft: there is no such draft"):
        find_draft(drafted)


def test_a_dry_run_says_what_would_be_out_and_changes_nothing(drafted: CoordinatorHome) -> None:
    sign_draft(drafted, name="ben", key=PEOPLE["ben"])
    before, draft = acts(drafted), find_draft(drafted)
    found = preview(drafted, draft)
    assert acts(drafted) == before
    rows = found["counts"]["cells"]
    assert sum(row["shown"] for row in rows) == draft.content["suppression"]["shown"]
    reasons: dict[str, int] = {}
    for row in rows:
        for reason, number in row["withheld"].items():
            reasons[reason] = reasons.get(reason, 0) + number
    assert reasons == draft.content["suppression"]["withheld"]
    assert {(row["level"], row["role"], row["task"]) for row in rows} == {
        (cell["level"], cell["role"], cell["task"]) for cell in draft.content["cells"]}
    assert found["signatures"] == {"wanted": 2, "signed": ["ben"], "may_sign": ["anna", "cleo"]}
    assert found["embargo_ends"] == found["released_on"] == "2026-07-30"
    assert found["thresholds"] == draft.content["gate"]["thresholds"]
    assert found["budget"]["this"] == draft.content["privacy"]["total_epsilon"]
    (draft.path / "cells.csv").write_text("x")
    with pytest.raises(InputError, match=r"cells\.csv"):
        preview(drafted, find_draft(drafted))
