"""The tables: what each person adds, against a twin that counts by name; and the noise, family by family."""

from __future__ import annotations

import math
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.counting import noisy_tables, true_tables
from clients.features import Prepared, prepare
from clients.node import NodeHome
from clients.people import training_people
from clients.store import RecordStore
from federation.areas import Areas
from federation.model import MultiTaskHead, initial_model
from federation.plan import StudyPlan
from federation.plan_parts import RosterEntry
from federation.plan_statistics import AppearancesSpec, IndicatorsSpec, ScoresSpec
from federation.randomness import RandomStream
from federation.records import Record
from federation.statistics import LEVELS, IntArray, TableLayout, entries_of
from federation.taxonomy import AreaLevel, Family, LabelValue, RegionRole, Task
from tests.clients.frames import AFTER, Row, counting, of_person, prepared_of, some_rows, some_tables, without_person
from tests.people import seed_weights
from tests.worlds import REGIONS, TAGS, make_home, make_plan, make_records

PLAN = make_plan()
OWN = PLAN.roster[1]
OBSERVED, ORIGIN, DESTINATION = RegionRole.OBSERVED, RegionRole.ORIGIN, RegionRole.DESTINATION


def model() -> MultiTaskHead:
    head = initial_model(PLAN)
    seed_weights(head, 3, scale=1.0)
    return head


MODEL = model()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> NodeHome:
    return make_home(tmp_path_factory.mktemp("counting"), 1)


def tables_of(home: NodeHome, plan: StudyPlan, rows: list[Row]) -> IntArray:
    return true_tables(home, plan, OWN, prepared_of(rows), MODEL)


# The twin

Cells = Counter[tuple[Any, ...]]


def scores_of(plan: StudyPlan, prepared: Prepared, row: int) -> dict[Task, float]:
    """The model's scores of a record, one product at a time. On their grids these are exact."""
    weights = np.round(MODEL.output.weight.detach().numpy().astype(float) * 2**22) / 2**22
    (inputs,) = prepared.inputs(np.array([row])).astype(float)
    return {task: sum(one * other for one, other in zip(own.tolist(), inputs.tolist(), strict=True))
            for task, own in zip(plan.tasks, weights, strict=True)}


def flags_of(plan: StudyPlan, prepared: Prepared, row: int) -> set[Task]:
    """The tasks for which the model flags a record."""
    bar = math.log(plan.statistics.flag_threshold / (1 - plan.statistics.flag_threshold))
    return {task for task, score in scores_of(plan, prepared, row).items() if score >= bar}


def bin_of(plan: StudyPlan, spec: ScoresSpec, task: Task, score: float) -> int:
    """How many of the inner edges, taken one by one, a score has reached."""
    weights = MODEL.output.weight.detach().numpy()[plan.tasks.index(task)].tolist()
    reach = spec.reach * math.sqrt(sum(weight * weight for weight in weights))
    return sum(score >= -reach + 2 * reach * edge / spec.bins for edge in range(1, spec.bins))


def twin(home: NodeHome, plan: StudyPlan, rows: list[Row], prepared: Prepared) -> Cells:
    """Every cell by the names of what it counts."""
    spec, cells = plan.statistics, Cells()
    tickets, holdout = home.keyed(f"table/{plan.sha256}"), home.keyed("holdout")
    year = home.keyed(f"appearances/2026/{spec.appearances.releases_a_year}")
    regions = [code for code in spec.regions if code not in spec.protected]

    def holding(code: str | None, level: AreaLevel) -> str | None:
        if code not in regions:
            return None
        names = {AreaLevel.REGION: [code], AreaLevel.COUNTRY: [code[:2]], AreaLevel.SUPER_REGION: [
            one.code for one in spec.super_regions if code in one.regions]}[level]
        return names[0] if names else None

    def people_and_flagged(row: Row, *cell: Any) -> None:
        cells[*cell, "reviewed"] += 1
        for task in flags_of(plan, prepared, rows.index(row)):
            cells[*cell, task] += 1

    for person in {row.person for row in rows}:
        order = sorted(range(spec.appearances.releases_a_year), key=lambda one: year.value(person, str(one + 1)))
        if spec.appearances.release_of_year - 1 not in order[:spec.appearances.releases_per_person]:
            continue
        own = of_person(rows, person)
        current = [row for row in own if spec.period_start <= row.day <= plan.period_end]
        left = [(row, code, role) for row in current for role, code in row.regions.items()
                if code in regions and role in spec.roles]
        taken: list[tuple[Row, str, RegionRole]] = []
        while left and len(taken) < spec.max_roles_per_person:
            taken.append(min(left, key=lambda one: tickets.value(one[0].id, one[1], str(one[2]))))
            left = [one for one in left if one[2] is not taken[-1][2]]
        for row, code, role in taken:
            for level, family in LEVELS.items():
                if family in spec.families and (place := holding(code, level)):
                    people_and_flagged(row, family, place, role)
            if spec.indicators and set(spec.indicators.tags) <= set(row.indicators):
                place, flags = holding(code, spec.indicators.level), flags_of(plan, prepared, rows.index(row))
                for task in plan.tasks:
                    cell = Family.INDICATORS, place, role, task, task in flags
                    cells[*cell, "people"] += 1
                    for tag in spec.indicators.tags:
                        cells[*cell, tag] += row.indicators[tag]
        for _, code, role in taken:
            cells[Family.DOMINANCE, code, role, OWN.name] += 1
        level = AreaLevel.SUPER_REGION if ":" in "".join(pair.origin for pair in spec.corridors) else AreaLevel.COUNTRY
        led = [(row, pair) for row in current for pair in spec.corridors
               if (holding(row.regions.get(ORIGIN), level), holding(row.regions.get(DESTINATION), level)) == (
                   pair.origin, pair.destination)]
        if led:
            row, pair = min(led, key=lambda one: tickets.value("corridor", one[0].id))
            people_and_flagged(row, Family.CORRIDORS, pair)
        held_out = holdout.value(person) < plan.holdout_share
        for task in plan.tasks if held_out or spec.scores is not None else ():
            known = [row for row in own if row.labels.get(task) in (LabelValue.POSITIVE, LabelValue.NEGATIVE)]
            if known:
                row = min(known, key=lambda one: tickets.value("confusion", task, one.id))
                positive, at = row.labels[task] is LabelValue.POSITIVE, rows.index(row)
                if held_out:
                    cells[Family.CONFUSION, task, positive, task in flags_of(plan, prepared, at)] += 1
                elif spec.scores is not None:
                    reached = bin_of(plan, spec.scores, task, scores_of(plan, prepared, at)[task])
                    cells[Family.SCORES, task, positive, reached] += 1
    return +cells


def named(plan: StudyPlan, vector: IntArray) -> Cells:
    """The entries of a vector by the names of what they count, those that are 0 left out."""
    spec, layout = plan.statistics, TableLayout(plan)
    areas, counts = Areas.of(spec), ("reviewed", *plan.tasks)
    tags = spec.indicators.tags if spec.indicators else ()
    axes: dict[Family, tuple[tuple[Any, ...], ...]] = {
        **{family: (areas.codes(level), spec.roles, counts) for level, family in LEVELS.items()},
        Family.CONFUSION: (plan.tasks, (False, True), (False, True)),
        Family.INDICATORS: (areas.codes(spec.indicators.level) if spec.indicators else (), spec.roles, plan.tasks,
                            (False, True), ("people", *tags)),
        Family.CORRIDORS: (spec.corridors, counts),
        Family.DOMINANCE: (areas.regions, spec.roles, tuple(entry.name for entry in plan.roster)),
        Family.SCORES: (plan.tasks, (False, True), tuple(range(spec.scores.bins)) if spec.scores else ())}
    cells = Cells()
    for family in layout.blocks:
        table = layout.table(vector, family)
        assert table.shape == tuple(map(len, axes[family]))
        for name, value in zip(product(*axes[family]), table.ravel().tolist(), strict=True):
            cells[family, *name] = value
    return +cells


@given(some_rows(), some_tables(), st.sampled_from([0.2, 0.5, 0.9]), st.sampled_from([0.0, 0.2, 1.0]))
def test_the_tables_are_those_of_a_twin_that_counts_by_name(
    home: NodeHome, rows: list[Row], tables: dict[str, Any], flag_threshold: float, holdout_share: float
) -> None:
    plan = counting(PLAN, holdout_share=holdout_share, flag_threshold=flag_threshold, **tables)
    prepared = prepared_of(rows)
    assert named(plan, tables_of(home, plan, rows)) == twin(home, plan, rows, prepared)


@pytest.mark.parametrize("roles", [1, 2])
def test_the_twin_agrees_about_a_crowd_of_which_every_record_says_everything(home: NodeHome, roles: int) -> None:
    rng = np.random.default_rng(roles)
    values = (LabelValue.POSITIVE, LabelValue.NEGATIVE, LabelValue.UNVERIFIED)
    rows = [Row(f"{person}", number, regions={role: str(rng.choice(REGIONS)) for role in RegionRole},
                labels={task: values[rng.integers(3)] for task in Task},
                indicators={tag: int(rng.integers(2)) for tag in TAGS})
            for person in range(60) for number in range(3)]
    plan = counting(PLAN, holdout_share=1.0, roles=tuple(RegionRole), max_roles_per_person=roles)
    found = named(plan, tables_of(home, plan, rows))
    assert found == twin(home, plan, rows, prepared_of(rows))
    # Every cell of the small tables has somebody in it, so none could be taken for another.
    assert {key[0] for key in found} == set(plan.statistics.families)
    assert sum(key[0] is Family.CONFUSION for key in found) == 8


# What one person moves


@settings(max_examples=60)
@given(some_rows(), some_tables(), st.sampled_from([0.2, 0.5, 1.0]))
def test_one_person_moves_each_table_by_its_entries_and_each_of_them_by_one(
    home: NodeHome, rows: list[Row], tables: dict[str, Any], holdout_share: float
) -> None:
    plan = counting(PLAN, holdout_share=holdout_share, **tables)
    layout, whole = TableLayout(plan), tables_of(home, plan, rows)
    total = layout.empty()
    for person in sorted({row.person for row in rows}):
        change = whole - tables_of(home, plan, without_person(rows, person))
        # What they add is theirs alone, whoever else is there, so the whole is the sum of what each adds.
        assert (change == tables_of(home, plan, of_person(rows, person))).all()
        assert set(np.unique(change)) <= {0, 1}
        for family, block in layout.blocks.items():
            table = layout.table(change, family)
            assert np.count_nonzero(table) <= block.entries == entries_of(plan, family)
            assert np.linalg.norm(table) <= block.l2_sensitivity + 1e-12
        if Family.SCORES in layout.blocks:
            # The two share one price: nobody is in both.
            assert not (layout.table(change, Family.CONFUSION).any() and layout.table(change, Family.SCORES).any())
        total += change
    assert (total == whole).all()


def test_the_bounds_are_reached(home: NodeHome) -> None:
    # Somebody in two roles, flagged for everything, with every indicator, labelled and held out.
    regions = {ORIGIN: "XA-01", OBSERVED: "XA-03", DESTINATION: "XA-02"}
    labels = dict.fromkeys(Task, LabelValue.POSITIVE)
    rows = [Row("a", regions=regions, labels=labels, indicators=dict.fromkeys(TAGS, 1))]
    plan = counting(PLAN, max_roles_per_person=2, holdout_share=1.0, flag_threshold=1e-9)
    layout, vector = TableLayout(plan), tables_of(home, plan, rows)
    for family, block in layout.blocks.items():
        assert layout.table(vector, family).sum() == block.entries, family
    assert {family: block.entries for family, block in layout.blocks.items()} == {
        Family.REGIONS: 6, Family.SUPER_REGIONS: 6, Family.COUNTRIES: 6, Family.CONFUSION: 2, Family.INDICATORS: 16,
        Family.CORRIDORS: 3, Family.DOMINANCE: 2}


def test_who_trains_moves_the_scores_by_their_bound_and_who_is_held_out_the_confusion(home: NodeHome) -> None:
    rows = [Row("a", number, labels=dict.fromkeys(Task, LabelValue.POSITIVE)) for number in range(3)]
    for share, moved, other in ((0.0, Family.SCORES, Family.CONFUSION), (1.0, Family.CONFUSION, Family.SCORES)):
        plan = counting(PLAN, holdout_share=share, scores=ScoresSpec(bins=4, reach=1.0))
        layout, vector = TableLayout(plan), tables_of(home, plan, rows)
        assert layout.table(vector, moved).sum() == layout.blocks[moved].entries == len(Task)
        assert not layout.table(vector, other).any()
        # Somebody whose release this is not is in neither.
        never = counting(PLAN, holdout_share=share, scores=ScoresSpec(bins=4, reach=1.0), appearances=AppearancesSpec(
            releases_a_year=366, releases_per_person=1, release_of_year=1))
        assert not tables_of(home, never, rows).any()


@settings(max_examples=15)
@given(st.integers(0, 40), st.integers(1, 10), st.integers(0, 5))
def test_erasing_a_person_takes_away_what_they_added_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, count: int, people: int, seed: int
) -> None:
    # The same through a store, with what a partner's erasure leaves.
    records = make_records(count, people=people, seed=seed)
    home = make_home(tmp_path_factory.mktemp("t"), 0, records=records)
    layout, persons = TableLayout(PLAN), {str(record.actor_key) for record in records}

    def counted() -> IntArray:
        return true_tables(home, PLAN, PLAN.roster[0], prepare(home, PLAN), MODEL)

    full = counted()
    for family in LEVELS.values():
        table = layout.table(full, family)
        assert table[..., 0].sum() == len(persons)
        assert (table[..., 1:] <= table[..., :1]).all()
    assert layout.table(full, Family.DOMINANCE)[..., 0].sum() == len(persons)
    assert not layout.table(full, Family.DOMINANCE)[..., 1:].any()
    for person in sorted(persons)[:2]:
        with RecordStore(home.store_path) as store:
            store.erasure.people([person])
        change = full - counted()
        assert set(np.unique(change)) <= {0, 1}
        for family, block in layout.blocks.items():
            assert np.count_nonzero(layout.table(change, family)) <= block.entries
        full -= change


@pytest.mark.long
def test_a_hundred_thousand_records_of_one_person_count_once(tmp_path: Path) -> None:
    base = make_records(1)[0]
    records: list[Record] = [base.model_copy(update={"record_id": UUID(int=i + 1)}) for i in range(100_000)]
    home = make_home(tmp_path, 0, records=records)
    prepared = prepare(home, PLAN)
    assert len(prepared.frame) == 100_000
    plan = PLAN.model_copy(update={"holdout_share": 0.0})
    people = training_people(home, plan, plan.roster[0], prepared)
    assert [group.inputs.shape[:2] for group in people.groups] == [(1, 4)]
    held_out = PLAN.model_copy(update={"holdout_share": 1.0})
    vector = true_tables(home, held_out, held_out.roster[0], prepared, initial_model(held_out))
    layout = TableLayout(held_out)
    for family, block in layout.blocks.items():
        table = layout.table(vector, family)
        assert table.max() <= 1
        assert table.sum() <= block.entries
    assert [layout.table(vector, family)[..., 0].sum() for family in (*LEVELS.values(), Family.CORRIDORS)] == [1] * 4
    # Of the two tasks one is labelled.
    assert layout.table(vector, Family.CONFUSION).sum() == 1


# Levels, indicators, flags


@given(some_rows(), st.integers(1, 2), st.sampled_from([(), ("XA-02",)]))
def test_levels_add_up_and_protected_regions_are_in_none_of_them(home: NodeHome, rows: list[Row], roles: int,
                                                                 protected: tuple[str, ...]) -> None:
    super_regions = tuple(
        one.model_copy(update={"regions": tuple(code for code in one.regions if code not in protected)})
        for one in PLAN.statistics.super_regions)
    plan = counting(PLAN, max_roles_per_person=roles, protected=protected, super_regions=super_regions)
    layout, vector = TableLayout(plan), tables_of(home, plan, rows)
    regions, middle, countries = (layout.table(vector, family) for family in LEVELS.values())
    position = {code: i for i, code in enumerate(layout.areas.regions)}
    for at, one in enumerate(super_regions):
        assert (regions[[position[code] for code in one.regions]].sum(axis=0) == middle[at]).all()
    assert (middle.sum(axis=0) == countries[0]).all()
    assert set(position) == set(REGIONS) - set(protected)
    # Everybody who counts in a region and role does so in the partner's column.
    assert (layout.table(vector, Family.DOMINANCE)[..., 1] == regions[..., 0]).all()


def test_who_is_only_in_a_protected_region_changes_nothing_at_any_level(home: NodeHome) -> None:
    plan = counting(PLAN, holdout_share=0.0, protected=("XA-03",), corridors=PLAN.statistics.corridors[:1],
                    super_regions=PLAN.statistics.super_regions[:1])
    hidden = [Row(f"hidden {i}", regions={ORIGIN: "XA-03", OBSERVED: "XA-03", DESTINATION: "XA-01"},
                  indicators=dict.fromkeys(TAGS, 1)) for i in range(20)]
    others = [Row(f"other {i}", regions={ORIGIN: "XA-01", DESTINATION: "XA-02"}) for i in range(20)]
    assert not tables_of(home, plan, hidden).any()
    assert (tables_of(home, plan, [*hidden, *others]) == tables_of(home, plan, others)).all()
    assert tables_of(home, plan, others).any()


def test_not_looked_for_is_not_absent(home: NodeHome) -> None:
    layout = TableLayout(PLAN)

    def mix(indicators: dict[Any, int]) -> IntArray:
        rows = [Row(f"{i}", regions={OBSERVED: "XA-01"}, indicators=indicators) for i in range(30)]
        table = layout.table(tables_of(home, PLAN, rows), Family.INDICATORS)
        # People and indicators for each task, flagged or not.
        return table.sum(axis=(0, 1, 3))

    everything = dict(zip(TAGS, (1, 0, 1), strict=True))
    assert mix(everything).tolist() == [[30, 30, 0, 30]] * 2
    assert mix(dict.fromkeys(TAGS, 0)).tolist() == [[30, 0, 0, 0]] * 2
    # Where somebody looked for some of them only, the record is in no mix: its people would dilute the others.
    for missing in TAGS:
        assert not mix({tag: value for tag, value in everything.items() if tag is not missing}).any()
    assert not mix({}).any()
    # And of a study that asks for fewer, those are enough.
    fewer = counting(PLAN, indicators=IndicatorsSpec(level=AreaLevel.REGION, tags=TAGS[:1]))
    rows = [Row("a", regions={OBSERVED: "XA-01"}, indicators={TAGS[0]: 1})]
    assert TableLayout(fewer).table(tables_of(home, fewer, rows), Family.INDICATORS).sum() == 4


def test_indicators_and_places_come_from_one_record(home: NodeHome) -> None:
    # The one that was drawn for the place: somebody's other records are not in the mix.
    rows = [Row(f"{i}", number, regions={OBSERVED: "XA-01"}, indicators=dict.fromkeys(TAGS, 1) if number else {})
            for i in range(200) for number in range(2)]
    table = TableLayout(PLAN).table(tables_of(home, PLAN, rows), Family.INDICATORS)
    people = table[..., 0].sum(axis=(0, 1, 3))
    assert (people == people[0]).all()
    assert people[0] == pytest.approx(100, abs=5 * 50**0.5)


def test_a_flag_is_the_models_own_score_whatever_prevalence_the_partner_declares(home: NodeHome) -> None:
    # Else sensitivity and specificity would be another partner's at each partner.
    rows = [Row(f"{i}", regions={OBSERVED: "XA-01"}, labels=dict.fromkeys(Task, LabelValue.POSITIVE))
            for i in range(200)]
    prepared = prepared_of(rows)

    def counted(entry: RosterEntry, threshold: float) -> IntArray:
        plan = counting(PLAN, holdout_share=1.0, flag_threshold=threshold).model_copy(
            update={"roster": (PLAN.roster[0], entry, PLAN.roster[2])})
        return TableLayout(plan).table(true_tables(home, plan, entry, prepared, MODEL), Family.CONFUSION)

    rare, common = (OWN.model_copy(update={"declared_prevalence": dict.fromkeys(Task, share)})
                    for share in (0.01, 0.99))
    # The ticket depends on the plan; with one record a person there is nothing to draw.
    assert (counted(rare, 0.5) == counted(common, 0.5)).all()
    flagged = [int(counted(OWN, threshold)[..., 1].sum()) for threshold in (1e-9, 0.3, 0.5, 0.7, 1 - 1e-9)]
    assert flagged == sorted(flagged, reverse=True)
    assert flagged[0] == 400 > flagged[2] > flagged[-1] == 0


def test_a_score_at_the_threshold_is_a_flag(home: NodeHome) -> None:
    # A model of zeros says one half of everything.
    rows = [Row("a", regions={OBSERVED: "XA-01"})]
    for threshold, flagged in ((0.5, 1), (0.5 + 1e-12, 0)):
        plan = counting(PLAN, flag_threshold=threshold)
        zero = initial_model(plan)
        for weight in zero.parameters():
            weight.data.zero_()
        vector = true_tables(home, plan, OWN, prepared_of(rows), zero)
        assert TableLayout(plan).table(vector, Family.COUNTRIES)[0].sum(axis=0).tolist() == [1, flagged, flagged]


def test_a_partner_fills_its_own_column_alone(home: NodeHome) -> None:
    rows = [Row(f"{i}", regions={OBSERVED: REGIONS[i % 2]}) for i in range(6)]
    for column, entry in enumerate(PLAN.roster):
        vector = true_tables(home, PLAN, entry, prepared_of(rows), MODEL)
        table = TableLayout(PLAN).table(vector, Family.DOMINANCE)
        assert table[..., column].sum(axis=1).tolist() == [3, 3, 0]
        assert table.sum() == 6


def test_nobody_makes_a_table_of_zeros(home: NodeHome) -> None:
    for rows in ([], [Row("a")], [Row("a", day=AFTER, regions={OBSERVED: "XA-01"})]):
        vector = tables_of(home, counting(PLAN, holdout_share=0.0), rows)
        assert vector.dtype == np.int64
        assert vector.shape == (TableLayout(PLAN).length,)
        assert not vector.any()


# Noise


def draws(home: NodeHome, plan: StudyPlan, count: int) -> IntArray:
    """Noise alone, one vector a row: what `noisy_tables` gives less what is true."""
    rows = [Row(f"{i}", regions={OBSERVED: "XA-01"}) for i in range(5)]
    prepared, true, stream = prepared_of(rows), tables_of(home, plan, rows), RandomStream.derived(b"tables")
    return np.stack([noisy_tables(home, plan, OWN, prepared, MODEL, stream=stream) - true for _ in range(count)])


def test_each_family_carries_noise_of_its_own_scale_in_every_entry(home: NodeHome) -> None:
    scales = {family: 2.0 + 3.0 * number for number, family in enumerate(PLAN.statistics.families)}
    plan = counting(PLAN, noise_scales=scales)
    noise, layout = draws(home, plan, 400), TableLayout(plan)
    for family, block in layout.blocks.items():
        table = noise[:, block.start : block.start + block.size]
        assert table.std() == pytest.approx(scales[family], rel=5 / math.sqrt(2 * table.size)), family
        assert abs(table.mean()) < 5 * scales[family] / math.sqrt(table.size)
        # In every entry: none is left bare, none has another's.
        assert table.std(axis=0) == pytest.approx(scales[family], rel=5 / math.sqrt(2 * len(table)))
    # And no two of them have it in common.
    correlation = np.corrcoef(noise.T)
    np.fill_diagonal(correlation, 0)
    assert np.abs(correlation).max() < 5.5 / math.sqrt(len(noise))


def test_a_share_of_the_noise_is_what_a_sum_asks_of_a_partner(home: NodeHome) -> None:
    secure = make_plan(4, secure="table", colluders=1, quorum=4, noise_scale=6.0)
    noise, layout = draws(home, secure, 300), TableLayout(secure)
    for family, scale in secure.statistics.noise_scales.items():
        block = layout.blocks[family]
        table = noise[:, block.start : block.start + block.size]
        assert table.std() == pytest.approx(scale / math.sqrt(3), rel=5 / math.sqrt(2 * table.size))


def test_noise_from_the_system_does_not_repeat_and_a_rehearsals_does(home: NodeHome) -> None:
    rows = [Row(f"{i}", regions={OBSERVED: "XA-01"}) for i in range(5)]
    prepared = prepared_of(rows)

    def noisy(stream: RandomStream | None) -> IntArray:
        return noisy_tables(home, PLAN, OWN, prepared, MODEL, stream=stream)

    assert (noisy(None) != noisy(None)).any()
    assert (noisy(RandomStream.derived(b"a")) == noisy(RandomStream.derived(b"a"))).all()
    assert (noisy(RandomStream.derived(b"a")) != noisy(RandomStream.derived(b"b"))).any()
