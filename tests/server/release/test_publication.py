"""Publishing: when enough people have signed, on its day, once, and never by half."""

from __future__ import annotations

import json
import os
import shutil
from datetime import date, timedelta
from pathlib import Path

import pytest

from federation.errors import InputError
from federation.journal import ReleasePublished
from federation.privacy.accounting import epsilon_of
from federation.privacy.guarantee import statistics_events, training_event
from server.coordinator import CoordinatorHome
from server.release.audit import audit_release
from server.release.budget import year_budget
from server.release.bundle import ALL
from server.release.drafts import find_draft, make_draft, open_drafts
from server.release.publication import NotYet, earliest_day, publish, sign_draft
from server.release.published import in_series
from tests.server.release.homes import (
    COORDINATOR,
    PEOPLE,
    first_plan,
    new_home,
    plan_of,
    run_study,
    second_plan,
    two,
)

DAY = earliest_day(second_plan())


def test_two_people_and_the_day(drafted: CoordinatorHome) -> None:
    for done, name in enumerate(("anna", "cleo")):
        with pytest.raises(NotYet, match=f"{done} of 2 people have signed"):
            publish(drafted, today=DAY)
        sign_draft(drafted, name=name, key=PEOPLE[name])
    with pytest.raises(NotYet, match="must not be out before 2026-07-30"):
        publish(drafted, today=DAY - timedelta(days=1))
    with pytest.raises(InputError, match="was to be published on 2026-07-30") as late:
        publish(drafted, today=DAY + timedelta(days=1))
    assert not isinstance(late.value, NotYet)
    assert len(list(drafted.releases.iterdir())) == 1
    path = publish(drafted, today=DAY)
    assert {file.name for file in path.iterdir()} == set(ALL)
    assert audit_release(path, coordinator_key=COORDINATOR.public).sound


def test_everybody_may_read_what_is_published(signed: CoordinatorHome) -> None:
    before = os.umask(0o077)
    try:
        path = publish(signed, today=DAY)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o755
    assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o644}


def test_a_draft_for_a_later_day_waits_for_it(drafted: CoordinatorHome) -> None:
    make_draft(drafted, released_on=DAY + timedelta(days=7))
    for name, key in two().items():
        sign_draft(drafted, name=name, key=key)
    with pytest.raises(NotYet, match="is to be published on 2026-08-06"):
        publish(drafted, today=DAY)
    assert publish(drafted, today=DAY + timedelta(days=7)).is_dir()


def test_a_day_is_pretended_in_a_rehearsal_alone(tmp_path: Path, signed: CoordinatorHome) -> None:
    assert publish(signed, today=date(2030, 1, 1), pretended=DAY).is_dir()
    home = new_home(tmp_path / "real")
    plan = plan_of(1, rehearsal=False)
    run_study(home, plan)
    make_draft(home, released_on=earliest_day(plan))
    with pytest.raises(InputError, match="is for rehearsals"):
        publish(home, today=date(2030, 1, 1), pretended=earliest_day(plan))


def test_what_is_published_is_noted_and_its_draft_is_gone(signed: CoordinatorHome) -> None:
    draft = find_draft(signed)
    path = publish(signed, today=DAY)
    assert path.name == f"2026-06-30-{draft.sha256[:16]}"
    assert signed.entries()[-1].facts == ReleasePublished(
        content_sha256=draft.sha256, released_on=DAY, epsilon=draft.content["privacy"]["total_epsilon"], delta=1e-5)
    assert not draft.path.exists()
    assert open_drafts(signed) == []
    with pytest.raises(InputError, match="nothing, if it is what was published last"):
        publish(signed, today=DAY)


def test_the_journal_in_a_release_ends_with_the_last_signature(signed: CoordinatorHome) -> None:
    path = publish(signed, today=DAY)
    lines = (path / "journal.jsonl").read_bytes().splitlines()
    assert json.loads(lines[-1])["act"] == "release_signed"
    assert signed.journal_text().splitlines()[: len(lines)] == lines


def test_a_draft_that_was_changed_after_it_was_signed_is_not_published(signed: CoordinatorHome) -> None:
    path = find_draft(signed).path / "cells.csv"
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(InputError, match="does not fit this draft"):
        publish(signed, today=DAY)


def test_a_draft_that_was_overtaken_is_not_published(signed: CoordinatorHome, released: CoordinatorHome) -> None:
    """Another release of the series came out after this draft was signed."""
    name = find_draft(signed).path
    other = next(path for path in released.releases.iterdir() if path.name.startswith("2026-06"))
    content = json.loads((other / "release.json").read_bytes())["content"]
    assert content["study"] == find_draft(signed).content["study"]
    shutil.rmtree(name)
    shutil.copytree(other, signed.releases / other.name)
    with pytest.raises(InputError, match="no such draft"):
        publish(signed, today=DAY)


def test_a_release_that_was_changed_or_is_gone_stops_the_next(released: CoordinatorHome) -> None:
    first, second = sorted(released.releases.iterdir())
    run_study(released, plan_of(3))
    day = earliest_day(plan_of(3))
    text = (first / "release.json").read_bytes()
    (first / "release.json").write_bytes(text.replace(b'"shown"', b'"shawn"', 1))
    with pytest.raises(InputError, match="is not a release as it was published"):
        make_draft(released, released_on=day)
    (first / "release.json").write_bytes(text)
    second.rename(second.with_name("2026-06-30-" + "0" * 16))
    with pytest.raises(InputError, match="does not hold the release that its name says"):
        make_draft(released, released_on=day)
    shutil.rmtree(second.with_name("2026-06-30-" + "0" * 16))
    with pytest.raises(InputError, match="was published and is not there"):
        make_draft(released, released_on=day)


def test_a_year_is_composed_and_not_added(drafted: CoordinatorHome) -> None:
    """Two releases of a year in which one person counts in two of four: naive composition of all events."""
    plans = [first_plan(), second_plan()]
    found = year_budget(drafted, plans[1])
    assert (found.released, found.year, found.releases_per_person, found.releases_a_year) == (1, 2026, 2, 4)
    tables = [statistics_events(plan) for plan in plans]
    training = [training_event(plan) for plan in plans]
    assert found.tables_before == epsilon_of(tables[0], delta=1e-5)
    assert found.tables_after == pytest.approx(epsilon_of([*tables[0], *tables[1]], delta=1e-5))
    *own, series = tables[1]
    # Whoever has counted in the series is in its table in all four.
    assert found.tables_allowed == pytest.approx(epsilon_of([*own, *own, *[series] * 4], delta=1e-5))
    assert found.after == pytest.approx(epsilon_of([*training, *tables[0], *tables[1]], delta=1e-5))
    assert found.before == pytest.approx(epsilon_of([training[0], *tables[0]], delta=1e-5))
    assert found.tables_remaining == found.tables_allowed - found.tables_after > 0.0


def test_a_person_counts_in_so_many_releases_and_the_costliest_of_them(released: CoordinatorHome) -> None:
    loud = plan_of(3, noise_scale=13.0)
    found = year_budget(released, loud)
    two_costliest = [*statistics_events(first_plan()), *statistics_events(second_plan())]
    # The third release is none of these, and the person's share of its running total is.
    series = statistics_events(loud)[-1]
    assert series.shift > 1
    assert found.tables_after == pytest.approx(epsilon_of([*two_costliest, series], delta=1e-5))
    assert found.tables_before == pytest.approx(epsilon_of(two_costliest, delta=1e-5))
    assert found.tables_allowed < found.tables_after
    later = plan_of(3).model_copy(update={"period_end": date(2027, 3, 31)})
    assert year_budget(released, later).released == 0


def test_other_studies_are_no_part_of_a_series(released: CoordinatorHome) -> None:
    other = plan_of(1, study="another-coast")
    run_study(released, other)
    path = released.release(two())
    assert json.loads((path / "release.json").read_bytes())["content"]["previous_release_sha256"] is None
    assert len(in_series(released, "north-coast-2026")) == 2
    report = audit_release(path)
    assert report.sound
