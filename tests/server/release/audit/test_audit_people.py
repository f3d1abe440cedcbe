"""A release that too few people agreed to, or whose journal tells another story, does not pass, whoever signed what."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from federation.identity import SigningKey
from federation.journal import DraftWithdrawn, Facts, ReleaseDrafted, ReleasePublished, ReleaseSigned, StudyRun
from federation.plan import SignedPlan
from federation.plan_parts import Signer
from server.coordinator import plan_signed
from server.release.approval import Approval, Signatures
from server.release.audit import Check, Outcome, audit_release
from server.release.bundle import JOURNAL, RELEASE, SIGNATURES
from server.release.content import content_sha256
from server.release.rebuild import rebuild
from tests.server.release.audit.test_audit_files import failed
from tests.server.release.homes import (
    COORDINATOR,
    PEOPLE,
    STRANGER,
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


def honest(folder: Path) -> dict[str, Any]:
    """What `forge` needs to make an honest bundle of what is in a folder."""
    content, signed = content_in(folder), plan_in(folder)
    earlier = [] if content["previous_release_sha256"] is None else published_before(
        content["previous_release_sha256"], SignedPlan.sign(first_plan(), COORDINATOR))
    return {"content": content, "signed": signed, "acts": story(signed, content, two(), earlier)}


def only(checks: dict[str, Check], name: str) -> str:
    """The words of the one check that failed."""
    assert set(checks) == {name}
    return " ".join(f"{finding.file} {finding.words}" for finding in checks[name].findings)


def test_a_forged_bundle_that_is_honest_passes(bundle: Path) -> None:
    assert audit_release(cheat(bundle, lambda content: None), coordinator_key=COORDINATOR.public).sound


@pytest.mark.parametrize("people", [{}, two("anna"), two("ben")])
def test_one_signature_is_too_few(bundle: Path, people: dict[str, SigningKey]) -> None:
    facts = honest(bundle)
    facts["acts"] = [act for act in facts["acts"] if not isinstance(act, ReleaseSigned) or act.signer in people]
    words = only(failed(audit_release(forge(bundle, **facts, people=people))), "approvals")
    assert f"{SIGNATURES} hold {len(people)} valid signatures" in words


def test_the_same_person_counts_once(bundle: Path) -> None:
    facts = honest(bundle)
    facts["acts"] = [act for act in facts["acts"] if not isinstance(act, ReleaseSigned) or act.signer == "anna"]
    forge(bundle, **facts, people=two("anna"))
    signatures = Signatures.read((bundle / SIGNATURES).read_bytes())
    twice = Signatures.seal_with(COORDINATOR, signatures.statement, signatures.approvals * 2,
                                 signatures.journal_sha256)
    (bundle / SIGNATURES).write_bytes(twice.to_text())
    assert "more than one signature of anna" in only(failed(audit_release(bundle)), "approvals")


@pytest.mark.parametrize("people", [{"anna": PEOPLE["anna"], "ben": STRANGER}, {"anna": PEOPLE["anna"],
                                    "dora": STRANGER}, {"anna": PEOPLE["ben"], "ben": PEOPLE["anna"]}])
def test_a_stranger_counts_for_nobody(bundle: Path, people: dict[str, SigningKey]) -> None:
    found = failed(audit_release(forge(bundle, **honest(bundle), people=people)))
    assert "whom the plan does not name with this key" in found["approvals"].findings[0].words
    # The journal says nothing of these people either.
    assert set(found) == {"approvals", "acts"}


def test_the_coordinator_is_nobody_else(bundle: Path) -> None:
    """A plan that names the coordinator's own key under another name."""
    signers = (Signer(name="anna", public_key=PEOPLE["anna"].public),
               Signer(name="clerk", public_key=COORDINATOR.public))
    plan = second_plan()
    signed = SignedPlan.sign(plan.model_copy(update={
        "release": plan.release.model_copy(update={"signers": signers})}), COORDINATOR)
    content = of_plan(content_in(bundle), signed)
    earlier = published_before(content["previous_release_sha256"], SignedPlan.sign(first_plan(), COORDINATOR))
    acts = [*story(signed, content, ("anna",), earlier),
            ReleaseSigned(content_sha256=content_sha256(content), signer="clerk", public_key=COORDINATOR.public)]
    words = only(failed(audit_release(forge(bundle, content=content, signed=signed, acts=acts, people={
        "anna": PEOPLE["anna"], "clerk": COORDINATOR}))), "approvals")
    assert "with the coordinator's own key" in words
    assert "hold 1 valid" in words


def test_a_signature_under_other_files_does_not_fit(bundle: Path, tmp_path: Path) -> None:
    signatures = Signatures.read((bundle / SIGNATURES).read_bytes())
    other = cheat(bundle, lambda content: content.update(label="SYNTHETIC 2"))
    fresh = Signatures.read((other / SIGNATURES).read_bytes())
    mixed = Signatures.seal_with(COORDINATOR, fresh.statement, (signatures.approvals[0], fresh.approvals[1]),
                                 fresh.journal_sha256)
    (other / SIGNATURES).write_bytes(mixed.to_text())
    found = failed(audit_release(other))
    assert "signature of anna that does not fit" in found["approvals"].findings[0].words


@pytest.mark.parametrize(("field", "words"), [("plan_sha256", "is another plan"), ("content_sha256", "another content"),
                                              ("files", "does not name the files")])
def test_signatures_under_something_else_are_named(bundle: Path, field: str, words: str) -> None:
    """Everybody signed a statement that does not speak of what lies here."""
    signatures = Signatures.read((bundle / SIGNATURES).read_bytes())
    files = {name: digest for name, digest in signatures.statement.files.items() if name != "cells.csv"}
    other = signatures.statement.model_copy(update={field: files if field == "files" else "0" * 64})
    sealed = Signatures.seal_with(COORDINATOR, other, [Approval.sign(other, name, key) for name, key in two().items()],
                                  signatures.journal_sha256)
    (bundle / SIGNATURES).write_bytes(sealed.to_text())
    found = failed(audit_release(bundle))
    assert set(found) == {"files" if field == "files" else "form"}
    assert words in only(found, *found)


def test_another_coordinators_keys_are_told_by_the_one_that_is_known(bundle: Path) -> None:
    """Everything was made anew by somebody who holds other keys; only a key from elsewhere tells."""
    content, plan = content_in(bundle), plan_in(bundle).plan
    signed = SignedPlan.sign(plan, STRANGER)
    earlier = published_before(content["previous_release_sha256"], SignedPlan.sign(first_plan(), STRANGER))
    forge(bundle, content=content, signed=signed, acts=story(signed, content, two(), earlier), key=STRANGER)
    report = audit_release(bundle)
    assert report.sound
    open_one = next(check for check in report.checks if check.name == "key")
    assert open_one.outcome is Outcome.NOT_CHECKABLE
    assert STRANGER.public in open_one.findings[0].words
    assert STRANGER.public in only(failed(audit_release(bundle, coordinator_key=COORDINATOR.public)), "key")


def test_a_seal_of_another_key_does_not_fit(bundle: Path) -> None:
    text = json.loads((bundle / SIGNATURES).read_bytes())
    text["seal"] = STRANGER.sign("release-seal", b"anything")
    (bundle / SIGNATURES).write_bytes(Signatures.model_validate_json(json.dumps(text)).to_text())
    assert SIGNATURES in only(failed(audit_release(bundle)), "seal")


def test_lines_of_the_journal_that_were_dropped_moved_or_repeated_are_named(bundle: Path) -> None:
    lines = (bundle / JOURNAL).read_bytes().splitlines(keepends=True)
    signatures = Signatures.read((bundle / SIGNATURES).read_bytes())

    def resealed(text: bytes) -> dict[str, Check]:
        from federation.canonical import sha256_hex

        (bundle / JOURNAL).write_bytes(text)
        (bundle / SIGNATURES).write_bytes(Signatures.seal_with(
            COORDINATOR, signatures.statement, signatures.approvals, sha256_hex(text)).to_text())
        return failed(audit_release(bundle))

    for i in range(len(lines)):
        found = resealed(b"".join(lines[:i] + lines[i + 1:]))
        last = i == len(lines) - 1
        # Without its last line the journal is whole, but one of the signatures is not in it.
        assert JOURNAL in {finding.file for finding in found["acts" if last else "journal"].findings}, i
        if not last:
            assert f"line {max(1, i + 1)} " in found["journal"].findings[0].words
    swapped = resealed(b"".join([*lines[:2], lines[3], lines[2], *lines[4:]]))
    assert "line 3 " in swapped["journal"].findings[0].words
    twice = resealed(b"".join([*lines, lines[-1]]))
    assert f"line {len(lines) + 1} repeats line {len(lines)}" in twice["journal"].findings[0].words


def _without(kind: type[Facts], acts: list[Facts]) -> list[Facts]:
    """`acts` without the last of a kind."""
    last = max(i for i, act in enumerate(acts) if isinstance(act, kind))
    return acts[:last] + acts[last + 1:]


def test_a_rewritten_journal_that_lacks_an_act_is_named(bundle: Path) -> None:
    facts = honest(bundle)
    acts = facts.pop("acts")
    for kind, words in ((StudyRun, "no entry study_run of this plan"), (ReleaseSigned, "that ben signed"),
                        (type(acts[3]), "no entry plan_signed of this plan")):
        assert words in only(failed(audit_release(forge(bundle, **facts, acts=_without(kind, acts)))), "acts")
        (bundle.parent / f"{bundle.name}.journal").unlink()
        (bundle.parent / f"{bundle.name}.journal.head").unlink()


@pytest.mark.parametrize("field", ["measurements_sha256", "model_sha256", "partners"])
def test_a_run_with_other_results_is_named(bundle: Path, field: str) -> None:
    facts = honest(bundle)
    other = ("partner-0",) if field == "partners" else "00" * 32
    facts["acts"] = [act.model_copy(update={field: other}) if isinstance(act, StudyRun) else act
                     for act in facts["acts"]]
    assert "no entry study_run" in only(failed(audit_release(forge(bundle, **facts))), "acts")


def test_acts_in_another_order_are_named(bundle: Path) -> None:
    facts = honest(bundle)
    acts = facts["acts"]
    run = next(act for act in acts if isinstance(act, StudyRun))
    rest = [act for act in acts if act is not run]
    facts["acts"] = [*rest, run]
    assert "no entry study_run" in only(failed(audit_release(forge(bundle, **facts))), "acts")


def test_signatures_before_the_draft_are_named(bundle: Path) -> None:
    facts = honest(bundle)
    signed = [act for act in facts["acts"] if isinstance(act, ReleaseSigned)]
    draft = facts["acts"][-3]
    facts["acts"] = [*facts["acts"][:-3], *signed, draft]
    words = only(failed(audit_release(forge(bundle, **facts))), "acts")
    assert "after the drafting, that anna signed" in words
    assert "after the drafting, that ben signed" in words


def test_a_person_whose_signature_was_left_out_is_named(bundle: Path) -> None:
    facts = honest(bundle)
    facts["acts"].append(ReleaseSigned(content_sha256=content_sha256(facts["content"]), signer="cleo",
                                       public_key=PEOPLE["cleo"].public))
    assert "says that cleo signed" in only(failed(audit_release(forge(bundle, **facts))), "acts")


def test_an_anchor_at_another_entry_is_named(bundle: Path) -> None:
    words = only(failed(audit_release(forge(bundle, **honest(bundle), drafted=5))), "acts")
    assert "where the signatures point" in words


def test_a_withdrawn_draft_is_named(bundle: Path) -> None:
    facts = honest(bundle)
    facts["acts"].append(DraftWithdrawn(content_sha256=content_sha256(facts["content"])))
    assert "this draft was withdrawn" in only(failed(audit_release(forge(bundle, **facts))), "acts")


def test_a_study_that_was_measured_twice_is_named(bundle: Path) -> None:
    facts = honest(bundle)
    run = next(act for act in facts["acts"] if isinstance(act, StudyRun))
    facts["acts"].insert(5, run.model_copy(update={"measurements_sha256": "00" * 32}))
    assert "was run another time" in only(failed(audit_release(forge(bundle, **facts))), "acts")


def test_a_second_release_of_one_plan_is_named(bundle: Path) -> None:
    facts = honest(bundle)
    drafted = next(act for act in facts["acts"][::-1] if isinstance(act, ReleaseDrafted))
    other = "00" * 32
    facts["acts"][-3:-3] = [drafted.model_copy(update={"content_sha256": other}),
                            ReleasePublished(content_sha256=other, released_on=date(2026, 7, 30), epsilon=1.0,
                                             delta=1e-5)]
    found = failed(audit_release(forge(bundle, **facts)))
    assert set(found) == {"acts", "series"}
    assert "a release of this plan was out already" in found["acts"].findings[0].words


def test_other_draws_of_the_same_days_are_named(bundle: Path) -> None:
    """Five near-equal plans were run, too, and the best of six is out."""
    content, signed = content_in(bundle), plan_in(bundle)
    earlier = published_before(content["previous_release_sha256"], SignedPlan.sign(first_plan(), COORDINATOR))
    for number in range(5):
        other = SignedPlan.sign(signed.plan.model_copy(update={"purpose": signed.plan.purpose + "." * number + "!"}),
                                COORDINATOR)
        earlier += [plan_signed(other), StudyRun(
            plan_sha256=other.sha256, partners=tuple(sorted(content["coverage"]["in_sum"])),
            measurements_sha256=f"{number}" * 64, model_sha256="e" * 64)]
    forge(bundle, content=content, signed=signed, acts=story(signed, content, two(), earlier))
    (check,) = (each for each in audit_release(bundle).checks if each.name == "acts")
    assert len(check.findings) == 5
    assert all("over the same days under another plan" in finding.words for finding in check.findings)


def test_a_release_before_the_embargo_is_named(bundle: Path) -> None:
    cheat(bundle, lambda content: content.update(released_on="2026-07-29"))
    words = only(failed(audit_release(bundle)), "embargo")
    assert RELEASE in words
    assert "2026-07-30" in words


def test_a_release_dated_before_its_journal_is_named(bundle: Path) -> None:
    signed = SignedPlan.sign(second_plan().model_copy(update={"rehearsal": False}), COORDINATOR)
    content = rebuild(content_in(bundle), signed.plan, None)
    earlier = published_before(content["previous_release_sha256"], SignedPlan.sign(first_plan(), COORDINATOR))
    forge(bundle, content=content, signed=signed, acts=story(signed, content, two(), earlier), at=date(2026, 8, 1))
    assert "line 1 is of 2026-08-01, after the publication" in only(failed(audit_release(bundle)), "embargo")


def test_the_release_before_it(bundle: Path, first_bundle: Path) -> None:
    assert audit_release(bundle, previous=first_bundle).sound
    found = failed(audit_release(first_bundle, previous=bundle))
    assert "names no release as the one before it" in found["previous"].findings[0].words
    open_one = next(check for check in audit_release(bundle).checks if check.name == "previous")
    assert open_one.outcome is Outcome.NOT_CHECKABLE


def test_a_release_that_hides_the_one_before_it_is_named(bundle: Path) -> None:
    """The journal knows of a release of the series that this one does not name."""
    def alone(content: dict[str, Any]) -> None:
        content["previous_release_sha256"] = None
        for cell in content["cells"]:
            if cell["status"] == "shown":
                cell["trend"] = None

    before = content_in(bundle)["previous_release_sha256"]
    earlier = published_before(before, SignedPlan.sign(first_plan(), COORDINATOR))
    content, signed = content_in(bundle), plan_in(bundle)
    alone(content)
    forge(bundle, content=content, signed=signed, acts=story(signed, content, two(), earlier))
    assert f"that was {before}" in only(failed(audit_release(bundle)), "series")


def test_a_journal_that_was_rewritten_since_the_release_before_is_named(bundle: Path, first_bundle: Path) -> None:
    """Bundle and journal are whole by themselves; only the earlier release, which holds its beginning, tells."""
    cheat(bundle, lambda content: None)
    assert audit_release(bundle).sound
    words = only(failed(audit_release(bundle, previous=first_bundle)), "previous")
    assert f"{JOURNAL} does not begin with the journal" in words
