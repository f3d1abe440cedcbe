"""Several tables that leave together, in the account: one request, priced as a whole."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from dp_accounting.pld import privacy_loss_distribution as pld
from pydantic import ValidationError

from clients.ledger import BudgetRefusal, Ceilings, LedgerRequest, PlannedStage, Stage
from clients.ledger.entries import Committed, NoisyTable, Reserved, StudyHeld, TablesEvent, decode, encode
from clients.ledger.requests import planned_stages
from federation.canonical import canonical_json
from federation.privacy.accounting import DiscreteGaussianTable, SubsampledGaussian, epsilon_of
from federation.privacy.guarantee import price, round_event, statistics_events, training_event
from federation.privacy.units import Budget
from tests.clients.ledgers import DELTA, Work, ask, open_ledger, refusal_of, refused, study
from tests.clients.ledgers import WIDE as NARROW
from tests.worlds import make_plan

WIDE = replace(NARROW, round=40.0, study=40.0, year=40.0, total=40.0)
TABLES = (DiscreteGaussianTable(scale=12.0, entries=3), DiscreteGaussianTable(scale=20.0, entries=2),
          DiscreteGaussianTable(scale=55.0, entries=28), DiscreteGaussianTable(scale=20.0, entries=1))
PLAN = make_plan()
GOOD = {"scale": 12.0, "entries": 3, "shift": 1}
Tables = tuple[DiscreteGaussianTable, ...]


def request(tables: Tables = TABLES, times: int = 1) -> LedgerRequest:
    """The request for the tables of an invented study."""
    first = study()
    return replace(ask(first, stage=Stage.TABLE),
                   stages=(first.stages[0], PlannedStage.tables(times, tables)))


def test_all_tables_are_charged_together_and_the_figures_are_epsilon_ofs(tmp_path: Path) -> None:
    training = SubsampledGaussian(noise_multiplier=20.0, sampling_probability=1.0, steps=12)
    with open_ledger(tmp_path) as ledger:
        ledger.answer(request(), ceilings=WIDE, work=Work())
        balance, audited = ledger.balance(WIDE), ledger.verify_full()
    whole = epsilon_of([training, *TABLES], delta=DELTA)
    assert balance.total.epsilon == balance.studies[0].epsilon == audited.epsilon == whole
    # And dp-accounting's, composed here: entry by entry, each at the noise of its table.
    theirs = pld.from_gaussian_mechanism(20.0, value_discretization_interval=1e-4).self_compose(12)
    for table in TABLES:
        theirs = theirs.compose(pld.from_discrete_gaussian_mechanism(
            table.scale, value_discretization_interval=1e-4).self_compose(table.entries))
    assert theirs.get_epsilon_for_delta(DELTA) - 1e-9 <= whole <= theirs.get_epsilon_for_delta(DELTA) * 1.001


def test_a_plans_tables_are_what_the_account_is_asked_for() -> None:
    training, tables = planned_stages(PLAN)
    assert tables.event.events() == tables.whole() == statistics_events(PLAN)
    assert (training.event.events(), training.whole()) == ((round_event(PLAN),), (training_event(PLAN),))
    found = LedgerRequest.of(PLAN, Stage.TABLE, 1, "0" * 64)
    assert found.whole == (training_event(PLAN), *statistics_events(PLAN))
    assert epsilon_of(found.whole, delta=PLAN.privacy.delta) == price(PLAN).total


def test_a_request_made_again_is_charged_for_every_table_again(tmp_path: Path) -> None:
    def lost() -> bytes:
        raise RuntimeError

    training = SubsampledGaussian(noise_multiplier=20.0, sampling_probability=1.0, steps=12)
    with open_ledger(tmp_path) as ledger:
        for _ in range(2):
            with pytest.raises(RuntimeError):
                ledger.answer(request(), ceilings=WIDE, work=lost)
        ledger.answer(request(), ceilings=WIDE, work=Work())
        found = ledger.balance(WIDE).total.epsilon
    assert found == epsilon_of([training, *3 * TABLES], delta=DELTA)


def test_the_ceiling_of_a_request_is_held_against_all_tables_together(tmp_path: Path) -> None:
    together = epsilon_of(TABLES, delta=DELTA)
    largest = max(epsilon_of([table], delta=DELTA) for table in TABLES)
    assert largest < 0.9 * together
    # Above every single table and below all of them: a request is what it gives away as a whole.
    with open_ledger(tmp_path) as ledger:
        for allowed in (largest * 1.05, together * 0.999):
            refusal = refused(ledger, request(), replace(WIDE, round=allowed))
            assert isinstance(refusal, BudgetRefusal)
            assert refusal.ceiling == "round"
        assert ledger.verify_full().entries == 1
        assert ledger.answer(request(), ceilings=replace(WIDE, round=together * 1.001), work=Work())


def test_so_does_a_plan_of_ours(tmp_path: Path) -> None:
    cost = price(PLAN)
    assert cost.statistics > cost.round
    rules = Ceilings(delta=PLAN.privacy.delta, round=cost.statistics * 0.999, study=40.0, year=40.0, total=40.0)
    asked = LedgerRequest.of(PLAN, Stage.TRAIN, 1, "0" * 64)
    with open_ledger(tmp_path, total=Budget(epsilon=40.0, delta=PLAN.privacy.delta)) as ledger:
        # Even before training: a plan is held whole.
        refusal = refused(ledger, asked, rules)
        assert isinstance(refusal, BudgetRefusal)
        assert refusal.ceiling == "round"
        ledger.answer(asked, ceilings=replace(rules, round=cost.statistics * 1.001), work=Work())


@pytest.mark.parametrize("change", [
    lambda tables: tables[:-1], lambda tables: tables[::-1], lambda tables: (*tables, tables[0]),
    lambda tables: (replace(tables[0], scale=12.01), *tables[1:]),
    lambda tables: (replace(tables[0], entries=2), *tables[1:])])
def test_other_tables_than_those_held_are_another_price(tmp_path: Path, change: Callable[[Tables], Tables]) -> None:
    with open_ledger(tmp_path) as ledger:
        ledger.answer(request(), ceilings=WIDE, work=Work())
        other = replace(request(change(TABLES)), request_sha256="1" * 64)
        assert "tells another price" in refused(ledger, other, WIDE).detail


def test_an_entry_of_tables_comes_back_as_it_was(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        ledger.answer(request(times=2), ceilings=WIDE, work=Work())
        ledger.export(tmp_path / "export.jsonl")
    bodies = [json.loads(line).get("body") for line in (tmp_path / "export.jsonl").read_text().splitlines()]
    entries = [decode(canonical_json(body)) for body in bodies if body]
    held, reserved = (next(one for one in entries if isinstance(one, kind)) for kind in (StudyHeld, Reserved))
    assert reserved.event == TablesEvent(tables=tuple(
        NoisyTable(scale=table.scale, entries=table.entries, shift=1) for table in TABLES)) == held.stages[1].event
    assert reserved.event.events() == TABLES
    assert held.stages[1].whole() == tuple(replace(table, entries=2 * table.entries) for table in TABLES)
    assert any(isinstance(entry, Committed) for entry in entries)
    assert all(decode(encode(entry)) == entry for entry in entries)


@pytest.mark.parametrize("tables", [
    [], [GOOD] * 33, [GOOD | {"scale": 0.0}], [GOOD | {"entries": 0}], [GOOD | {"shift": 0}],
    [{"scale": 12.0, "shift": 1}], [{"scale": 12.0, "entries": 3}], [GOOD | {"slots": 2}], [GOOD | {"scale": "12.0"}],
    [GOOD | {"entries": 3.5}], [GOOD | {"scale": 1e7}], [GOOD | {"scale": None}], None, 12])
def test_tables_that_are_none_are_no_entry(tables: object) -> None:
    good = {"mechanism": "discrete_gaussian_tables", "tables": [GOOD]}
    TablesEvent.model_validate_json(json.dumps(good))
    with pytest.raises(ValidationError):
        TablesEvent.model_validate_json(json.dumps(good | {"tables": tables}))


def test_a_table_in_smaller_units_is_charged_for_what_a_person_moves() -> None:
    series = DiscreteGaussianTable(scale=3000.0, entries=3, shift=256)
    planned = PlannedStage.tables(2, (*TABLES, series))
    assert planned.whole()[-1] == replace(series, entries=6)
    assert planned.event.events()[-1] == series



def test_a_table_that_was_made_cheaper_on_disk_is_found(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        ledger.answer(request(), ceilings=WIDE, work=Work())
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        body = bytes(connection.execute("SELECT body FROM entries WHERE seq = 2").fetchone()[0])
        cheaper = body.replace(b'"scale":12.0', b'"scale":99.0')
        assert cheaper != body
        connection.execute("UPDATE entries SET body = ? WHERE seq = 2", (cheaper,))
    assert "entry 2" in refusal_of(lambda: open_ledger(tmp_path)).detail
