"""What a node writes down: every decision, every answer that left and every refusal, and nothing of anybody's."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from typer.testing import CliRunner

from clients import work
from clients.accounts import existing_account, has_account
from clients.app import app
from clients.approvals import Decision, decide, find_approval, require_approval
from clients.console import app as console
from clients.ledger.entries import Committed, decode
from clients.ledger.files import LedgerFiles
from clients.node import NodeHome
from clients.policy import POLICY_FILE
from federation.canonical import sha256_hex
from federation.deployment.bundle import installed_bundle_sha256
from federation.errors import InputError, Refusal, RefusalCode
from federation.identity import SigningKey
from federation.journal import (
    NO_PLAN,
    Answered,
    Facts,
    Journal,
    Opened,
    PlanApproved,
    PlanDeclined,
    Refused,
    Side,
    head_path,
    read_head,
    read_journal,
    verify_journal,
)
from federation.messages import HELLO, OK, TABLE, TRAIN, Reply, Request, read_reply, request_content, request_sha256
from federation.model import initial_model, model_arrays
from federation.plan import SignedPlan, StudyPlan
from federation.privacy.guarantee import price
from federation.secagg import Stage
from tests.clients.test_secure import Sum
from tests.worlds import approve, make_home, make_plan, make_records, partner_key, sign


@pytest.fixture(autouse=True)
def _identity() -> None:
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1


@pytest.fixture
def plan() -> StudyPlan:
    return make_plan()


@pytest.fixture
def home(tmp_path: Path) -> NodeHome:
    return make_home(tmp_path, 0, records=make_records(40, people=25))


def path_of(home: NodeHome) -> Path:
    return home.path / "journal.jsonl"


def acts(home: NodeHome) -> list[Facts]:
    """Everything after the opening, from a journal that is whole."""
    path = path_of(home)
    report = verify_journal(read_journal(path), public_key=home.signing_key().public, head=read_head(head_path(path)))
    assert report.problem is None
    assert report.anchored == len(report.entries) - 1
    assert report.opened == Opened(owner=home.settings.name, side=Side.PARTNER, public_key=home.signing_key().public)
    return [entry.facts for entry in report.entries[1:]]


def model_request(plan: StudyPlan, number: int, add: float = 0.0) -> Request:
    zero = model_arrays(initial_model(plan))
    return Request(plan_sha256=plan.sha256, round_number=number,
                   arrays={name: value + value.dtype.type(add) for name, value in zero.items()})


def ask(home: NodeHome, plan: StudyPlan, kind: str, request: Request, *, text: str | None = None) -> Reply:
    config: dict[str, Any] = {"plan": text or sign(plan).to_json()}
    context = Context(run_id=1, node_id=1, node_config={"node-home": str(home.path)}, state=RecordDict(),
                      run_config=config)
    return read_reply(app(Message(request_content(request), 1, kind), context))


def committed(home: NodeHome) -> list[str]:
    """Hashes of the replies that the account keeps."""
    entries = [decode(link.body) for link in LedgerFiles(home.path).links()]
    return [entry.reply_sha256 for entry in entries if isinstance(entry, Committed)]


def test_decisions_are_written_down_with_their_price_and_the_rules(home: NodeHome, plan: StudyPlan) -> None:
    decide(home, sign(plan), Decision.DECLINED)
    approve(home, plan)
    cost = price(plan)
    facts = {"plan_sha256": plan.sha256, "study": "test", "epsilon": cost.total, "delta": cost.delta,
             "bundle_sha256": installed_bundle_sha256(),
             "policy_sha256": sha256_hex((home.path / POLICY_FILE).read_bytes())}
    assert acts(home) == [PlanDeclined(**facts), PlanApproved(**facts)]
    assert path_of(home).stat().st_mode & 0o777 == 0o600


def test_a_plan_can_be_declined_without_any_rules(home: NodeHome, plan: StudyPlan) -> None:
    (home.path / POLICY_FILE).unlink()
    decide(home, sign(plan), Decision.DECLINED)
    [facts] = acts(home)
    assert isinstance(facts, PlanDeclined)
    assert facts.policy_sha256 is None


def test_what_left_is_written_down_by_its_hash(home: NodeHome, plan: StudyPlan) -> None:
    approve(home, plan)
    requests = [model_request(plan, 1), model_request(plan, 2), model_request(plan, 0)]
    for kind, request in zip((TRAIN, TRAIN, TABLE), requests, strict=True):
        assert ask(home, plan, kind, request).code == OK
    # Greetings touch nobody's records.
    assert ask(home, plan, HELLO, Request(plan_sha256=plan.sha256, round_number=0)).code == OK
    assert acts(home)[1:] == [
        Answered(plan_sha256=plan.sha256, stage=stage, round=number, request_sha256=request_sha256(request),
                 reply_sha256=reply, kept=False)
        for stage, number, request, reply in zip(("train", "train", "table"), (1, 2, 1), requests, committed(home),
                                                 strict=True)]


def test_a_kept_reply_that_is_given_again_is_told_as_one(home: NodeHome, plan: StudyPlan) -> None:
    approve(home, plan)
    for _ in range(3):
        assert ask(home, plan, TRAIN, model_request(plan, 1)).code == OK
    first, *others = acts(home)[1:]
    assert isinstance(first, Answered)
    assert not first.kept
    assert others == [first.model_copy(update={"kept": True})] * 2
    assert len(committed(home)) == 1


def test_what_is_put_into_a_secure_sum_is_written_down(tmp_path: Path) -> None:
    secure = make_plan(4, secure="both", colluders=1, quorum=3, noise_scale=6.0)
    held = Sum(tmp_path, secure)
    payloads = held.until(Stage.MASKED)
    assert [len(acts(home)) for home in held.homes.values()] == [1] * 4
    held.all(Stage.MASKED, payloads)
    for home in held.homes.values():
        _, found = acts(home)
        assert isinstance(found, Answered)
        assert (found.plan_sha256, found.stage, found.round, found.kept) == (secure.sha256, "table", 1, False)
        assert [found.reply_sha256] == committed(home)


def test_refusals_are_written_down_by_their_code(home: NodeHome, plan: StudyPlan) -> None:
    request = model_request(plan, 1)
    assert ask(home, plan, TRAIN, request).code == RefusalCode.NOT_APPROVED
    approve(home, plan)
    assert ask(home, plan, TRAIN, request).code == OK
    assert ask(home, plan, TRAIN, model_request(plan, 1, add=1.0)).code == RefusalCode.ALREADY_ANSWERED
    stranger = SignedPlan.sign(plan, SigningKey.generate()).to_json()
    assert ask(home, plan, TRAIN, request, text=stranger).code == RefusalCode.PLAN_NOT_TRUSTED
    assert ask(home, plan, HELLO, request, text="{").code == RefusalCode.PLAN_INVALID
    assert [facts for facts in acts(home) if isinstance(facts, Refused)] == [
        Refused(plan_sha256=plan.sha256, code=RefusalCode.NOT_APPROVED),
        Refused(plan_sha256=plan.sha256, code=RefusalCode.ALREADY_ANSWERED),
        Refused(plan_sha256=NO_PLAN, code=RefusalCode.PLAN_NOT_TRUSTED),
        Refused(plan_sha256=NO_PLAN, code=RefusalCode.PLAN_INVALID)]


def test_asking_again_and_again_does_not_fill_the_disk(home: NodeHome, plan: StudyPlan) -> None:
    for _ in range(5):
        assert ask(home, plan, TRAIN, model_request(plan, 1)).code == RefusalCode.NOT_APPROVED
    assert len(acts(home)) == 1


def test_work_that_fails_is_written_down_as_its_code_alone(home: NodeHome, plan: StudyPlan,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("row 17: call +44 7700 900123")

    approve(home, plan)
    monkeypatch.setattr(work, "train_round", fail)
    assert ask(home, plan, TRAIN, model_request(plan, 1)).code == RefusalCode.FAILED
    assert acts(home)[-1] == Refused(plan_sha256=plan.sha256, code=RefusalCode.FAILED)
    assert b"7700" not in path_of(home).read_bytes()


def test_nothing_of_the_partners_own_is_in_it(home: NodeHome, plan: StudyPlan) -> None:
    approve(home, plan)
    for kind, number in ((TRAIN, 1), (TABLE, 0)):
        assert ask(home, plan, kind, model_request(plan, number)).code == OK
    text = path_of(home).read_text()
    for private in (str(home.path), "records.sqlite", home.person_secret().hex()):
        assert private not in text
    public = {plan.sha256, plan.study, home.settings.name, home.signing_key().public, "partner", "train", "table",
              installed_bundle_sha256(), sha256_hex((home.path / POLICY_FILE).read_bytes()), *committed(home),
              *(request_sha256(model_request(plan, number)) for number in (0, 1))}
    for line in text.splitlines():
        for value in json.loads(line)["facts"].values():
            assert value in public or isinstance(value, bool) or value in (1, price(plan).total, price(plan).delta)


def broken(home: NodeHome, how: str) -> None:
    """Make the journal unusable."""
    path = path_of(home)
    home.journal()
    if how == "edited":
        path.write_bytes(path.read_bytes().replace(b"partner-0", b"partner-1"))
    elif how == "cut off":
        os.truncate(path, 0)
    elif how == "headless":
        home.journal().append(Refused(plan_sha256=NO_PLAN, code=RefusalCode.FAILED))
        head_path(path).unlink()
    else:
        path.unlink()
        path.mkdir()


BROKEN = ["edited", "cut off", "headless", "a folder"]


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("kind", [TRAIN, TABLE])
def test_without_a_journal_nothing_is_charged_touched_or_answered(
    home: NodeHome, plan: StudyPlan, how: str, kind: str, monkeypatch: pytest.MonkeyPatch,
) -> None:
    approve(home, plan)
    broken(home, how)
    monkeypatch.setattr(work, "prepare", lambda *_: pytest.fail("data was touched"))
    assert ask(home, plan, kind, model_request(plan, int(kind == TRAIN))).code == RefusalCode.NOT_CONFIGURED
    assert not has_account(home)


def test_without_room_for_an_entry_nothing_is_charged_or_touched(home: NodeHome, plan: StudyPlan,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    approve(home, plan)
    monkeypatch.setattr(work, "prepare", lambda *_: pytest.fail("data was touched"))

    def full(self: Journal) -> None:
        raise InputError("journal.jsonl", "cannot be read or written (No space left on device)")

    monkeypatch.setattr(Journal, "check_writable", full)
    assert ask(home, plan, TRAIN, model_request(plan, 1)).code == RefusalCode.NOT_CONFIGURED
    assert not has_account(home)


def test_a_kept_reply_does_not_leave_without_a_journal_either(home: NodeHome, plan: StudyPlan) -> None:
    approve(home, plan)
    assert ask(home, plan, TRAIN, model_request(plan, 1)).code == OK
    whole = path_of(home).read_bytes()
    broken(home, "edited")
    assert ask(home, plan, TRAIN, model_request(plan, 1)).code == RefusalCode.NOT_CONFIGURED
    path_of(home).write_bytes(whole)
    assert ask(home, plan, TRAIN, model_request(plan, 1)).code == OK


def test_a_reply_that_the_journal_could_not_take_stays_here_until_it_can(
    home: NodeHome, plan: StudyPlan, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The disk fills up while the work is done."""
    approve(home, plan)
    real = Journal.append

    def full(self: Journal, facts: Facts, **more: bool) -> Any:
        if isinstance(facts, Answered):
            raise InputError("journal.jsonl", "cannot be read or written (No space left on device)")
        return real(self, facts, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", full)
        assert ask(home, plan, TRAIN, model_request(plan, 1)).code == RefusalCode.NOT_CONFIGURED
    with existing_account(home) as account:
        spent = account.balance(home.policy().ceilings).total.epsilon
    assert ask(home, plan, TRAIN, model_request(plan, 1)).code == OK
    with existing_account(home) as account:
        assert account.balance(home.policy().ceilings).total.epsilon == spent
    refused, answered = acts(home)[1:]
    assert refused == Refused(plan_sha256=plan.sha256, code=RefusalCode.NOT_CONFIGURED)
    assert isinstance(answered, Answered)
    assert (answered.kept, [answered.reply_sha256]) == (True, committed(home))


@pytest.mark.parametrize("how", BROKEN)
def test_a_refusal_stays_one_without_a_journal(home: NodeHome, plan: StudyPlan, how: str) -> None:
    broken(home, how)
    assert ask(home, plan, TRAIN, model_request(plan, 1)).code == RefusalCode.NOT_APPROVED


@pytest.mark.parametrize("how", BROKEN)
def test_without_a_journal_nothing_is_approved_and_what_is_declined_is_declined(
    home: NodeHome, plan: StudyPlan, tmp_path: Path, how: str,
) -> None:
    file = tmp_path / "plan.json"
    file.write_text(sign(plan).to_json())
    approve(home, plan)
    broken(home, how)
    other = make_plan(learning_rate=2.0)
    with pytest.raises(InputError, match="journal"):
        approve(home, other)
    assert find_approval(home, other.sha256) is None

    result = CliRunner().invoke(console, ["decline", str(file), "--home", str(home.path)])
    assert result.exit_code == 2
    assert "The plan is declined all the same, and the journal does not hold it" in result.stderr
    with pytest.raises(Refusal):
        require_approval(home, plan)


def test_the_approve_command_says_what_is_wrong_with_the_journal(home: NodeHome, plan: StudyPlan,
                                                                 tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text(sign(plan).to_json())
    broken(home, "edited")
    result = CliRunner().invoke(console, ["approve", str(file), "--home", str(home.path), "--yes"])
    assert result.exit_code == 2
    assert "journal.jsonl" in result.stderr
    assert "declined" not in result.stderr
    assert find_approval(home, plan.sha256) is None


def test_the_journal_of_another_partner_is_not_written_on(tmp_path: Path, plan: StudyPlan, home: NodeHome) -> None:
    Journal.open_or_create(path_of(home), key=partner_key(1), owner="partner-1", side=Side.PARTNER)
    before = path_of(home).read_bytes()
    with pytest.raises(InputError):
        approve(home, plan)
    assert path_of(home).read_bytes() == before
