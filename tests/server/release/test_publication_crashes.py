"""Processes that die while they draft, sign or publish, and processes that do the same at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import timedelta

import pytest

from federation.errors import InputError
from federation.journal import Act, ReleaseSigned
from server.coordinator import CoordinatorHome
from server.release import drafts, publication, published
from server.release.audit import audit_release
from server.release.bundle import ALL
from server.release.drafts import find_draft, make_draft, open_drafts
from server.release.publication import publish, sign_draft
from tests.server.release.homes import PEOPLE, plan_of, run_study, two
from tests.server.release.test_drafts import DAY, acts


def dying(work: Callable[[], object]) -> int:
    """Run `work` in a process of its own and return the signal that ended it, 0 if none did."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1] & 0x7F


def die_at(count: int, original: Callable[..., object]) -> Callable[..., object]:
    """`original`, but the process is killed at the call of this number, from 0."""
    calls = iter(range(count + 1))

    def instead(*arguments: object, **named: object) -> object:
        if next(calls, None) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **named)

    return instead


@pytest.mark.parametrize("written", [0, 5, len(ALL) - 2, len(ALL) - 1])
def test_a_process_that_dies_between_files_leaves_no_release(
    signed: CoordinatorHome, written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, said = sorted(signed.releases.iterdir()), signed.journal_text()
    with monkeypatch.context() as patch:
        patch.setattr(publication, "write_synced", die_at(written, publication.write_synced))
        assert dying(lambda: publish(signed, today=DAY)) == signal.SIGKILL
    assert [path for path in sorted(signed.releases.iterdir()) if not path.name.startswith(".")] == before
    assert signed.journal_text() == said
    path = publish(signed, today=DAY)
    assert audit_release(path).sound
    assert sorted(signed.releases.iterdir()) == [*before, path]


def test_a_process_that_dies_before_it_is_noted_has_published(
    signed: CoordinatorHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(publication, "settle", die_at(1, publication.settle))
        assert dying(lambda: publish(signed, today=DAY)) == signal.SIGKILL
    assert Act.RELEASE_PUBLISHED not in acts(signed)[-2:]
    path = sorted(signed.releases.iterdir())[-1]
    assert audit_release(path).sound
    # Whoever comes next notes it, and finds nothing left to publish.
    with pytest.raises(InputError, match="nothing, if it is what was published last"):
        publish(signed, today=DAY)
    assert acts(signed)[-1] is Act.RELEASE_PUBLISHED
    assert acts(signed).count(Act.RELEASE_PUBLISHED) == 2
    assert not any(signed.drafts.iterdir())
    run_study(signed, plan_of(3))
    assert audit_release(signed.release(two()), previous=path).sound


@pytest.mark.parametrize("written", [0, 10])
def test_a_process_that_dies_while_drafting_leaves_none(
    drafted: CoordinatorHome, written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = DAY + timedelta(days=1)
    with monkeypatch.context() as patch:
        patch.setattr(drafts, "write_synced", die_at(written, drafts.write_synced))
        assert dying(lambda: make_draft(drafted, released_on=later)) == signal.SIGKILL
    assert open_drafts(drafted) == []
    draft = make_draft(drafted, released_on=later)
    assert [path.name for path in drafted.drafts.iterdir()] == [draft.path.name]
    for name, key in two().items():
        sign_draft(drafted, name=name, key=key)
    assert audit_release(publish(drafted, today=later)).sound


def test_a_signature_that_was_not_noted_is_noted_by_the_next(
    drafted: CoordinatorHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(publication, "_note_signatures", die_at(0, publication._note_signatures))
        assert dying(lambda: sign_draft(drafted, name="anna", key=PEOPLE["anna"])) == signal.SIGKILL
    assert acts(drafted)[-1] is Act.RELEASE_DRAFTED
    with pytest.raises(InputError, match="has signed this draft already"):
        sign_draft(drafted, name="anna", key=PEOPLE["anna"])
    sign_draft(drafted, name="ben", key=PEOPLE["ben"])
    assert audit_release(publish(drafted, today=DAY)).sound


def test_a_study_that_was_not_noted_is_noted_by_the_draft(
    released: CoordinatorHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(CoordinatorHome, "note_run", die_at(0, CoordinatorHome.note_run))
        assert dying(lambda: run_study(released, plan_of(3))) == signal.SIGKILL
    assert acts(released)[-1] is Act.PLAN_SIGNED
    assert audit_release(released.release(two())).sound


def test_the_same_person_signs_once_however_many_processes_try(drafted: CoordinatorHome) -> None:
    children = []
    for name in ("anna", "anna", "anna", "ben", "cleo"):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                sign_draft(drafted, name=name, key=PEOPLE[name])
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert (sorted(ended[:3]), ended[3:]) == ([0, 1, 1], [0, 0])
    assert [one.name for one in find_draft(drafted).approvals] == ["anna", "ben", "cleo"]
    noted = [entry.facts.signer for entry in drafted.entries() if isinstance(entry.facts, ReleaseSigned)]
    assert sorted(noted[-3:]) == ["anna", "ben", "cleo"]
    assert audit_release(publish(drafted, today=DAY)).sound


def test_one_of_two_processes_publishes(signed: CoordinatorHome) -> None:
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                publish(signed, today=DAY)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children) == [0, 1]
    assert len(published.published(signed)) == 2
    assert acts(signed).count(Act.RELEASE_PUBLISHED) == 2
