"""What lets a plan run: this partner's own decision about this very plan at this very price."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clients import approvals
from clients.approvals import Approval, Decision, approval_path, decide, find_approval, kept_plan_path, require_approval
from clients.node import NodeHome
from federation import private_files
from federation.canonical import canonical_json
from federation.errors import Refusal, RefusalCode
from federation.identity import SigningKey
from federation.plan import SignedPlan, StudyPlan
from federation.privacy.guarantee import Price, price
from tests.worlds import COORDINATOR, approve, make_home, make_plan, sign


@pytest.fixture(scope="module")
def plan() -> StudyPlan:
    return make_plan()


@pytest.fixture
def home(tmp_path: Path) -> NodeHome:
    return make_home(tmp_path, 0)


def refused(home: NodeHome, plan: StudyPlan) -> str:
    with pytest.raises(Refusal) as caught:
        require_approval(home, plan)
    assert caught.value.code is RefusalCode.NOT_APPROVED
    return caught.value.detail


def rewrite(home: NodeHome, plan: StudyPlan, change: dict[str, Any], *, key: SigningKey | None = None) -> None:
    """Change the approval on disk; with `key`, also sign the result."""
    path = approval_path(home, plan.sha256)
    tree = json.loads(path.read_text()) | change
    if key is not None:
        body = canonical_json({name: value for name, value in tree.items() if name != "signature"})
        tree["signature"] = key.sign("plan-approval", body)
    path.write_text(json.dumps(tree))


def test_an_approved_plan_may_run(home: NodeHome, plan: StudyPlan) -> None:
    approve(home, plan)
    found = require_approval(home, plan)
    assert (found.decision, found.plan_sha256, found.partner) == (Decision.APPROVED, plan.sha256, "partner-0")
    assert found.software.startswith("leelight ")
    cost = price(plan)
    assert (found.price.training, found.price.statistics, found.price.total, found.price.delta) == (
        cost.training, cost.statistics, cost.total, 1e-5)
    assert [k for k, _ in found.price.at_partners] == [2, 3, 5]


def test_decisions_are_private_and_keep_the_plan_they_are_about(home: NodeHome, plan: StudyPlan) -> None:
    approve(home, plan)
    assert home.approvals_dir.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in home.approvals_dir.iterdir()} == {0o600}
    assert {path.name for path in home.approvals_dir.iterdir()} == {f"{plan.sha256}.json", f"{plan.sha256}.plan.json"}
    kept = SignedPlan.open(kept_plan_path(home, plan.sha256).read_text(), trusted_key=COORDINATOR.public)
    assert kept == sign(plan)


def test_without_a_decision_nothing_runs(home: NodeHome, plan: StudyPlan) -> None:
    assert "nobody here has approved" in refused(home, plan)
    assert find_approval(home, plan.sha256) is None


def test_a_declined_plan_does_not_run_and_a_later_decision_replaces_an_earlier(home: NodeHome, plan: StudyPlan) -> None:
    approve(home, plan)
    decide(home, sign(plan), Decision.DECLINED)
    assert "declined" in refused(home, plan)
    approve(home, plan)
    require_approval(home, plan)


@pytest.mark.parametrize("change", [
    {"decided_at": "2026-01-01T00:00:00Z"}, {"partner": "partner-1"}, {"software": "leelight 9"},
    {"plan_sha256": "0" * 64}, {"signature": "0" * 128},
    {"price": {"delta": 1e-5, "round": 1.0, "training": 1.0, "statistics": 1.0, "total": 1.0, "at_partners": []}},
])
def test_a_changed_approval_is_none(home: NodeHome, plan: StudyPlan, change: dict[str, Any]) -> None:
    approve(home, plan)
    rewrite(home, plan, change)
    assert "changed" in refused(home, plan)


def test_a_declined_plan_cannot_be_edited_into_an_approved_one(home: NodeHome, plan: StudyPlan) -> None:
    decide(home, sign(plan), Decision.DECLINED)
    rewrite(home, plan, {"decision": "approved"})
    assert "changed" in refused(home, plan)


def test_another_key_cannot_approve(home: NodeHome, plan: StudyPlan) -> None:
    approve(home, plan)
    for key in (COORDINATOR, SigningKey.generate()):
        rewrite(home, plan, {}, key=key)
        assert "changed" in refused(home, plan)
    rewrite(home, plan, {}, key=home.signing_key())
    require_approval(home, plan)


def test_a_signature_for_another_purpose_does_not_approve(home: NodeHome, plan: StudyPlan) -> None:
    approve(home, plan)
    body = find_approval(home, plan.sha256).body()  # type: ignore[union-attr]
    rewrite(home, plan, {"signature": home.signing_key().sign("study-plan", body)})
    assert "changed" in refused(home, plan)


def test_another_partners_approval_is_none_even_under_its_own_key(home: NodeHome, plan: StudyPlan) -> None:
    approve(home, plan)
    rewrite(home, plan, {"partner": "partner-1"}, key=home.signing_key())
    assert "changed" in refused(home, plan)


def test_an_approval_of_another_plan_is_none(home: NodeHome, plan: StudyPlan) -> None:
    other = make_plan(learning_rate=2.0)
    approve(home, other)
    assert "nobody here" in refused(home, plan)
    approval_path(home, other.sha256).rename(approval_path(home, plan.sha256))
    assert "changed" in refused(home, plan)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"decision": "approved"}'])
def test_garbage_is_none(home: NodeHome, plan: StudyPlan, content: bytes) -> None:
    approve(home, plan)
    approval_path(home, plan.sha256).write_bytes(content)
    assert "cannot be read" in refused(home, plan)


def test_a_field_more_is_none(home: NodeHome, plan: StudyPlan) -> None:
    approve(home, plan)
    rewrite(home, plan, {"also": "everything"}, key=home.signing_key())
    assert "cannot be read" in refused(home, plan)


@pytest.mark.parametrize("figure", ["round", "training", "statistics", "total", "delta"])
@pytest.mark.parametrize("factor", [1.001, 0.999])
def test_a_price_that_changed_after_approval_needs_another(home: NodeHome, plan: StudyPlan, figure: str, factor: float,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    approve(home, plan)
    true = price(plan)

    def moved(_: StudyPlan) -> Price:
        return replace(true, **{figure: getattr(true, figure) * factor})

    monkeypatch.setattr(approvals, "price", moved)
    assert "no longer the one" in refused(home, plan)


def test_a_price_at_several_partners_that_changed_needs_another(home: NodeHome, plan: StudyPlan,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    approve(home, plan)
    true = price(plan)
    for several in (((2, 99.0), *true.at_partners[1:]), true.at_partners[:2]):
        monkeypatch.setattr(approvals, "price", lambda _, s=several: replace(true, at_partners=s))
        assert "no longer the one" in refused(home, plan)


def test_the_last_digit_of_another_processor_is_no_change(home: NodeHome, plan: StudyPlan,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    approve(home, plan)
    true = price(plan)
    monkeypatch.setattr(approvals, "price", lambda _: replace(true, total=true.total * (1 + 1e-12)))
    require_approval(home, plan)


def test_a_crash_while_deciding_leaves_the_earlier_decision(home: NodeHome, plan: StudyPlan,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    decide(home, sign(plan), Decision.DECLINED)

    def crash(_: int) -> None:
        raise OSError("no space left on device")

    def from_now_on(path: Path, data: bytes) -> None:
        # The journal was written before.
        patch.setattr(private_files.os, "fsync", crash)
        private_files.replace_private(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(approvals, "replace_private", from_now_on)
        with pytest.raises(OSError, match="space"):
            approve(home, plan)
    assert "declined" in refused(home, plan)
    assert len(list(home.approvals_dir.iterdir())) == 2


def test_an_approval_reads_back_as_it_was_written(home: NodeHome, plan: StudyPlan) -> None:
    written = decide(home, sign(plan), Decision.APPROVED)
    assert find_approval(home, plan.sha256) == written
    assert Approval.model_validate_json(written.model_dump_json()) == written
