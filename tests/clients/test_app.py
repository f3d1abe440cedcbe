"""The door of the node: what a coordinator may learn from it, whatever it sends."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from clients import door, work
from clients.accounts import existing_account, has_account
from clients.app import app
from clients.node import NodeHome
from federation.errors import RefusalCode
from federation.identity import SigningKey
from federation.messages import (
    HELLO,
    OK,
    TABLE,
    TRAIN,
    Reply,
    Request,
    read_reply,
    reply_bytes,
    request_content,
    request_sha256,
)
from federation.model import initial_model, model_arrays
from federation.plan import SignedPlan, StudyPlan
from federation.privacy.guarantee import price
from federation.signed_replies import is_signed
from federation.statistics import TableLayout
from federation.taxonomy import Family
from tests.worlds import POLICY, approve, make_home, make_plan, make_records, partner_key, sign

QUOTED = "row 17: call +44 7700 900123"


@pytest.fixture(autouse=True)
def _identity() -> None:
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1


def context(home: NodeHome | None, plan_text: str) -> Context:
    config: dict[str, Any] = {} if home is None else {"node-home": str(home.path)}
    return Context(run_id=1, node_id=1, node_config=config, state=RecordDict(), run_config={"plan": plan_text})


def ask(home: NodeHome | None, plan: StudyPlan, kind: str, *, text: str | None = None, sha: str | None = None,
        number: int = 0, arrays: Any = None, approved: bool = True) -> Reply:
    if home is not None and approved:
        approve(home, plan)
    request = Request(plan_sha256=sha or plan.sha256, round_number=number, arrays=arrays)
    reply = app(Message(request_content(request), 1, kind), context(home, text or sign(plan).to_json()))
    return read_reply(reply)


@pytest.fixture
def plan() -> StudyPlan:
    return make_plan()


@pytest.fixture
def home(tmp_path: Path) -> NodeHome:
    return make_home(tmp_path, 0, records=make_records(40, people=25))


def test_a_good_request_is_answered(home: NodeHome, plan: StudyPlan) -> None:
    hello = ask(home, plan, HELLO)
    assert hello == Reply(code=OK, partner="partner-0", signature=hello.signature)
    model = model_arrays(initial_model(plan))
    trained = ask(home, plan, TRAIN, number=1, arrays=model)
    assert trained.code == OK
    assert trained.arrays is not None
    assert np.abs(trained.arrays["output.weight"]).max() > 0
    table = ask(home, plan, TABLE, arrays=model)
    assert table.table is not None
    assert table.table.shape == (TableLayout(plan).length,)


def test_a_reply_holds_the_stated_fields_and_nothing_else(home: NodeHome, plan: StudyPlan) -> None:
    approve(home, plan)
    request = Request(plan_sha256=plan.sha256, round_number=1, arrays=model_arrays(initial_model(plan)))
    reply = app(Message(request_content(request), 1, TRAIN), context(home, sign(plan).to_json()))
    assert set(reply.content) == {"reply", "arrays"}
    head = dict(reply.content.config_records["reply"])
    assert head == {"code": "ok", "partner": "partner-0", "signature": head["signature"]}
    assert re.fullmatch("[0-9a-f]{128}", str(head["signature"]))
    assert not reply.content.metric_records


def test_an_unknown_coordinator_is_refused(home: NodeHome, plan: StudyPlan) -> None:
    foreign = SignedPlan.sign(plan, SigningKey.from_bytes(b"z" * 32)).to_json()
    assert ask(home, plan, HELLO, text=foreign).code == RefusalCode.PLAN_NOT_TRUSTED


@pytest.mark.parametrize("text", ["{}", "[]", "nonsense"])
def test_a_broken_plan_is_refused(home: NodeHome, plan: StudyPlan, text: str) -> None:
    assert ask(home, plan, HELLO, text=text).code == RefusalCode.PLAN_INVALID


def test_a_plan_that_understates_its_price_is_refused(home: NodeHome, plan: StudyPlan) -> None:
    cheap = plan.model_copy(update={"privacy": plan.privacy.model_copy(update={"total_epsilon": 0.01})})
    assert ask(home, cheap, HELLO).code == RefusalCode.PLAN_INVALID


@pytest.mark.parametrize("change", [{"slots": 64}, {"slots": 16}, {"name": "partner-9"}, {"regions": ("XA-01",)},
                                    {"public_key": "0" * 64}])
def test_a_plan_that_misstates_the_partner_is_refused(home: NodeHome, plan: StudyPlan, change: dict[str, Any]) -> None:
    first = plan.roster[0].model_copy(update=change)
    other = plan.model_copy(update={"roster": (first, *plan.roster[1:])})
    assert ask(home, other, HELLO).code == RefusalCode.NOT_IN_ROSTER


def test_a_synthetic_study_never_meets_real_records(tmp_path: Path, plan: StudyPlan) -> None:
    real = make_home(tmp_path, 0, records=make_records(5), synthetic=False)
    assert ask(real, plan, HELLO).code == RefusalCode.NOT_CONFIGURED


def test_a_node_without_a_home_or_records_says_so(tmp_path: Path, plan: StudyPlan) -> None:
    assert ask(None, plan, HELLO).code == RefusalCode.NOT_CONFIGURED
    empty = make_home(tmp_path, 0)
    assert ask(empty, plan, HELLO).code == OK
    assert ask(empty, plan, TRAIN, number=1, arrays=model_arrays(initial_model(plan))).code == RefusalCode.NOT_READY


def test_a_store_without_a_usable_record_answers_like_any_other(tmp_path: Path, plan: StudyPlan) -> None:
    # A refusal here would tell that there is nobody; null people answer with noise alone.
    nobody = make_home(tmp_path, 0, records=[])
    model = model_arrays(initial_model(plan))
    assert ask(nobody, plan, TRAIN, number=1, arrays=model).code == OK
    assert ask(nobody, plan, TABLE, arrays=model).code == OK


def test_one_person_is_enough(tmp_path: Path, plan: StudyPlan) -> None:
    one = make_home(tmp_path, 0, records=make_records(1))
    assert ask(one, plan, TRAIN, number=1, arrays=model_arrays(initial_model(plan))).code == OK


@pytest.mark.parametrize("number", [0, -1, 3])
def test_a_round_outside_the_plan_is_refused(home: NodeHome, plan: StudyPlan, number: int) -> None:
    reply = ask(home, plan, TRAIN, number=number, arrays=model_arrays(initial_model(plan)))
    assert reply.code == RefusalCode.BAD_REQUEST


def test_a_request_for_another_plan_is_refused(home: NodeHome, plan: StudyPlan) -> None:
    assert ask(home, plan, HELLO, sha="0" * 64).code == RefusalCode.BAD_REQUEST


@pytest.mark.parametrize("bad", ["nan", "inf", "1e5", "-3.4e38", "shape", "dtype", "name", "none"])
def test_a_bad_model_is_refused(home: NodeHome, plan: StudyPlan, bad: str) -> None:
    arrays: Any = model_arrays(initial_model(plan))
    if bad in ("nan", "inf", "1e5", "-3.4e38"):
        arrays["output.weight"][0, 0] = float(bad)
    elif bad == "shape":
        arrays["output.weight"] = arrays["output.weight"][:, :-1]
    elif bad == "dtype":
        arrays["output.weight"] = arrays["output.weight"].astype(np.float64)
    elif bad == "name":
        arrays["other"] = arrays.pop("output.weight")
    else:
        arrays = None
    for kind, number in ((TRAIN, 1), (TABLE, 0)):
        assert ask(home, plan, kind, number=number, arrays=arrays).code == RefusalCode.BAD_REQUEST


def test_no_exception_text_leaves_or_is_logged(home: NodeHome, plan: StudyPlan, monkeypatch: pytest.MonkeyPatch,
                                               caplog: pytest.LogCaptureFixture) -> None:
    def explode(*_: object) -> None:
        raise ValueError(QUOTED)

    approve(home, plan)
    for where, name in ((door, "check_plan"), (work, "prepare"), (work, "train_round"), (work, "noisy_tables")):
        door._verified.cache_clear()
        work._works.clear()
        with monkeypatch.context() as patch, caplog.at_level(logging.DEBUG):
            patch.setattr(where, name, explode)
            for kind, number in ((HELLO, 0), (TRAIN, 1), (TABLE, 0)):
                request = Request(plan_sha256=plan.sha256, round_number=number,
                                  arrays=model_arrays(initial_model(plan)))
                reply = app(Message(request_content(request), 1, kind), context(home, sign(plan).to_json()))
                assert not reply.has_error()
                assert set(reply.content.config_records["reply"]) == {"code", "partner", "signature"}
                assert "7700" not in str(reply.content)
                assert str(home.path) not in str(reply.content)
    assert "failed: ValueError at" in caplog.text
    assert "row 17" not in caplog.text
    assert "7700" not in caplog.text
    assert str(home.path) not in caplog.text


def test_garbage_requests_get_a_code(home: NodeHome, plan: StudyPlan) -> None:
    for content in (RecordDict(), RecordDict({"arrays": request_content(Request(
            plan_sha256="x", round_number=1, arrays=model_arrays(initial_model(plan))))["arrays"]})):
        reply = read_reply(app(Message(content, 1, TRAIN), context(home, sign(plan).to_json())))
        assert reply.code == RefusalCode.BAD_REQUEST


# --- what leaves is signed, for the very question


def answered(home: NodeHome | None, plan: StudyPlan, kind: str, request: Request) -> Reply:
    return read_reply(app(Message(request_content(request), 1, kind), context(home, sign(plan).to_json())))


def test_every_reply_is_signed_for_its_own_question(home: NodeHome, plan: StudyPlan) -> None:
    approve(home, plan)
    model, public = model_arrays(initial_model(plan)), partner_key(0).public
    for kind, number, code in ((HELLO, 0, OK), (TRAIN, 1, OK), (TABLE, 0, OK), (TRAIN, 9, "bad_request")):
        request = Request(plan_sha256=plan.sha256, round_number=number, arrays=None if kind == HELLO else model)
        reply = answered(home, plan, kind, request)
        assert (reply.code, reply.partner) == (code, "partner-0")
        assert is_signed(reply, request, kind, public)
        # The hash of the model is no part of it: who answers has answered whatever came under this nonce.
        for other in (replace(request, nonce="0" * 32), replace(request, round_number=7),
                      replace(request, plan_sha256="0" * 64)):
            assert not is_signed(reply, other, kind, public)
        assert not is_signed(reply, request, "other", public)
        assert not is_signed(reply, request, kind, partner_key(1).public)


def test_a_kept_reply_is_signed_anew_and_charged_once(home: NodeHome, plan: StudyPlan) -> None:
    approve(home, plan)
    requests = [Request(plan_sha256=plan.sha256, round_number=1, arrays=model_arrays(initial_model(plan)))
                for _ in range(2)]
    replies = [answered(home, plan, TRAIN, request) for request in requests]
    assert requests[0].nonce != requests[1].nonce
    assert request_sha256(requests[0]) == request_sha256(requests[1])
    assert reply_bytes(replies[0]) == reply_bytes(replies[1])
    assert [is_signed(reply, request, TRAIN, partner_key(0).public)
            for reply in replies for request in requests] == [True, False, False, True]
    with existing_account(home) as account:
        assert account.balance(home.policy().ceilings).studies[0].requests_answered == 1
        assert account.verify_full().entries == 4  # opened, held, reserved, committed


def test_a_refusal_of_a_plan_that_is_not_trusted_is_signed_too(home: NodeHome, plan: StudyPlan) -> None:
    foreign = SignedPlan.sign(plan, SigningKey.from_bytes(b"z" * 32)).to_json()
    request = Request(plan_sha256=plan.sha256, round_number=0)
    reply = read_reply(app(Message(request_content(request), 1, HELLO), context(home, foreign)))
    assert reply.code == RefusalCode.PLAN_NOT_TRUSTED
    assert is_signed(reply, request, HELLO, partner_key(0).public)


def test_without_a_home_a_refusal_is_all_that_leaves_unsigned(plan: StudyPlan) -> None:
    reply = answered(None, plan, HELLO, Request(plan_sha256=plan.sha256, round_number=0))
    assert reply == Reply(code=RefusalCode.NOT_CONFIGURED)


def test_what_cannot_be_signed_leaves_as_a_refusal(home: NodeHome, plan: StudyPlan,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object) -> None:
        raise ValueError(QUOTED)

    approve(home, plan)
    monkeypatch.setattr(door, "sign_reply", explode)
    reply = answered(home, plan, HELLO, Request(plan_sha256=plan.sha256, round_number=0))
    assert reply == Reply(code=RefusalCode.FAILED)


@pytest.mark.parametrize("changes", [
    {"nonce": "0" * 31}, {"nonce": "0" * 33}, {"nonce": "G" * 32}, {"nonce": 7}, {"nonce": ""}, {"round": True},
    {"round": "1"}, {"plan_sha256": "x" * 64}, {"plan_sha256": 1}, {"nonce": None}, {"round": 2**60},
])
def test_a_request_without_a_nonce_is_a_bad_request(home: NodeHome, plan: StudyPlan, changes: dict[str, Any]) -> None:
    approve(home, plan)
    content = request_content(Request(plan_sha256=plan.sha256, round_number=1,
                                      arrays=model_arrays(initial_model(plan))))
    content["request"] = ConfigRecord({key: value for key, value in {
        **content.config_records["request"], **changes}.items() if value is not None})
    reply = read_reply(app(Message(content, 1, TRAIN), context(home, sign(plan).to_json())))
    assert reply == Reply(code=RefusalCode.BAD_REQUEST)
    assert not has_account(home)


def test_a_code_that_is_not_on_the_list_is_not_passed_on() -> None:
    message = Message(RecordDict({"reply": ConfigRecord({"code": QUOTED, "partner": "", "signature": ""})}), 1, TRAIN)
    assert read_reply(message) == Reply(code=RefusalCode.FAILED)


def test_a_guessed_person_leaves_no_trace_in_finiteness(tmp_path: Path, plan: StudyPlan) -> None:
    # The largest model that is accepted, aimed at one record's own features.
    from clients.features import prepare

    records = make_records(30)
    nodes = [make_home(tmp_path / str(i), 0, records=part) for i, part in enumerate((records, records[1:]))]
    aimed = np.sign(prepare(nodes[0], plan).inputs(np.array([0]))) * np.where(np.arange(65) % 2, 1024.0, -1024.0)
    arrays = {"output.weight": np.repeat(aimed, 2, axis=0).astype(np.float32)}
    for node in nodes:
        reply = ask(node, plan, TRAIN, number=1, arrays=arrays)
        assert reply.code == OK
        assert reply.arrays is not None
        assert np.isfinite(reply.arrays["output.weight"]).all()


def test_repeatable_noise_serves_rehearsals_only(home: NodeHome, plan: StudyPlan, tmp_path: Path) -> None:
    earnest = plan.model_copy(update={"rehearsal": False})
    assert ask(home, earnest, HELLO).code == RefusalCode.NOT_CONFIGURED
    real = make_home(tmp_path / "system", 0, records=make_records(5), noise_seed=None)
    assert ask(real, earnest, HELLO).code == OK


def test_a_rehearsal_never_uses_one_noise_twice(plan: StudyPlan, tmp_path: Path) -> None:
    # Two models under one plan: if their noise were the same, the difference of two answers would be exact. The account
    # answers one of them only, so this takes two homes that are the same in everything.
    zero = model_arrays(initial_model(plan))
    other = {name: value + np.float32(1e-6) for name, value in zero.items()}
    homes = [make_home(tmp_path / str(i), 0, records=make_records(40, people=25)) for i in range(3)]
    tables = [ask(home, plan, TABLE, arrays=arrays).table for home, arrays in zip(homes, (zero, other, zero),
                                                                                  strict=True)]
    layout = TableLayout(plan)
    assert all(table is not None for table in tables)
    # Who was reviewed depends on no model, so these would be the same but for their noise.
    for family in (Family.REGIONS, Family.SUPER_REGIONS, Family.COUNTRIES, Family.CORRIDORS):
        first, second = (layout.table(table, family)[..., 0] for table in tables[:2])  # type: ignore[arg-type]
        assert (first != second).any(), family
    first, second = (layout.table(table, Family.DOMINANCE) for table in tables[:2])  # type: ignore[arg-type]
    assert (first != second).any()
    assert (tables[2] == tables[0]).all()


def test_a_request_is_paid_for_once_and_answered_the_same(plan: StudyPlan, tmp_path: Path) -> None:
    # From the operating system, so that the same bytes can only come from the account.
    earnest = plan.model_copy(update={"rehearsal": False})
    home = make_home(tmp_path, 0, records=make_records(40, people=25), noise_seed=None)
    zero = model_arrays(initial_model(earnest))
    first, again = (ask(home, earnest, TRAIN, number=1, arrays=zero) for _ in range(2))
    assert first.arrays is not None
    assert again.arrays is not None
    assert (first.arrays["output.weight"] == again.arrays["output.weight"]).all()
    assert ask(home, earnest, TABLE, arrays=zero).table is not None
    with existing_account(home) as account:
        balance = account.balance(home.policy().ceilings)
    assert balance.studies[0].requests_answered == 2
    assert balance.total.epsilon == pytest.approx(price(earnest, delta=balance.delta).total, rel=1e-6)


def test_a_round_is_answered_for_one_model_only(home: NodeHome, plan: StudyPlan) -> None:
    # Else the differences between answers to chosen models would add up to more than was paid.
    zero = model_arrays(initial_model(plan))
    other = {name: value + 1 for name, value in zero.items()}
    for kind, number in ((TRAIN, 1), (TABLE, 0)):
        assert ask(home, plan, kind, number=number, arrays=zero).code == OK
        assert ask(home, plan, kind, number=number, arrays=other).code == RefusalCode.ALREADY_ANSWERED
    assert ask(home, plan, TRAIN, number=2, arrays=other).code == OK


def test_an_exhausted_account_refuses_before_data_is_touched(plan: StudyPlan, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    cost = price(plan).total
    ceilings = replace(POLICY.ceilings, delta=plan.privacy.delta, study=cost * 1.01, year=cost * 1.6, total=cost * 1.6)
    home = make_home(tmp_path, 0, records=make_records(40, people=25),
                     policy=POLICY.model_copy(update={"ceilings": ceilings}))
    zero = model_arrays(initial_model(plan))
    assert ask(home, plan, TRAIN, number=1, arrays=zero).code == OK
    monkeypatch.setattr(work, "prepare", lambda *_: pytest.fail("data was touched"))
    second = plan.model_copy(update={"study": "second"})
    assert ask(home, second, TRAIN, number=1, arrays=zero).code == RefusalCode.BUDGET_EXHAUSTED
    # What was paid for is still given, without the data.
    assert ask(home, plan, TRAIN, number=1, arrays=zero).code == OK


def test_a_damaged_account_answers_nothing(home: NodeHome, plan: StudyPlan) -> None:
    zero = model_arrays(initial_model(plan))
    assert ask(home, plan, TRAIN, number=1, arrays=zero).code == OK
    (home.path / "ledger.head").unlink()
    assert ask(home, plan, TRAIN, number=1, arrays=zero).code == RefusalCode.LEDGER_UNUSABLE
    assert ask(home, plan, TABLE, arrays=zero).code == RefusalCode.LEDGER_UNUSABLE


@pytest.mark.parametrize("wrong", ["store", "encoder"])
def test_what_cannot_run_is_not_charged(home: NodeHome, plan: StudyPlan, wrong: str) -> None:
    # Else a coordinator's retries would drain a partner who has only not finished setting up.
    zero = model_arrays(initial_model(plan))
    if wrong == "store":
        home.store_path.unlink()
    else:
        plan = plan.model_copy(update={"encoder": plan.encoder.model_copy(update={"fingerprint": "0" * 64})})
    for number in (1, 2):
        code = ask(home, plan, TRAIN, number=number, arrays=zero).code
        assert code == (RefusalCode.NOT_READY if wrong == "store" else RefusalCode.NOT_CONFIGURED)
    assert not has_account(home)


def test_retention_ends_at_midnight_in_a_node_that_stays_up(tmp_path: Path, plan: StudyPlan,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    class Today(date):
        now = date(2026, 11, 30)

        @classmethod
        def today(cls) -> date:
            return cls.now

    monkeypatch.setattr(work, "date", Today)
    monkeypatch.setattr("clients.features.date", Today)
    records = [r.model_copy(update={"retention_until": date(2026, 12, 1)}) for r in make_records(40, people=25)]
    home = make_home(tmp_path, 0, records=records)
    held: list[int] = []
    real = work.train_round
    monkeypatch.setattr(work, "train_round", lambda model, people, rule, *, stream: held.append(
        len(people)) or real(model, people, rule, stream=stream))
    zero = model_arrays(initial_model(plan))
    assert ask(home, plan, TRAIN, number=1, arrays=zero).code == OK
    Today.now = date(2026, 12, 30)
    assert ask(home, plan, TRAIN, number=2, arrays=zero).code == OK
    assert held[0] > 0
    assert held[1] == 0
