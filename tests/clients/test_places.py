"""Where people count: by their own records alone, in the period, so often a year, and nowhere that is protected."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.node import NodeHome
from clients.places import Places, places
from federation.areas import Areas
from federation.plan import StudyPlan
from federation.plan_statistics import AppearancesSpec, Corridor
from federation.taxonomy import LabelValue, RegionRole, Task
from tests.clients.frames import (
    AFTER,
    BEFORE,
    COUNTRY_PAIR,
    START,
    Row,
    counting,
    frame_of,
    of_person,
    some_rows,
    some_tables,
    without_person,
)
from tests.worlds import CORRIDORS, DAY, SUPER_REGIONS, make_home, make_plan

PLAN = make_plan()
ORIGIN, DESTINATION, OBSERVED = RegionRole.ORIGIN, RegionRole.DESTINATION, RegionRole.OBSERVED
YES, NO, UNSURE = LabelValue.POSITIVE, LabelValue.NEGATIVE, LabelValue.UNVERIFIED


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> NodeHome:
    return make_home(tmp_path_factory.mktemp("places"), 0)


def by_record(home: NodeHome, plan: StudyPlan, rows: list[Row]) -> dict[str, Any]:
    """`places` with records by their ids and cells by their names, so that frames can be compared."""
    regions, roles = Areas.of(plan.statistics).regions, plan.statistics.roles

    def named(place: Places) -> Any:
        mentions = {(rows[one.row].id, regions[one.region], roles[one.role]) for one in place.mentions}
        assert len(mentions) == len(place.mentions)
        corridor = place.corridor and (rows[place.corridor[0]].id, plan.statistics.corridors[place.corridor[1]])
        return mentions, corridor, {plan.tasks[column]: (rows[row].id, positive)
                                    for column, (row, positive) in place.labelled.items()}

    return {person: named(place) for person, place in places(home, plan, frame_of(rows)).items()}


@given(some_rows(), some_tables())
def test_a_person_counts_in_the_same_places_whoever_else_is_there(home: NodeHome, rows: list[Row],
                                                                  tables: dict[str, Any]) -> None:
    plan = counting(PLAN, **tables)
    together = by_record(home, plan, rows)
    people = {row.person for row in rows}
    alone = [by_record(home, plan, of_person(rows, person)) for person in sorted(people)]
    assert together == {person: place for one in alone for person, place in one.items()}
    for person in people:
        left = by_record(home, plan, without_person(rows, person))
        assert left == {other: place for other, place in together.items() if other != person}


@given(some_rows(), some_tables())
def test_every_place_is_one_that_the_plan_allows_and_the_record_names(home: NodeHome, rows: list[Row],
                                                                      tables: dict[str, Any]) -> None:
    plan, records = counting(PLAN, **tables), {row.id: row for row in rows}
    spec, areas = plan.statistics, Areas.of(plan.statistics)
    for person, (mentions, corridor, labelled) in by_record(home, plan, rows).items():
        used = [*(record for record, _, _ in mentions), *(record for record, _ in labelled.values()),
                *([corridor[0]] if corridor else [])]
        assert used, "somebody who counts nowhere is not listed"
        assert {records[record].person for record in used} == {person}
        assert len({role for _, _, role in mentions}) == len(mentions) <= spec.max_roles_per_person
        for record, code, role in mentions:
            assert records[record].regions[role] == code
            assert START <= records[record].day <= DAY
            assert code in areas.regions
            assert code not in spec.protected
        if corridor:
            # Both ends are in the one record.
            record, pair = records[corridor[0]], corridor[1]
            ends = [record.regions[role] for role in (ORIGIN, DESTINATION)]
            assert START <= record.day <= DAY
            assert set(ends) <= set(areas.regions)
            assert all(end[:2] == place or end in next(one for one in SUPER_REGIONS if one.code == place).regions
                       for end, place in zip(ends, (pair.origin, pair.destination), strict=True))
        for task, (record, positive) in labelled.items():
            assert records[record].labels[task] is (YES if positive else NO)
            # Without a table of scores, only those who are held out are looked at.
            assert spec.scores is not None or home.keyed("holdout").value(person) < plan.holdout_share


@given(some_rows(), some_tables())
def test_whoever_could_count_does(home: NodeHome, rows: list[Row], tables: dict[str, Any]) -> None:
    # In every release of the year; who is left out of this one is another matter.
    everybody = AppearancesSpec(releases_a_year=3, releases_per_person=3, release_of_year=1)
    plan = counting(PLAN, **{**tables, "appearances": everybody})
    found, areas = by_record(home, plan, rows), Areas.of(plan.statistics)
    for person in {row.person for row in rows}:
        own = of_person(rows, person)
        mentions, corridor, labelled = found.get(person, (set(), None, {}))
        current = [row for row in own if START <= row.day <= DAY]
        roles = {role for row in current for role, code in row.regions.items()
                 if code in areas.regions and role in plan.statistics.roles}
        assert len(mentions) == min(len(roles), plan.statistics.max_roles_per_person)
        if plan.statistics.corridors == COUNTRY_PAIR:
            ends = [{row.regions.get(ORIGIN), row.regions.get(DESTINATION)} <= set(areas.regions) for row in current]
            assert (corridor is not None) is any(ends)
        held_out = home.keyed("holdout").value(person) < plan.holdout_share
        known = {task for row in own for task, value in row.labels.items() if value in (YES, NO)}
        assert set(labelled) == (known if held_out or plan.statistics.scores is not None else set())


@pytest.mark.parametrize(("day", "counts"), [(BEFORE, False), (START, True), (DAY, True), (AFTER, False)])
def test_the_period_holds_its_first_and_its_last_day(home: NodeHome, day: date, counts: bool) -> None:
    row = Row("a", day=day, regions={ORIGIN: "XA-01", DESTINATION: "XA-03"}, labels={Task.DISTRESS: YES})
    found = by_record(home, counting(PLAN, holdout_share=0.0), [row])
    assert bool(found) is counts
    # How often the model errs is no matter of the period.
    measured = by_record(home, counting(PLAN, holdout_share=1.0), [row])["a"]
    assert (bool(measured[0]), measured[1] is not None) == (counts, counts)
    assert measured[2] == {Task.DISTRESS: (row.id, True)}


@pytest.mark.parametrize("protected", [(), ("XA-01",), ("XA-01", "XA-02")])
def test_in_a_protected_region_nobody_counts(home: NodeHome, protected: tuple[str, ...]) -> None:
    left = tuple(code for code in ("XA-01", "XA-02", "XA-03") if code not in protected)
    super_regions = tuple(one.model_copy(update={"regions": kept}) for one in SUPER_REGIONS
                          if (kept := tuple(code for code in one.regions if code in left)))
    codes = {one.code for one in super_regions}
    plan = counting(PLAN, holdout_share=0.0, protected=protected, super_regions=super_regions,
                    roles=(ORIGIN, DESTINATION), corridors=tuple(
                        pair for pair in CORRIDORS if {pair.origin, pair.destination} <= codes))
    rows = [Row(f"{origin}>{destination}", regions={ORIGIN: origin, DESTINATION: destination})
            for origin in PLAN.statistics.regions for destination in PLAN.statistics.regions]
    found = by_record(home, plan, rows)
    assert {code for mentions, _, _ in found.values() for _, code, _ in mentions} == set(left)
    for person, (mentions, corridor, _) in found.items():
        ends = person.split(">")
        # With one end that is protected somebody counts at the other, and in no corridor.
        assert (corridor is not None) is (set(ends) <= set(left))
        assert {code for _, code, _ in mentions} <= set(ends) & set(left)
    assert {row.person for row in rows} - set(found) == {
        row.person for row in rows if set(row.regions.values()) <= set(protected)}


def test_a_corridor_has_both_its_ends_from_one_record(home: NodeHome) -> None:
    from_north, to_south = {ORIGIN: "XA-01"}, {DESTINATION: "XA-03"}
    plan = counting(PLAN, holdout_share=0.0)
    apart = [Row("a", 1, regions=from_north), Row("a", 2, regions=to_south)]
    assert by_record(home, plan, apart)["a"][1] is None
    whole = Row("a", 3, regions=from_north | to_south)
    assert by_record(home, plan, [*apart, whole])["a"][1] == (
        whole.id, Corridor(origin="XA:north", destination="XA:south"))
    # And one of the plan's: any other is not counted, wherever it leads.
    other = counting(PLAN, holdout_share=0.0, corridors=(Corridor(origin="XA:south", destination="XA:north"),))
    assert by_record(home, other, [*apart, whole])["a"][1] is None


def test_somebody_with_several_corridors_is_in_one_of_them(home: NodeHome) -> None:
    rows = [Row(f"{person}", number, regions={ORIGIN: f"XA-0{number + 1}", DESTINATION: "XA-03"})
            for person in range(300) for number in range(3)]
    pairs = Counter(corridor[1].origin for _, corridor, _ in by_record(home, counting(PLAN), rows).values())
    # Two of the three records lead from the north: by lot among records, so two thirds of people, to five deviations.
    assert sum(pairs.values()) == 300
    assert pairs["XA:north"] == pytest.approx(200, abs=5 * (300 * 2 / 9) ** 0.5)


def test_the_cell_is_drawn_evenly_among_a_persons_mentions(home: NodeHome) -> None:
    rows = [Row(f"{person}", number, regions={ORIGIN: "XA-01", OBSERVED: f"XA-0{number + 1}"})
            for person in range(600) for number in range(3)]
    found = by_record(home, counting(PLAN), rows)
    cells = Counter((code, role) for mentions, _, _ in found.values() for _, code, role in mentions)
    assert sum(cells.values()) == 600
    for cell, expected in {("XA-01", ORIGIN): 300, ("XA-01", OBSERVED): 100, ("XA-02", OBSERVED): 100,
                           ("XA-03", OBSERVED): 100}.items():
        assert cells[cell] == pytest.approx(expected, abs=5 * (expected * (1 - expected / 600)) ** 0.5)
    # With two roles there is one mention of each, still by lot among those of the role.
    both = by_record(home, counting(PLAN, max_roles_per_person=2), rows)
    assert all({role for _, _, role in mentions} == {ORIGIN, OBSERVED} for mentions, _, _ in both.values())
    observed = Counter(code for mentions, _, _ in both.values() for _, code, role in mentions if role is OBSERVED)
    assert all(observed[code] == pytest.approx(200, abs=5 * (600 * 2 / 9) ** 0.5) for code in PLAN.statistics.regions)


def test_choices_repeat_for_a_plan_and_change_with_it_and_with_the_partner(home: NodeHome, tmp_path: Path) -> None:
    rows = [Row(f"{person}", number, regions={OBSERVED: f"XA-0{number + 1}"}, labels={Task.DISTRESS: YES})
            for person in range(60) for number in range(3)]
    plan = counting(PLAN, holdout_share=1.0)
    first = by_record(home, plan, rows)
    assert by_record(home, plan, rows[::-1]) == first
    for other in (by_record(home, plan.model_copy(update={"study": "another"}), rows),
                  by_record(make_home(tmp_path, 1), plan, rows)):
        for part in (0, 2):
            changed = sum(first[person][part] != other[person][part] for person in first)
            assert 20 < changed < 60  # two in three, by lot


# Appearances


def year(a_year: int, a_person: int, *, holdout_share: float = 0.0, until: date = DAY, study: str = "test") -> Any:
    """The year's releases of a plan."""
    return [counting(PLAN, holdout_share=holdout_share, appearances=AppearancesSpec(
        releases_a_year=a_year, releases_per_person=a_person, release_of_year=number)).model_copy(
            update={"period_end": until, "study": study}) for number in range(1, a_year + 1)]


@pytest.mark.parametrize(("a_year", "a_person"), [(1, 1), (4, 1), (4, 3), (4, 4), (12, 5)])
def test_over_a_year_each_person_appears_in_exactly_so_many_releases(home: NodeHome, a_year: int,
                                                                     a_person: int) -> None:
    rows = [Row(f"{person}", regions={OBSERVED: "XA-01"}) for person in range(200)]
    seen = Counter(person for plan in year(a_year, a_person) for person in places(home, plan, frame_of(rows)))
    assert seen == {row.person: a_person for row in rows}
    # And every release holds its part of the people, by lot.
    share = a_person / a_year
    for plan in year(a_year, a_person):
        assert len(places(home, plan, frame_of(rows))) == pytest.approx(
            200 * share, abs=5 * (200 * share * (1 - share)) ** 0.5)


def appearing(home: NodeHome, plans: list[StudyPlan], rows: list[Row]) -> list[set[str]]:
    return [set(places(home, plan, frame_of(rows))) for plan in plans]


def test_a_persons_releases_are_the_same_whatever_their_records_are_and_whichever_study_asks(home: NodeHome) -> None:
    people = [f"{person}" for person in range(80)]
    rows = [Row(person, regions={OBSERVED: "XA-01"}) for person in people]
    first = appearing(home, year(4, 2), rows)
    others = [Row(person, 7, day=DAY, regions={ORIGIN: "XA-03", DESTINATION: "XA-02"}) for person in people]
    assert appearing(home, year(4, 2), others) == first
    assert appearing(home, year(4, 2), [*others, *rows]) == first
    assert appearing(home, year(4, 2, study="another"), rows) == first
    # Somebody with only a label to be measured by is bound by the same releases.
    labelled = [Row(person, labels={Task.DISTRESS: NO}, day=BEFORE) for person in people]
    assert appearing(home, year(4, 2, holdout_share=1.0), labelled) == first


def test_a_plan_that_allows_more_releases_adds_to_a_persons_own(home: NodeHome) -> None:
    # Else two plans of a year could take somebody in more often than either allows.
    rows = [Row(f"{person}", regions={OBSERVED: "XA-01"}) for person in range(80)]
    before = [set[str]() for _ in range(5)]
    for a_person in range(1, 6):
        now = appearing(home, year(5, a_person), rows)
        assert all(earlier < later for earlier, later in zip(before, now, strict=True))
        before = now


def test_another_year_another_partner_or_another_number_of_releases_draws_anew(home: NodeHome, tmp_path: Path) -> None:
    rows = [Row(f"{person}", regions={OBSERVED: "XA-01"}, day=DAY) for person in range(80)]
    first = appearing(home, year(4, 2), rows)
    same_year = appearing(home, year(4, 2, until=date(2026, 12, 31)), rows)
    next_year = appearing(home, year(4, 2, until=date(2027, 1, 1)), rows)
    assert same_year == first
    elsewhere, oftener = appearing(make_home(tmp_path, 1), year(4, 2), rows), appearing(home, year(8, 4), rows)[:4]
    for other in (next_year, elsewhere, oftener):
        # A quarter of 80 are in both by chance, to five deviations.
        assert all(abs(len(one & another) - 20) < 5 * 15**0.5 for one, another in zip(first, other, strict=True))


@given(st.integers(1, 6), st.data())
def test_whoever_does_not_appear_counts_in_no_table_at_all(home: NodeHome, a_year: int, data: st.DataObject) -> None:
    a_person = data.draw(st.integers(1, a_year))
    rows = [row for row in data.draw(some_rows()) if row.regions]
    everything = set(places(home, counting(PLAN, holdout_share=0.5), frame_of(rows)))
    seen = Counter(person for plan in year(a_year, a_person, holdout_share=0.5)
                   for person in by_record(home, plan, rows))
    assert seen == dict.fromkeys(everything, a_person)


# The confusion table


def test_only_those_who_were_held_out_measure_the_model_and_through_one_record_a_task(home: NodeHome) -> None:
    rows = [Row(f"{person}", number, labels={Task.RECRUITMENT: YES if number else NO,
                                             Task.DISTRESS: (YES, UNSURE, NO)[number]})
            for person in range(300) for number in range(3)]
    plan = counting(PLAN)
    held = {row.person for row in rows if home.keyed("holdout").value(row.person) < plan.holdout_share}
    found = by_record(home, plan, rows)
    assert set(found) == held
    assert 30 < len(held) < 90
    assert all(set(labelled) == set(Task) for _, _, labelled in found.values())
    # By lot among the records that say yes or no: unsure ones are none of them.
    positive = {task: sum(labelled[task][1] for _, _, labelled in found.values()) / len(held) for task in Task}
    assert positive == {Task.RECRUITMENT: pytest.approx(2 / 3, abs=5 * (2 / 9 / len(held)) ** 0.5),
                        Task.DISTRESS: pytest.approx(1 / 2, abs=5 * (1 / 4 / len(held)) ** 0.5)}
    # The two tasks are drawn apart: where both could be either of two records, half of the people have one of each.
    both = [row for row in rows if row.number != 1]
    apart = sum(labelled[Task.RECRUITMENT][0] != labelled[Task.DISTRESS][0]
                for _, _, labelled in by_record(home, plan, both).values())
    assert apart == pytest.approx(len(held) / 2, abs=5 * (len(held) / 4) ** 0.5)
    assert not by_record(home, counting(PLAN, holdout_share=0.0), rows)


def test_whoever_trains_never_measures(home: NodeHome) -> None:
    import numpy as np

    from clients.selection import target_matrix, training_rows

    rows = [Row(f"{person}", labels={Task.RECRUITMENT: YES, Task.DISTRESS: NO}) for person in range(200)]
    plan, frame = counting(PLAN), frame_of(rows)
    training = training_rows(home, plan, frame, target_matrix(frame, plan))
    trained = {frame["unit_key"].iat[row] for rows_of_some in training.values() for row in rows_of_some.ravel()}
    measured = set(by_record(home, plan, rows))
    assert trained | measured == {row.person for row in rows}
    assert not trained & measured
    assert np.isfinite(target_matrix(frame, plan)).all()


@pytest.mark.parametrize("value", [UNSURE, LabelValue.UNRELATED, LabelValue.GENERAL_INFORMATION])
def test_a_label_that_is_neither_yes_nor_no_measures_nothing(home: NodeHome, value: LabelValue) -> None:
    plan = counting(PLAN, holdout_share=1.0)
    assert not by_record(home, plan, [Row("a", labels={Task.DISTRESS: value})])
    both = [Row("a", 1, labels={Task.DISTRESS: value}), Row("a", 2, labels={Task.DISTRESS: NO})]
    assert by_record(home, plan, both)["a"][2] == {Task.DISTRESS: (both[1].id, False)}


def test_of_nobody_there_is_nothing(home: NodeHome) -> None:
    assert places(home, PLAN, frame_of([])) == {}
