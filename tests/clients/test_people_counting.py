from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.counting import noisy_table, true_table
from clients.features import prepare
from clients.node import NodeHome
from clients.people import Population, training_people
from clients.selection import target_matrix
from clients.store import RecordStore
from federation.errors import InputError, Refusal
from federation.model import initial_model, prior_logits
from federation.records import Record
from federation.taxonomy import Task
from tests.people import seed_weights
from tests.worlds import DIMENSION, POLICY, make_home, make_plan, make_records

PLAN = make_plan()


def model() -> torch.nn.Module:
    head = initial_model(PLAN)
    seed_weights(head, 3, scale=1.0)
    return head


def table_of(home: NodeHome) -> np.ndarray:
    return true_table(home, PLAN, PLAN.roster[0], prepare(home, PLAN), model())  # type: ignore[arg-type]


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
    assert table_of(home).sum() == 0


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


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 40), st.integers(1, 10), st.integers(0, 5))
def test_one_person_moves_the_table_within_the_stated_sensitivity(tmp_path_factory: pytest.TempPathFactory, count: int,
                                                                 people: int, seed: int) -> None:
    records = make_records(count, people=people, seed=seed)
    home = make_home(tmp_path_factory.mktemp("t"), 0, records=records)
    full = table_of(home)
    persons = {r.actor_key for r in records}
    assert full[:, :, 0].sum() == len(persons)
    assert (full[:, :, 1:] <= full[:, :, :1]).all()
    for person in list(persons)[:2]:
        with RecordStore(home.store_path) as store:
            store.erase_person(str(person))
        without = table_of(home)
        change = full - without
        assert np.sqrt((change**2).sum()) <= np.sqrt(1 + len(PLAN.tasks)) + 1e-9
        assert (change != 0).any(axis=2).sum() == 1
        full = without


def test_a_hundred_thousand_records_of_one_person_count_once(tmp_path: Path) -> None:
    base = make_records(1)[0]
    from uuid import UUID

    records: list[Record] = [base.model_copy(update={"record_id": UUID(int=i + 1)}) for i in range(100_000)]
    home = make_home(tmp_path, 0, records=records)
    prepared = prepare(home, PLAN)
    assert len(prepared.frame) == 100_000
    plan = PLAN.model_copy(update={"holdout_share": 0.0})
    people = training_people(home, plan, plan.roster[0], prepared)
    assert [group.inputs.shape[:2] for group in people.groups] == [(1, 4)]
    assert true_table(home, PLAN, PLAN.roster[0], prepared, initial_model(PLAN))[:, :, 0].sum() == 1


def test_the_noisy_table_differs_from_the_true_one_by_noise_alone(tmp_path: Path) -> None:
    home = make_home(tmp_path, 0, records=make_records(40), noise_seed=None)
    prepared = prepare(home, PLAN)
    true = table_of(home)
    draws = np.stack([noisy_table(home, PLAN, PLAN.roster[0], prepared, model(),  # type: ignore[arg-type]
                                  stream=None) - true
                      for _ in range(200)])
    assert draws.std() == pytest.approx(PLAN.statistics.noise_scale, rel=0.06)
    assert abs(draws.mean()) < 0.15


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
    counted = true_table(home, PLAN, PLAN.roster[0], prepared, model())  # type: ignore[arg-type]
    assert counted[:, :, 0].sum() == kept
    plan = PLAN.model_copy(update={"holdout_share": 0.0})
    labelled = int((~np.isnan(target_matrix(prepared.frame, plan)).all(axis=1)).sum())
    assert len(training_people(home, plan, plan.roster[0], prepared)) == labelled


def test_refusing_is_the_same_as_never_having_had_such_records(tmp_path: Path) -> None:
    records = without_person(make_records(60, people=30, seed=3), range(0, 60, 4))
    policy = POLICY.model_copy(update={"records_without_person_id": "refuse"})
    some = make_home(tmp_path / "some", 0, records=records, policy=policy)
    none = make_home(tmp_path / "none", 0, records=[r for r in records if r.actor_key is not None], policy=policy)
    assert (table_of(some) == table_of(none)).all()
    both = [training_people(home, PLAN, PLAN.roster[0], prepare(home, PLAN)) for home in (some, none)]
    assert bytes_of(both[0]) == bytes_of(both[1])
    assert [group.weights.tolist() for group in both[0].groups] == [group.weights.tolist() for group in both[1].groups]


def test_nothing_is_prepared_without_rules(tmp_path: Path) -> None:
    home = make_home(tmp_path, 0, records=make_records(5))
    (home.path / "policy.yaml").unlink()
    with pytest.raises(InputError, match="no rules"):
        prepare(home, PLAN)
