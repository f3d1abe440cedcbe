"""What an account charges, gives back and refuses, while nothing breaks."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from clients.ledger import BudgetRefusal, Ceilings, Ledger, LedgerRequest, Stage, planned_stages
from clients.ledger.entries import Reserved, decode
from federation.errors import Refusal, RefusalCode
from federation.identity import SigningKey
from federation.privacy.accounting import DiscreteGaussianTable, RenyiFilter, SubsampledGaussian, epsilon_of
from federation.privacy.guarantee import price
from federation.privacy.units import Budget
from tests.clients.ledgers import (
    DELTA,
    KEY,
    ROUND,
    ROUNDS,
    TABLE,
    WIDE,
    Clock,
    Work,
    ask,
    never,
    open_ledger,
    refusal_of,
    refused,
    study,
)
from tests.worlds import make_plan

WHOLE = [*[ROUND] * ROUNDS, TABLE]


def test_a_plan_is_held_whole_and_its_requests_are_then_free(tmp_path: Path) -> None:
    work = Work()
    with open_ledger(tmp_path) as ledger:
        for number in (1, 2, 3):
            assert ledger.answer(ask(study(), number), ceilings=WIDE, work=work) == f"reply {number}".encode()
            balance = ledger.balance(WIDE)
            assert balance.total.epsilon == epsilon_of(WHOLE, delta=DELTA)
            assert len(balance.charges) == 1
        ledger.answer(ask(study(), stage=Stage.TABLE), ceilings=WIDE, work=work)
        held = ledger.balance(WIDE).studies[0]
    assert (held.requests_answered, held.requests_open, held.further_attempts) == (4, 0, 0)
    assert work.calls == 4


def test_rounds_may_come_in_any_order_and_be_left_out(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        ledger.answer(ask(study(), stage=Stage.TABLE), ceilings=WIDE, work=Work())
        ledger.answer(ask(study(), 3), ceilings=WIDE, work=Work())
        assert ledger.balance(WIDE).total.epsilon == epsilon_of(WHOLE, delta=DELTA)


def test_the_same_request_again_gets_the_stored_reply_for_nothing(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        reply = ledger.answer(study(), ceilings=WIDE, work=Work())
        spent = ledger.balance(WIDE)
    with open_ledger(tmp_path) as ledger:
        assert ledger.answer(study(), ceilings=WIDE, work=never) == reply
        # Even where nothing more may be spent: it was.
        closed = Ceilings(delta=DELTA, round=1e-6, study=1e-6, year=1e-6, total=1e-6)
        assert ledger.answer(study(), ceilings=closed, work=never) == reply
        assert ledger.balance(WIDE, spent.at) == spent


def test_an_empty_reply_is_a_reply(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        assert ledger.answer(study(), ceilings=WIDE, work=lambda: b"") == b""
        assert ledger.answer(study(), ceilings=WIDE, work=never) == b""


def test_another_model_for_an_answered_round_is_refused(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        ledger.answer(study(), ceilings=WIDE, work=Work())
        refusal = refused(ledger, ask(study(), model="other"))
    assert refusal.code is RefusalCode.ALREADY_ANSWERED
    assert "round 1" in refusal.detail


def test_work_that_fails_stays_spent_and_a_further_attempt_is_a_charge(tmp_path: Path) -> None:
    def breaks() -> bytes:
        raise KeyError("anything")

    with open_ledger(tmp_path) as ledger:
        for _ in range(2):
            with pytest.raises(KeyError):
                ledger.answer(study(), ceilings=WIDE, work=breaks)
        ledger.answer(ask(study(), model="other"), ceilings=WIDE, work=Work())
        balance = ledger.balance(WIDE)
        # Three attempts: one is covered by the plan, two are charges of their own.
        assert balance.total.epsilon == epsilon_of([*WHOLE, ROUND, ROUND], delta=DELTA)
        assert [line.kind.value for line in balance.charges] == ["plan", "further attempt", "further attempt"]
        assert balance.studies[0].further_attempts == 2
        assert ledger.verify_full().open_reservations == 0


@pytest.mark.parametrize("step", ["checked", "reserved:written", "reserved:stored", "committed:written"])
def test_the_same_instance_goes_on_after_a_failure(tmp_path: Path, step: str) -> None:
    failures = [step]

    def fails_once(name: str) -> None:
        if name in failures:
            failures.remove(name)
            raise OSError("once")

    with open_ledger(tmp_path, on_step=fails_once) as ledger:
        with pytest.raises((OSError, Refusal)):
            ledger.answer(study(), ceilings=WIDE, work=Work())
        ledger.answer(study(), ceilings=WIDE, work=Work())
        spent = step in ("reserved:stored", "committed:written")
        assert ledger.balance(WIDE).total.epsilon == epsilon_of([*WHOLE, *[ROUND] * spent], delta=DELTA)
        assert ledger.verify_full().commits == 1


@pytest.mark.parametrize("wrong", [
    {"round_number": 0}, {"round_number": ROUNDS + 1}, {"round_number": -1}, {"stage": Stage.TABLE, "round_number": 2},
    {"request_sha256": "no hash"}, {"plan_sha256": "A" * 64}, {"study": "Not A Slug"}, {"stages": ()},
    {"delta": math.nan}, {"delta": 0.0}, {"delta": 2.0}, {"delta": math.inf}, {"stages": study().stages[1:]},
    {"stages": study().stages[:1] * 2},
])
def test_what_the_plan_does_not_have_or_no_entry_can_hold_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with open_ledger(tmp_path) as ledger:
        before = ledger.verify_full().entries
        refusal = refused(ledger, replace(study(), **wrong))
        assert refusal.code is RefusalCode.BAD_REQUEST
        assert ledger.verify_full().entries == before


@pytest.mark.parametrize("other", [
    {"stages": study(rounds=4).stages}, {"stages": study(table=DiscreteGaussianTable(scale=21.0, entries=3)).stages},
    {"delta": 1e-7}, {"study": "summer"}])
def test_a_held_plan_cannot_change_its_price(tmp_path: Path, other: dict[str, Any]) -> None:
    with open_ledger(tmp_path) as ledger:
        ledger.answer(study(), ceilings=WIDE, work=Work())
        refusal = refused(ledger, replace(ask(study(), 2), **other))
    assert refusal.code is RefusalCode.BAD_REQUEST


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("name", ["delta", "round", "study", "year", "total"])
def test_ceilings_are_finite_and_above_zero(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        replace(WIDE, **{name: value})


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0, 1e-3, 1e7])
def test_noise_out_of_range_never_becomes_a_plan(bad: float) -> None:
    for make in (lambda: study(a_round=SubsampledGaussian(noise_multiplier=bad, sampling_probability=1.0, steps=1)),
                 lambda: study(table=DiscreteGaussianTable(scale=bad, entries=1))):
        with pytest.raises(ValueError, match=r"noise_multiplier|scale"):
            make()


# Each ceiling: just enough lets the request pass, a little less refuses it, and data is not touched.
@pytest.mark.parametrize(("name", "cost"), [
    ("round", max(epsilon_of([event], delta=DELTA) for event in (ROUND, TABLE))),
    ("study", epsilon_of(WHOLE, delta=DELTA)), ("year", None), ("total", None)])
def test_each_ceiling_is_checked_before_anything_is_written(tmp_path: Path, name: str, cost: float | None) -> None:
    with open_ledger(tmp_path) as ledger:
        if cost is None:
            cost = filtered_cost(ledger, WHOLE)
        before = ledger.verify_full()
        tight = replace(WIDE, **{name: cost * (1 - 1e-6)})
        refusal = refused(ledger, study(), tight)
        assert isinstance(refusal, BudgetRefusal)
        assert (refusal.code, refusal.ceiling, refusal.charges) == (RefusalCode.BUDGET_EXHAUSTED, name, ())
        assert ledger.verify_full() == before
        ledger.answer(study(), ceilings=replace(WIDE, **{name: cost * (1 + 1e-6)}), work=Work())


def filtered_cost(ledger: Ledger, events: list[Any]) -> float:
    """Smallest ceiling whose filter admits `events`, by bisection."""
    order, low, high = ledger.balance(WIDE).renyi_order, 0.1, 20.0
    for _ in range(80):
        middle = (low + high) / 2
        if RenyiFilter(order=order, epsilon=middle, delta=DELTA).admits(events):
            high = middle
        else:
            low = middle
    return high


def test_a_plan_with_one_request_that_is_too_dear_is_not_begun(tmp_path: Path) -> None:
    request = study(table=DiscreteGaussianTable(scale=8.0, entries=3))
    dear = epsilon_of(request.stages[1].event.events(), delta=DELTA)
    with open_ledger(tmp_path) as ledger:
        refusal = refused(ledger, request, replace(WIDE, round=dear * (1 - 1e-6)))
        assert isinstance(refusal, BudgetRefusal)
        assert refusal.ceiling == "round"
        ledger.answer(request, ceilings=replace(WIDE, round=dear), work=Work())
        # Later requests of the plan are looked at one by one, in case the ceiling was lowered.
        ledger.answer(ask(request, 2), ceilings=replace(WIDE, round=dear * 0.9), work=Work())
        refused(ledger, ask(request, stage=Stage.TABLE), replace(WIDE, round=dear * 0.9))


def test_the_filter_stops_what_the_composed_figure_alone_would_let_pass(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        between = (epsilon_of(WHOLE, delta=DELTA) + filtered_cost(ledger, WHOLE)) / 2
        for name in ("year", "total"):
            refusal = refused(ledger, study(), replace(WIDE, **{name: between}))
            assert isinstance(refusal, BudgetRefusal)
            assert refusal.ceiling == name
            assert "adaptive filter" in refusal.detail


def test_a_further_attempt_is_checked_against_every_ceiling(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        with pytest.raises(AssertionError):
            ledger.answer(study(), ceilings=WIDE, work=never)
        before = ledger.verify_full().entries
        for name in ("study", "year", "total"):
            tight = replace(WIDE, **{name: epsilon_of([*WHOLE, ROUND], delta=DELTA) * (1 - 1e-6)})
            refusal = refused(ledger, study(), tight)
            assert isinstance(refusal, BudgetRefusal)
            assert refusal.ceiling == name
            assert refusal.epsilon == epsilon_of([ROUND], delta=DELTA)
            assert [(charge.study, charge.kind.value) for charge, _ in refusal.charges] == [("winter", "plan")]
        assert ledger.verify_full().entries == before


def test_ceilings_lowered_later_stop_a_study_that_runs(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        ledger.answer(study(), ceilings=WIDE, work=Work())
        refusal = refused(ledger, ask(study(), 2), replace(WIDE, total=0.5))
        assert refusal.code is RefusalCode.BUDGET_EXHAUSTED
        ledger.answer(ask(study(), 2), ceilings=WIDE, work=Work())


def test_years_are_counted_apart_and_the_total_is_not(tmp_path: Path) -> None:
    clock = Clock()
    with open_ledger(tmp_path, clock) as ledger:
        yearly = replace(WIDE, year=filtered_cost(ledger, WHOLE) * 1.001)
        ledger.answer(study("one"), ceilings=yearly, work=Work())
        assert isinstance(refused(ledger, study("two"), yearly), BudgetRefusal)
        clock.time = clock.time.replace(year=2027, month=1, day=1, hour=0)
        ledger.answer(study("two"), ceilings=yearly, work=Work())
        # The plan of the old year goes on, and a further attempt belongs to the new one.
        ledger.answer(ask(study("one"), 2), ceilings=yearly, work=Work())
        balance = ledger.balance(yearly, clock())
        assert [year.period for year in balance.years] == ["2026", "2027"]
        assert {year.epsilon for year in balance.years} == {epsilon_of(WHOLE, delta=DELTA)}
        assert balance.total.epsilon == epsilon_of([*WHOLE, *WHOLE], delta=DELTA)
        for tight, charges in ((yearly, ["two"]), (replace(WIDE, total=yearly.year), ["one", "two"])):
            refusal = refused(ledger, study("three"), tight)
            assert isinstance(refusal, BudgetRefusal)
            assert [charge.study for charge, _ in refusal.charges] == charges


def test_a_refusal_says_what_was_asked_allowed_left_and_used_and_what_to_do(tmp_path: Path) -> None:
    clock = Clock()
    alone, two = epsilon_of(WHOLE, delta=DELTA), epsilon_of([*WHOLE, *WHOLE], delta=DELTA)
    with open_ledger(tmp_path, clock, total=Budget(epsilon=1.3, delta=DELTA)) as ledger:
        for name in ("one", "two"):
            ledger.answer(study(name), ceilings=replace(WIDE, total=1.3), work=Work())
            clock.move(days=3)
        refusal = refused(ledger, study("three"), replace(WIDE, total=1.3))
    assert isinstance(refusal, BudgetRefusal)
    assert refusal.epsilon == alone
    assert (refusal.ceiling, refusal.allowed) == ("total", 1.3)
    assert refusal.remaining == pytest.approx(1.3 - two)
    assert [(charge.study, cost) for charge, cost in refusal.charges] == [("one", alone), ("two", alone)]
    for part in ("study three, train round 1, attempt 1", "2026-03-01 one (plan)", "2026-03-04 two (plan)",
                 f"{math.ceil(alone * 1000) / 1000:.3f}", "`total`", "What to do"):
        assert part in refusal.detail
    # What crosses is the code alone.
    assert str(refusal) == "budget_exhausted"


def test_a_long_list_of_charges_is_shortened_in_words_only(tmp_path: Path) -> None:
    step = SubsampledGaussian(noise_multiplier=400.0, sampling_probability=1.0, steps=1)
    table = DiscreteGaussianTable(scale=400.0, entries=1)
    with open_ledger(tmp_path) as ledger:
        for number in range(15):
            ledger.answer(study(f"s{number}", a_round=step, table=table), ceilings=WIDE, work=Work())
        refusal = refused(ledger, study(), replace(WIDE, total=0.9))
    assert isinstance(refusal, BudgetRefusal)
    assert len(refusal.charges) == 15
    assert "3 earlier charges; 2026-03-01 s3 (plan)" in refusal.detail


def test_a_balance_changes_nothing_and_can_be_printed(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        empty = ledger.balance(WIDE, Clock()())
        assert (empty.total.epsilon, empty.total.remaining, empty.total.filter_share) == (0.0, WIDE.total, 0.0)
        ledger.answer(study(), ceilings=WIDE, work=Work())
        files = [tmp_path / "ledger.sqlite", tmp_path / "ledger.sqlite-wal", tmp_path / "ledger.head"]
        before = [path.read_bytes() for path in files]
        first = ledger.balance(WIDE, Clock()())
        assert first == ledger.balance(WIDE, Clock()())
        assert [path.read_bytes() for path in files] == before
    assert json.loads(json.dumps(asdict(first), default=str))["total"]["epsilon"] == first.total.epsilon
    assert 0 < first.total.filter_share < 1
    assert first.total.remaining <= WIDE.total - first.total.epsilon
    assert first.studies[0].remaining == WIDE.study - first.studies[0].epsilon


def test_a_balance_does_not_wait_for_a_request_that_runs(tmp_path: Path) -> None:
    def look() -> bytes:
        with open_ledger(tmp_path, wait_seconds=0.0) as other:
            held = other.balance(WIDE).studies[0]
        assert (held.requests_open, held.requests_answered) == (1, 0)
        return b"seen"

    with open_ledger(tmp_path) as ledger:
        assert ledger.answer(study(), ceilings=WIDE, work=look) == b"seen"


def test_a_second_request_waits_its_turn_and_then_gives_up(tmp_path: Path) -> None:
    def crowd() -> bytes:
        with open_ledger(tmp_path, wait_seconds=0.05) as other:
            refusal = refused(other, ask(study(), 2))
        assert refusal.code is RefusalCode.BUSY
        return b"first"

    with open_ledger(tmp_path) as ledger:
        ledger.answer(study(), ceilings=WIDE, work=crowd)


def test_two_instances_see_each_other(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as one, open_ledger(tmp_path) as two:
        reply = one.answer(study(), ceilings=WIDE, work=Work())
        assert two.answer(study(), ceilings=WIDE, work=never) == reply
        two.answer(ask(study(), 2), ceilings=WIDE, work=Work())
        one.answer(ask(study(), 3), ceilings=WIDE, work=Work())
        assert one.balance(WIDE, Clock()()) == two.balance(WIDE, Clock()())


def test_the_order_of_each_filter_is_fixed_when_the_account_is_opened(tmp_path: Path) -> None:
    with open_ledger(tmp_path, total=Budget(epsilon=9.0, delta=DELTA), year=Budget(epsilon=1.0, delta=DELTA)) as ledger:
        first = ledger.balance(WIDE)
        # At the order of the total, so small a ceiling for the year would leave nothing.
        ledger.answer(study(), ceilings=replace(WIDE, year=1.0), work=Work())
    assert first.year_renyi_order > first.renyi_order
    with open_ledger(tmp_path, total=Budget(epsilon=0.5, delta=1e-3)) as ledger:
        again = ledger.balance(WIDE)
    assert (again.renyi_order, again.year_renyi_order, again.delta) == (
        first.renyi_order, first.year_renyi_order, DELTA)


def test_a_ceiling_lowered_under_what_the_fixed_order_can_give_says_so(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        refusal = refused(ledger, study(), replace(WIDE, total=3.0))
    assert "order (4) was fixed when this account was opened" in refusal.detail


def test_an_account_keeps_its_delta(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        refusal = refused(ledger, study(), replace(WIDE, delta=1e-5))
    assert refusal.code is RefusalCode.NOT_CONFIGURED
    assert "1e-06" in refusal.detail


def test_a_budget_that_leaves_nothing_opens_no_account(tmp_path: Path) -> None:
    refusal = refusal_of(lambda: open_ledger(tmp_path, total=Budget(epsilon=1e-4, delta=1e-9)))
    assert refusal.code is RefusalCode.NOT_CONFIGURED
    assert not (tmp_path / "ledger.sqlite").exists()


@pytest.mark.parametrize("change", [{"partner": "partner-1"}, {"key": SigningKey.from_bytes(b"q" * 32)}])
def test_another_partner_cannot_open_it(tmp_path: Path, change: dict[str, Any]) -> None:
    open_ledger(tmp_path).close()
    assert refusal_of(lambda: open_ledger(tmp_path, **change)).code is RefusalCode.LEDGER_UNUSABLE


def test_it_is_private_and_durable(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        ledger.answer(study(), ceilings=WIDE, work=Work())
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
        connection = ledger._book.files._connect()
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


@pytest.mark.parametrize("name", ["ledger.sqlite", "ledger.head"])
def test_files_that_others_can_read_are_refused(tmp_path: Path, name: str) -> None:
    open_ledger(tmp_path).close()
    (tmp_path / name).chmod(0o640)
    refusal = refusal_of(lambda: open_ledger(tmp_path))
    assert refusal.code is RefusalCode.LEDGER_UNUSABLE
    assert "0640" in refusal.detail


def test_the_stages_of_a_plan_cost_what_the_plan_costs(tmp_path: Path) -> None:
    plan = make_plan()
    true = price(plan)
    stages = planned_stages(plan)
    assert epsilon_of([event for stage in stages for event in stage.whole()], delta=plan.privacy.delta) == true.total
    with open_ledger(tmp_path, total=Budget(epsilon=20.0, delta=plan.privacy.delta)) as ledger:
        rules = Ceilings(delta=plan.privacy.delta, round=20.0, study=20.0, year=20.0, total=20.0)
        for number in range(1, plan.training.rounds + 1):
            ledger.answer(LedgerRequest.of(plan, Stage.TRAIN, number, "0" * 64), ceilings=rules, work=Work())
        ledger.answer(LedgerRequest.of(plan, Stage.TABLE, 1, "0" * 64), ceilings=rules, work=Work())
        assert ledger.balance(rules).total.epsilon == true.total
        assert ledger.balance(rules).studies[0].study == plan.study


def test_nothing_but_the_four_kinds_can_be_read() -> None:
    good = {"kind": "committed", "at": "2026-03-01T12:00:00Z", "reservation": 3, "reply_sha256": "0" * 64}
    assert not isinstance(decode(json.dumps(good).encode()), Reserved)
    changes: list[Callable[[dict[str, Any]], object]] = [
        lambda e: e.update(kind="os.system"), lambda e: e.update(extra=1), lambda e: e.pop("at"),
        lambda e: e.update(at="2026-03-01T12:00:00"), lambda e: e.update(at="2026-03-01T12:00:00+01:00"),
        lambda e: e.update(reservation="3"), lambda e: e.update(reservation=0), lambda e: e.update(reservation=True),
        lambda e: e.update(reply_sha256="0" * 63)]
    for change in changes:
        bad = dict(good)
        change(bad)
        with pytest.raises(ValueError, match="validation error"):
            decode(json.dumps(bad).encode())


def test_the_key_signs_and_nothing_of_it_is_stored(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        ledger.answer(study(), ceilings=WIDE, work=Work())
    assert all(b"p" * 32 not in path.read_bytes() for path in tmp_path.iterdir())
    assert KEY.public.encode() in (tmp_path / "ledger.sqlite").read_bytes()


def test_a_clock_that_leaps_while_work_runs_does_not_end_the_account(tmp_path: Path) -> None:
    clock = Clock()
    with open_ledger(tmp_path, clock) as ledger:
        before = clock.time

        def leaping() -> bytes:
            clock.move(days=365 * 70)
            return b"reply"

        ledger.answer(study(), ceilings=WIDE, work=leaping)
        clock.time = before
        assert ledger.answer(ask(study(), 2), ceilings=WIDE, work=lambda: b"second") == b"second"
        clock.move(days=-10)
        assert refused(ledger, ask(study(), 3)).code is RefusalCode.LEDGER_UNUSABLE


def test_a_full_check_while_the_node_works_accuses_nobody(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger, open_ledger(tmp_path) as working:
        ledger.answer(study(), ceilings=WIDE, work=lambda: b"one")
        files = ledger._book.files
        read = files.replies

        def meanwhile() -> object:
            working.answer(ask(study(), 2), ceilings=WIDE, work=lambda: b"two")
            return read()

        files.replies = meanwhile  # type: ignore[method-assign, assignment]
        assert ledger.verify_full().commits == 1


# What is kept of replies


def test_a_reply_is_kept_for_ninety_days_and_what_it_cost_for_ever(tmp_path: Path) -> None:
    clock = Clock()
    with open_ledger(tmp_path, clock) as ledger:
        ledger.answer(study(), ceilings=WIDE, work=Work())
        clock.move(days=60)
        second = ledger.answer(ask(study(), 2), ceilings=WIDE, work=Work())
        spent = ledger.balance(WIDE).total
        clock.move(days=30)
        assert (ledger.past_replies(), ledger.drop_past_replies()) == (0, 0)
        clock.move(seconds=1)
        assert (ledger.past_replies(), ledger.drop_past_replies(), ledger.past_replies()) == (1, 1, 0)
        assert ledger.balance(WIDE).total == spent
        found = refused(ledger, study())
        assert found.code is RefusalCode.ALREADY_ANSWERED
        assert "replies are kept for 90 days" in found.detail
        assert ledger.answer(ask(study(), 2), ceilings=WIDE, work=never) == second
        report = ledger.verify_full()
        assert (report.commits, report.replies_checked) == (2, 1)


def test_a_reply_that_is_gone_too_soon_was_taken_away(tmp_path: Path) -> None:
    clock = Clock()
    with open_ledger(tmp_path, clock) as ledger:
        ledger.answer(study(), ceilings=WIDE, work=Work())
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("DELETE FROM replies")
    connection.close()
    clock.move(days=90)
    with open_ledger(tmp_path, clock) as ledger:
        assert refused(ledger, study()).code is RefusalCode.LEDGER_UNUSABLE
        assert "has lost its reply" in refusal_of(ledger.verify_full).detail


def test_a_reply_that_stayed_too_long_still_has_to_fit(tmp_path: Path) -> None:
    clock = Clock()
    with open_ledger(tmp_path, clock) as ledger:
        ledger.answer(study(), ceilings=WIDE, work=Work())
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("UPDATE replies SET body = x'00'")
    connection.close()
    clock.move(days=91)
    with open_ledger(tmp_path, clock) as ledger:
        assert "a reply that it did not commit" in refusal_of(ledger.verify_full).detail


def test_a_clock_that_went_back_keeps_replies(tmp_path: Path) -> None:
    clock = Clock()
    with open_ledger(tmp_path, clock) as ledger:
        ledger.answer(study(), ceilings=WIDE, work=Work())
        clock.move(days=-400)
        assert ledger.drop_past_replies() == 0


def test_replies_are_not_dropped_while_a_request_runs(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger, open_ledger(tmp_path) as other:
        def work() -> bytes:
            assert refusal_of(other.drop_past_replies).code is RefusalCode.BUSY
            return b"reply"

        assert ledger.answer(study(), ceilings=WIDE, work=work) == b"reply"
