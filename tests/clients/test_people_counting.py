from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clients.counting import true_tables
from clients.features import prepare
from clients.node import NodeHome
from clients.people import People, Population, StoredPeople, training_people
from clients.selection import target_matrix
from clients.training import StepRule, train_round
from federation.errors import InputError, Refusal
from federation.model import MultiTaskHead, initial_model, prior_logits
from federation.randomness import RandomStream
from federation.records import Record
from federation.statistics import LEVELS, IntArray, TableLayout
from federation.taxonomy import Family, Task
from tests.people import seed_weights
from tests.worlds import DIMENSION, POLICY, make_home, make_plan, make_records

PLAN = make_plan()


def model() -> MultiTaskHead:
    head = initial_model(PLAN)
    seed_weights(head, 3, scale=1.0)
    return head


def tables_of(home: NodeHome) -> IntArray:
    return true_tables(home, PLAN, PLAN.roster[0], prepare(home, PLAN), model())


def reviewed(tables: IntArray) -> list[int]:
    """How many people count at each level of places, and in the column of the first partner."""
    layout = TableLayout(PLAN)
    return [*(int(layout.table(tables, family)[..., 0].sum()) for family in LEVELS.values()),
            int(layout.table(tables, Family.DOMINANCE)[..., 0].sum())]


def bytes_of(people: Population) -> set[bytes]:
    return {person.tobytes() for group in people.groups for person in group.inputs}


def test_people_are_grouped_masked_and_bounded(tmp_path: Path) -> None:
    home = make_home(tmp_path, 0, records=make_records(200, people=20))
    prepared = prepare(home, PLAN)
    people = training_people(home, PLAN, PLAN.roster[0], prepared)
    assert 8 <= len(people) <= 20  # a fifth is held out
    assert [group.inputs.shape[1] for group in people.groups] == sorted({g.inputs.shape[1] for g in people.groups})
    for group in people.groups:
        assert group.inputs.shape[1] <= 4
        assert group.inputs.shape[2] == DIMENSION + 1
        totals = group.weights.sum(axis=1)
        np.testing.assert_allclose(totals[totals > 0], 1.0)
        # The intercept constant, on the grid of inputs.
        assert (group.inputs[..., -1] == round(0.1 * 2**12) / 2**12).all()
        assert (group.weights.sum(axis=2) > 0).all()


def test_nobodys_presence_decides_about_another_even_when_slots_run_out(tmp_path: Path) -> None:
    # Turning people away would swap one person for another: twice the sensitivity that is accounted for.
    records = make_records(60)
    plan = make_plan(slots=8)
    homes = [make_home(tmp_path / str(i), 0, slots=8, records=part) for i, part in enumerate((records, records[1:]))]
    full, without = (training_people(home, plan, plan.roster[0], prepare(home, plan)) for home in homes)
    assert len(full) > 8
    rows = bytes_of(full)
    assert len(full) - len(without) in (0, 1)
    assert bytes_of(without) <= rows


def test_the_held_out_never_train_in_any_study(tmp_path: Path) -> None:
    home = make_home(tmp_path, 0, records=make_records(100))
    prepared = prepare(home, PLAN)
    order = home.keyed("holdout")
    kept = [order.value(u) >= PLAN.holdout_share for u in prepared.frame["unit_key"]]
    assert 0.05 < 1 - np.mean(kept) < 0.4
    none_kept = PLAN.model_copy(update={"holdout_share": 0.0})
    labelled = ~np.isnan(target_matrix(prepared.frame, PLAN)).all(axis=1)
    entry = PLAN.roster[0].model_copy(update={"slots": 1000})
    assert len(training_people(home, PLAN, entry, prepared)) == int((labelled & kept).sum())
    assert len(training_people(home, none_kept, entry, prepared)) == int(labelled.sum())


def test_choices_repeat_for_a_plan_and_change_with_it(tmp_path: Path) -> None:
    home = make_home(tmp_path, 0, records=make_records(200, people=20))
    prepared = prepare(home, PLAN)
    first, again = (training_people(home, PLAN, PLAN.roster[0], prepared) for _ in range(2))
    assert bytes_of(first) == bytes_of(again)
    other = make_plan(learning_rate=2.0)
    assert bytes_of(training_people(home, other, other.roster[0], prepared)) != bytes_of(first)


def test_nothing_ingested_is_a_refusal_and_an_empty_store_is_not(tmp_path: Path) -> None:
    with pytest.raises(Refusal):
        prepare(make_home(tmp_path, 0), PLAN)
    home = make_home(tmp_path, 1, records=[])
    assert len(training_people(home, PLAN, PLAN.roster[1], prepare(home, PLAN))) == 0
    assert not tables_of(home).any()


def test_expired_records_stay_out_whatever_the_plan_says(tmp_path: Path) -> None:
    from datetime import date

    old = [r.model_copy(update={"retention_until": date(2020, 1, 1)}) for r in make_records(10)]
    back_then = PLAN.model_copy(update={"period_end": date(2019, 1, 1)})
    assert len(prepare(make_home(tmp_path, 0, records=old), back_then).frame) == 0


def test_languages_that_the_encoder_cannot_read_stay_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from federation.encoders.hashing import HashedNgrams

    records = [r.model_copy(update={"language": tag}) for r, tag in zip(
        make_records(4), ["en", "ro", "und", "en-GB"], strict=True)]
    monkeypatch.setattr(HashedNgrams, "languages", frozenset({"en"}))
    home = make_home(tmp_path, 0, records=records)
    assert sorted(prepare(home, PLAN).frame["language"]) == ["en", "en-GB", "und"]


def test_prior_logits() -> None:
    assert prior_logits((Task.RECRUITMENT, Task.DISTRESS), {Task.RECRUITMENT: 0.75}) == [
        pytest.approx(np.log(3)), 0.0]


def without_person(records: list[Record], rows: range) -> list[Record]:
    return [r.model_copy(update={"actor_key": None}) if i in rows else r for i, r in enumerate(records)]


@pytest.mark.parametrize(("rule", "kept"), [("refuse", 30), ("own_unit", 40)])
def test_records_without_a_person_id_take_part_only_if_the_rules_say_so(tmp_path: Path, rule: str, kept: int) -> None:
    # Forty records of forty people, ten of them without their person id.
    records = without_person(make_records(40, seed=3), range(10))
    loose = {record.record_id.hex for record in records[:10]}
    home = make_home(tmp_path, 0, records=records, policy=POLICY.model_copy(update={"records_without_person_id": rule}))
    prepared = prepare(home, PLAN)
    assert len(prepared.frame) == len(prepared.features) == kept
    assert prepared.unattached == 40 - kept
    assert bool(loose & set(prepared.frame["record_id"])) is (rule == "own_unit")
    assert reviewed(tables_of(home)) == [kept] * 4
    plan = PLAN.model_copy(update={"holdout_share": 0.0})
    labelled = int((~np.isnan(target_matrix(prepared.frame, plan)).all(axis=1)).sum())
    assert len(training_people(home, plan, plan.roster[0], prepared)) == labelled


def test_refusing_is_the_same_as_never_having_had_such_records(tmp_path: Path) -> None:
    records = without_person(make_records(60, people=30, seed=3), range(0, 60, 4))
    policy = POLICY.model_copy(update={"records_without_person_id": "refuse"})
    some = make_home(tmp_path / "some", 0, records=records, policy=policy)
    none = make_home(tmp_path / "none", 0, records=[r for r in records if r.actor_key is not None], policy=policy)
    assert (tables_of(some) == tables_of(none)).all()
    both = [training_people(home, PLAN, PLAN.roster[0], prepare(home, PLAN)) for home in (some, none)]
    assert bytes_of(both[0]) == bytes_of(both[1])
    assert [group.weights.tolist() for group in both[0].groups] == [group.weights.tolist() for group in both[1].groups]


def test_nothing_is_prepared_without_rules(tmp_path: Path) -> None:
    home = make_home(tmp_path, 0, records=make_records(5))
    (home.path / "policy.yaml").unlink()
    with pytest.raises(InputError, match="no rules"):
        prepare(home, PLAN)


@pytest.mark.parametrize("sampling", [1.0, 0.4])
def test_people_on_disk_train_like_people_in_memory(tmp_path: Path, sampling: float,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    home = make_home(tmp_path, 0, records=make_records(300, people=60))
    entry, found = PLAN.roster[0], []
    rule = dataclasses.replace(StepRule.of(PLAN.training, entry.slots), sampling_probability=sampling)
    for kept in (1 << 26, 0):
        monkeypatch.setattr("clients.people._KEPT_BYTES", kept)
        people = training_people(home, PLAN, entry, prepare(home, PLAN))
        assert {type(group) for group in people.groups} == {People if kept else StoredPeople}
        trained = model()
        train_round(trained, people, rule, stream=RandomStream.derived(b"t"))
        found.append([weight.detach().numpy().tobytes() for weight in trained.parameters()])
    assert found[0] == found[1]


def test_blocks_of_counting_are_a_matter_of_memory_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = make_home(tmp_path, 0, records=make_records(120, people=50))
    whole = true_tables(home, PLAN, PLAN.roster[0], prepare(home, PLAN), model())
    monkeypatch.setattr("clients.counting._BLOCK_RECORDS", 7)
    assert (true_tables(home, PLAN, PLAN.roster[0], prepare(home, PLAN), model()) == whole).all()


def test_records_are_prepared_alike_in_pieces_of_any_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = make_home(tmp_path, 0, records=make_records(120, people=50))
    whole = prepare(home, PLAN)
    monkeypatch.setattr("clients.store._PAGE", 7)
    pieces = prepare(home, PLAN)
    pd.testing.assert_frame_equal(pieces.frame, whole.frame)
    rows = np.arange(len(whole.frame))
    assert (pieces.inputs(rows) == whole.inputs(rows)).all()
