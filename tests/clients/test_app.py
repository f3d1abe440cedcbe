"""The door of the node: what a coordinator may learn from it, whatever it sends."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

import clients.app
from clients.app import app
from clients.approvals import Decision, decide
from clients.node import NodeHome
from federation.errors import RefusalCode
from federation.identity import SigningKey
from federation.messages import HELLO, OK, TABLE, TRAIN, Reply, Request, read_reply, request_content
from federation.model import initial_model, model_arrays
from federation.plan import SignedPlan, StudyPlan
from tests.worlds import POLICY, approve, make_home, make_plan, make_records, sign

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
    assert ask(home, plan, HELLO) == Reply(code=OK, partner="partner-0")
    model = model_arrays(initial_model(plan))
    trained = ask(home, plan, TRAIN, number=1, arrays=model)
    assert trained.code == OK
    assert trained.arrays is not None
    assert np.abs(trained.arrays["output.weight"]).max() > 0
    table = ask(home, plan, TABLE, arrays=model)
    assert table.table is not None
    assert table.table.shape == (3, 2, 3)


def test_a_reply_holds_the_stated_fields_and_nothing_else(home: NodeHome, plan: StudyPlan) -> None:
    approve(home, plan)
    request = Request(plan_sha256=plan.sha256, round_number=1, arrays=model_arrays(initial_model(plan)))
    reply = app(Message(request_content(request), 1, TRAIN), context(home, sign(plan).to_json()))
    assert set(reply.content) == {"reply", "arrays"}
    assert dict(reply.content.config_records["reply"]) == {"code": "ok", "partner": "partner-0"}
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
    for name in ("check_claim", "prepare", "train_round", "noisy_table"):
        clients.app._verified.cache_clear()
        clients.app._prepared.cache_clear()
        with monkeypatch.context() as patch, caplog.at_level(logging.DEBUG):
            patch.setattr(clients.app, name, explode)
            for kind, number in ((HELLO, 0), (TRAIN, 1), (TABLE, 0)):
                request = Request(plan_sha256=plan.sha256, round_number=number,
                                  arrays=model_arrays(initial_model(plan)))
                reply = app(Message(request_content(request), 1, kind), context(home, sign(plan).to_json()))
                assert not reply.has_error()
                assert set(reply.content.config_records["reply"]) == {"code", "partner"}
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


def test_a_code_that_is_not_on_the_list_is_not_passed_on() -> None:
    from flwr.app import ConfigRecord

    message = Message(RecordDict({"reply": ConfigRecord({"code": QUOTED, "partner": ""})}), 1, TRAIN)
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


def test_a_rehearsal_never_uses_one_noise_twice(home: NodeHome, plan: StudyPlan) -> None:
    # Two models under one plan: if their noise were the same, the difference of two answers would be exact.
    zero = model_arrays(initial_model(plan))
    other = {name: value + np.float32(1e-6) for name, value in zero.items()}
    tables = [ask(home, plan, TABLE, arrays=arrays).table for arrays in (zero, other)]
    assert tables[0] is not None
    assert tables[1] is not None
    assert (tables[0][:, :, 0] != tables[1][:, :, 0]).any()
    again = ask(home, plan, TABLE, arrays=zero).table
    assert again is not None
    assert (again == tables[0]).all()


def test_an_unapproved_plan_is_refused_from_the_first_word_on(home: NodeHome, plan: StudyPlan) -> None:
    model = model_arrays(initial_model(plan))
    for kind, number in ((HELLO, 0), (TRAIN, 1), (TABLE, 0)):
        assert ask(home, plan, kind, number=number, arrays=model, approved=False).code == RefusalCode.NOT_APPROVED
    decide(home, sign(plan), Decision.DECLINED)
    assert ask(home, plan, HELLO, approved=False).code == RefusalCode.NOT_APPROVED
    approve(home, make_plan(learning_rate=2.0))
    assert ask(home, plan, HELLO, approved=False).code == RefusalCode.NOT_APPROVED
    approve(home, plan)
    assert ask(home, plan, HELLO, approved=False).code == OK


def test_an_approval_that_is_withdrawn_stops_a_running_study(home: NodeHome, plan: StudyPlan) -> None:
    model = model_arrays(initial_model(plan))
    assert ask(home, plan, TRAIN, number=1, arrays=model).code == OK
    decide(home, sign(plan), Decision.DECLINED)
    assert ask(home, plan, TRAIN, number=2, arrays=model, approved=False).code == RefusalCode.NOT_APPROVED


@pytest.mark.parametrize("text", [None, "", "plans: approved\n", "rehearsal: .nan\n"])
def test_a_home_without_usable_rules_takes_part_in_nothing(home: NodeHome, plan: StudyPlan, text: str | None) -> None:
    rules = home.path / "policy.yaml"
    if text is None:
        rules.unlink()
    else:
        rules.write_text(text)
    model = model_arrays(initial_model(plan))
    for kind, number in ((HELLO, 0), (TRAIN, 1), (TABLE, 0)):
        assert ask(home, plan, kind, number=number, arrays=model).code == RefusalCode.NOT_ALLOWED


def test_a_broken_rule_stops_an_approved_plan_at_once(home: NodeHome, plan: StudyPlan) -> None:
    assert ask(home, plan, HELLO).code == OK
    rules = home.path / "policy.yaml"
    rules.write_text(rules.read_text().replace("minimum_partners: 1", "minimum_partners: 4"))
    assert ask(home, plan, HELLO).code == RefusalCode.NOT_ALLOWED
    assert ask(home, plan, TRAIN, number=1, arrays=model_arrays(initial_model(plan))).code == RefusalCode.NOT_ALLOWED


def test_rehearsals_are_the_partners_choice(tmp_path: Path, plan: StudyPlan) -> None:
    careful = make_home(tmp_path, 0, records=make_records(5), policy=POLICY.model_copy(update={"rehearsal": "refuse"}))
    assert ask(careful, plan, HELLO).code == RefusalCode.NOT_ALLOWED


@pytest.mark.parametrize("extra", [
    {"minimum_partners": 1}, {"policy.minimum_partners": 1}, {"policy": "minimum_partners: 1"}, {"plans": "approved"},
    {"ceilings": "total: 1000"}, {"policy-file": "/dev/null"}, {"node-home": "/nowhere"}, {"approved": True},
])
def test_no_run_config_widens_the_rules(home: NodeHome, plan: StudyPlan, extra: dict[str, Any]) -> None:
    rules = home.path / "policy.yaml"
    rules.write_text(rules.read_text().replace("minimum_partners: 1", "minimum_partners: 4"))
    approve(home, plan)
    here = context(home, sign(plan).to_json())
    here.run_config = {**here.run_config, **extra}
    request = Request(plan_sha256=plan.sha256, round_number=0)
    assert read_reply(app(Message(request_content(request), 1, HELLO), here)).code == RefusalCode.NOT_ALLOWED


def test_a_refusal_by_the_rules_carries_no_figure_of_them(home: NodeHome, plan: StudyPlan,
                                                         caplog: pytest.LogCaptureFixture) -> None:
    rules = home.path / "policy.yaml"
    rules.write_text(rules.read_text().replace("total: 200.0", "total: 3.14159"))
    approve(home, plan)
    request = Request(plan_sha256=plan.sha256, round_number=0)
    with caplog.at_level(logging.DEBUG):
        reply = app(Message(request_content(request), 1, HELLO), context(home, sign(plan).to_json()))
    assert dict(reply.content.config_records["reply"]) == {"code": "not_allowed", "partner": ""}
    assert "3.14" not in str(reply.content) + caplog.text


def test_a_change_of_rules_holds_for_records_already_read(tmp_path: Path, plan: StudyPlan) -> None:
    # The records of a study are kept between messages; which of them take part is a rule that may change meanwhile.
    loose = [r.model_copy(update={"actor_key": None}) for r in make_records(30)]
    home = make_home(tmp_path, 0, records=loose)
    model = model_arrays(initial_model(plan))
    own = ask(home, plan, TABLE, arrays=model).table
    rules = home.path / "policy.yaml"
    rules.write_text(rules.read_text().replace("own_unit", "refuse"))
    refused = ask(home, plan, TABLE, arrays=model).table
    assert own is not None
    assert refused is not None
    # The noise of a rehearsal is the same for the same model, so the difference is exact.
    assert int((own - refused)[:, :, 0].sum()) == 30
