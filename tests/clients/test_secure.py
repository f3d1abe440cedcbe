"""A node in a secure sum, and a coordinator that does not keep to the protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from base64 import b64decode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from clients import work
from clients.accounts import existing_account, has_account, open_account
from clients.app import app
from clients.console_ledger import balance_text
from clients.known import KNOWN_FILE, know, known_partners, unknown_partners
from clients.ledger import LedgerRequest
from clients.ledger import Stage as LedgerStage
from clients.ledger.requests import planned_stages
from clients.node import NodeHome
from clients.sessions import SessionFiles, sweep
from federation.errors import InputError, Refusal, RefusalCode
from federation.messages import (
    HELLO,
    OK,
    TABLE,
    TRAIN,
    Reply,
    Request,
    SumRequest,
    read_reply,
    request_content,
    request_sha256,
)
from federation.model import initial_model, model_arrays
from federation.plan import StudyPlan
from federation.privacy.guarantee import table_variances
from federation.secagg import Collector, SessionSpec, Stage
from federation.secagg.relays import UnmaskRequest
from federation.secagg.shamir import SHARE_BYTES
from federation.secagg.state import Closed, Signed, state_from_bytes
from federation.secure import Purpose, session_of
from federation.statistics import TableLayout
from federation.taxonomy import Family
from tests.worlds import POLICY, approve, make_home, make_plan, make_records, partner_key, sign

ZERO = "0" * 64
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _identity() -> None:
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1


@pytest.fixture
def plan() -> StudyPlan:
    return make_plan(4, secure="both", colluders=1, quorum=3, noise_scale=6.0)


def asked_about(plan: StudyPlan, number: int = 1) -> str:
    return request_sha256(Request(plan_sha256=plan.sha256, round_number=number,
                                  arrays=model_arrays(initial_model(plan))))


@dataclass
class Sum:
    """One session as a coordinator sees it, with four real nodes."""

    root: Path
    plan: StudyPlan
    purpose: Purpose = Purpose.TABLE
    number: int = 1
    attempt: int = 5
    homes: dict[str, NodeHome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.homes:
            for number in range(4):
                home = make_home(self.root, number, records=make_records(30, seed=number, people=20))
                approve(home, self.plan)
                self.homes[home.settings.name] = home
        self.collector = Collector(self.spec)

    @property
    def asked(self) -> str:
        return asked_about(self.plan, self.number)

    @property
    def spec(self) -> SessionSpec:
        return session_of(self.plan, self.purpose, self.number, self.attempt, self.asked)

    def ask(self, name: str, stage: Stage, payload: bytes = b"", **changes: Any) -> Reply:
        arrays = model_arrays(initial_model(self.plan)) if stage is Stage.MASKED else None
        fields = {"plan_sha256": self.plan.sha256, "round_number": self.number, "arrays": arrays, "sum": SumRequest(
            purpose=self.purpose.value, attempt=self.attempt, model_sha256=self.asked, payload=payload)} | changes
        return answer(self.homes[name], self.plan, f"query.{stage}", Request(**fields))

    def all(self, stage: Stage, payloads: dict[str, bytes]) -> list[bytes]:
        replies = [self.ask(name, stage, payload) for name, payload in payloads.items()]
        assert [reply.code for reply in replies] == [OK] * len(replies)
        return [reply.payload or b"" for reply in replies]

    def until(self, stage: Stage) -> dict[str, bytes]:
        """Take all exchanges before `stage`, and give what is to be sent for it."""
        steps = {Stage.KEYS: self.collector.keys, Stage.SHARES: self.collector.shares,
                 Stage.MASKED: self.collector.masked, Stage.SURVIVORS: self.collector.survivors}
        payloads: dict[str, bytes] = dict.fromkeys(self.homes, b"")
        for at, step in steps.items():
            if at is stage:
                break
            made: Any = step(self.all(at, payloads))  # type: ignore[operator]
            payloads = made if isinstance(made, dict) else dict.fromkeys(self.collector.present, made)
        return payloads


def answer(home: NodeHome, plan: StudyPlan, kind: str, request: Request) -> Reply:
    context = Context(run_id=1, node_id=1, node_config={"node-home": str(home.path)}, state=RecordDict(),
                      run_config={"plan": sign(plan).to_json()})
    return read_reply(app(Message(request_content(request), 1, kind), context))


@pytest.mark.parametrize("kind", [TRAIN, TABLE])
def test_what_is_to_be_summed_never_leaves_by_itself(tmp_path: Path, plan: StudyPlan, kind: str) -> None:
    # It would carry a share of the noise alone.
    home = Sum(tmp_path, plan).homes["partner-0"]
    request = Request(plan_sha256=plan.sha256, round_number=1, arrays=model_arrays(initial_model(plan)))
    assert answer(home, plan, kind, request).code == RefusalCode.BAD_REQUEST
    assert not has_account(home)


@pytest.mark.parametrize("changes", [
    {"sum": None}, {"round_number": 0}, {"round_number": 2}, {"round_number": -1},
    *({"sum": SumRequest(purpose=purpose, attempt=attempt, model_sha256=ZERO)}
      for purpose, attempt in (("other", 5), ("table", -1), ("table", 10**12), ("TABLE", 5))),
])
def test_a_sum_that_is_not_in_the_plan_is_refused(tmp_path: Path, plan: StudyPlan, changes: dict[str, Any]) -> None:
    held = Sum(tmp_path, plan)
    assert held.ask("partner-0", Stage.KEYS, **changes).code == RefusalCode.BAD_REQUEST
    local = make_plan(4)
    approve(held.homes["partner-0"], local)
    held.plan, request = local, Request(plan_sha256=local.sha256, round_number=1,
                                        sum=SumRequest(purpose="table", attempt=5, model_sha256=ZERO))
    assert answer(held.homes["partner-0"], local, "query.keys", request).code == RefusalCode.BAD_REQUEST


@pytest.mark.parametrize("record", [
    {"purpose": "table", "attempt": True, "model_sha256": ZERO, "payload": b""},
    {"purpose": 3, "attempt": 5, "model_sha256": ZERO, "payload": b""},
    {"purpose": "table", "attempt": 5, "model_sha256": ZERO, "payload": "text"},
    {"purpose": "table", "attempt": 5, "model_sha256": ZERO},
    {"purpose": "table", "attempt": 5, "payload": b""},
    {"purpose": "table", "attempt": 5.0, "model_sha256": ZERO, "payload": b""},
])
def test_a_malformed_sum_is_a_bad_request(tmp_path: Path, plan: StudyPlan, record: dict[str, Any]) -> None:
    home = Sum(tmp_path, plan).homes["partner-0"]
    content = request_content(Request(plan_sha256=plan.sha256, round_number=1))
    content["sum"] = ConfigRecord(record)
    context = Context(run_id=1, node_id=1, node_config={"node-home": str(home.path)}, state=RecordDict(),
                      run_config={"plan": sign(plan).to_json()})
    assert read_reply(app(Message(content, 1, "query.keys"), context)).code == RefusalCode.BAD_REQUEST


def test_four_nodes_hold_a_session(tmp_path: Path, plan: StudyPlan) -> None:
    held = Sum(tmp_path, plan)
    payloads = held.until(Stage.UNMASK)
    total = held.collector.unmask(held.all(Stage.UNMASK, payloads))
    assert total.survivors == tuple(held.homes)
    # What each entry of the sum carries is 4 / 2 times the plan's variance.
    layout = TableLayout(plan)
    people = [len({record.actor_key for record in make_records(30, seed=number, people=20)}) for number in range(4)]
    for family, cells in ((Family.REGIONS, 6), (Family.SUPER_REGIONS, 4), (Family.COUNTRIES, 2)):
        reviewed = layout.table(total.values, family)[..., 0]
        spread = (cells * table_variances(plan, 4)[family]) ** 0.5
        assert reviewed.sum() == pytest.approx(sum(people), abs=5 * spread)
    by_partner = layout.table(total.values, Family.DOMINANCE).sum(axis=(0, 1))
    spread = (6 * table_variances(plan, 4)[Family.DOMINANCE]) ** 0.5
    assert by_partner.tolist() == [pytest.approx(own, abs=5 * spread) for own in people]


def test_the_same_request_gets_the_same_answer_and_another_none(tmp_path: Path, plan: StudyPlan) -> None:
    held = Sum(tmp_path, plan)
    for stage in (Stage.KEYS, Stage.SHARES, Stage.MASKED, Stage.SURVIVORS):
        fresh = Sum(tmp_path, plan, homes=held.homes, attempt=10 + [*Stage].index(stage),
                    number=1 if stage is not Stage.MASKED else 2, purpose=Purpose.TRAIN)
        payloads = fresh.until(stage)
        first, again = (fresh.ask("partner-1", stage, payloads["partner-1"]) for _ in range(2))
        assert first.code == again.code == OK
        assert first.payload == again.payload


def test_keys_are_asked_for_once_the_session_has_gone_further(tmp_path: Path, plan: StudyPlan) -> None:
    held = Sum(tmp_path, plan)
    held.until(Stage.MASKED)
    assert held.ask("partner-1", Stage.KEYS).code == RefusalCode.SESSION_REFUSED


def test_an_unmasking_is_answered_again_word_for_word_and_no_other(tmp_path: Path, plan: StudyPlan) -> None:
    held = Sum(tmp_path, plan)
    payload = held.until(Stage.UNMASK)["partner-1"]
    first = held.ask("partner-1", Stage.UNMASK, payload)
    assert first.code == OK
    # The same list with another choice of signatures is another request.
    request = UnmaskRequest.decode(payload, held.spec)
    fewer = UnmaskRequest(survivors=request.survivors, signatures=request.signatures[:-1]).encode()
    for other in (fewer, b"", payload + b" "):
        assert held.ask("partner-1", Stage.UNMASK, other).code == RefusalCode.SESSION_REFUSED
    again = held.ask("partner-1", Stage.UNMASK, payload)
    assert (again.code, again.payload) == (OK, first.payload)
    # Nor does a session that has ended go back to any earlier exchange.
    for stage in (Stage.SHARES, Stage.SURVIVORS):
        assert held.ask("partner-1", stage, payload).code == RefusalCode.SESSION_REFUSED
    # Once the file is swept, nothing is left to answer with.
    sweep(held.homes["partner-1"].sessions_dir, clock=lambda: 4e9)
    assert held.ask("partner-1", Stage.UNMASK, payload).code == RefusalCode.SESSION_REFUSED


def test_the_account_says_what_its_figures_rest_on(tmp_path: Path, plan: StudyPlan) -> None:
    for number, (secure, expected) in enumerate((("both", 1), ("table", 1), ("", None))):
        asked = make_plan(4, secure=secure, colluders=1, quorum=3, noise_scale=6.0)
        stages = planned_stages(asked)
        assert [stage.colluders for stage in stages] == [1 if secure == "both" else None, 1 if secure else None]
        home = make_home(tmp_path / str(number), 0)
        request = LedgerRequest.of(asked, LedgerStage.TABLE, 1, ZERO)
        with open_account(home, POLICY.ceilings) as ledger:
            ledger.answer(request, ceilings=POLICY.ceilings, work=lambda: b"reply")
            balance = ledger.balance(POLICY.ceilings)
            ledger.export(tmp_path / f"{number}.jsonl")
        assert [study.colluders for study in balance.studies] == [expected]
        assert ("true while at most 1 of its partners works" in balance_text(balance)) is bool(secure)
        # And so does what an auditor gets.
        assert ('"colluders":1' in (tmp_path / f"{number}.jsonl").read_text().replace("\\", "")) is bool(secure)


def test_another_delivery_after_the_vector_gets_nothing(tmp_path: Path, plan: StudyPlan) -> None:
    held = Sum(tmp_path, plan)
    payloads = held.until(Stage.MASKED)
    assert held.ask("partner-1", Stage.MASKED, payloads["partner-1"]).code == OK
    assert held.ask("partner-1", Stage.MASKED, payloads["partner-2"]).code == RefusalCode.ALREADY_ANSWERED


def test_a_round_is_summed_once_whatever_the_attempt(tmp_path: Path, plan: StudyPlan) -> None:
    # A second vector for the same round, under other masks, would be a second look at the same people.
    first = Sum(tmp_path, plan)
    sent = first.until(Stage.MASKED)
    assert first.all(Stage.MASKED, sent)
    second = Sum(tmp_path, plan, homes=first.homes, attempt=6)
    payloads = second.until(Stage.MASKED)
    # Nor is the first attempt's answer taken for the second's.
    for payload in (payloads["partner-1"], sent["partner-1"]):
        assert second.ask("partner-1", Stage.MASKED, payload).code == RefusalCode.ALREADY_ANSWERED


def test_an_attempt_that_ended_before_the_vectors_costs_nothing(tmp_path: Path, plan: StudyPlan) -> None:
    first = Sum(tmp_path, plan)
    first.until(Stage.MASKED)
    assert not has_account(first.homes["partner-1"])
    second = Sum(tmp_path, plan, homes=first.homes, attempt=6)
    assert second.all(Stage.MASKED, second.until(Stage.MASKED))


def test_a_session_whose_step_failed_is_over(tmp_path: Path, plan: StudyPlan) -> None:
    held = Sum(tmp_path, plan)
    payloads = held.until(Stage.SHARES)
    assert held.ask("partner-1", Stage.SHARES, b"nonsense").code == RefusalCode.SESSION_REFUSED
    assert held.ask("partner-1", Stage.SHARES, payloads["partner-1"]).code == RefusalCode.SESSION_REFUSED


def test_another_model_than_the_sum_was_begun_for_is_refused(tmp_path: Path, plan: StudyPlan) -> None:
    # A coordinator that asks one partner about a model that flags everybody, and the others about one that flags
    # nobody, would read that partner's table out of the sum.
    held = Sum(tmp_path, plan)
    payloads = held.until(Stage.MASKED)
    other = model_arrays(initial_model(plan))
    other["output.weight"] += 1
    assert held.ask("partner-1", Stage.MASKED, payloads["partner-1"], arrays=other).code == RefusalCode.BAD_REQUEST
    lying = request_sha256(Request(plan_sha256=plan.sha256, round_number=1, arrays=other))
    named = SumRequest(purpose="table", attempt=5, model_sha256=lying, payload=payloads["partner-1"])
    assert held.ask("partner-1", Stage.MASKED, arrays=other, sum=named).code == RefusalCode.SESSION_REFUSED
    with existing_account(held.homes["partner-1"]) as ledger:
        assert ledger.verify_full().entries == 1  # opened, and nothing charged


def test_partners_that_were_told_of_different_models_are_in_different_sessions(
    tmp_path: Path, plan: StudyPlan,
) -> None:
    held = Sum(tmp_path, plan)
    first = held.collector.keys(held.all(Stage.KEYS, dict.fromkeys(held.homes, b"")))
    named = SumRequest(purpose="table", attempt=5, model_sha256="1" * 64)
    assert held.ask("partner-1", Stage.KEYS, sum=named).code == OK
    told = SumRequest(purpose="table", attempt=5, model_sha256="1" * 64, payload=first)
    assert held.ask("partner-1", Stage.SHARES, sum=told).code == RefusalCode.SESSION_REFUSED


@pytest.mark.parametrize("bad", ["no session", "bad delivery", "another's delivery"])
def test_what_cannot_be_answered_is_not_charged(tmp_path: Path, plan: StudyPlan, bad: str,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    held = Sum(tmp_path, plan)
    monkeypatch.setattr(work, "tables", lambda *_: pytest.fail("data was touched"))
    payloads = dict.fromkeys(held.homes, b"") if bad == "no session" else held.until(Stage.MASKED)
    payload = {"no session": b"", "bad delivery": b"junk", "another's delivery": payloads["partner-2"]}[bad]
    for _ in range(3):
        assert held.ask("partner-1", Stage.MASKED, payload).code == RefusalCode.SESSION_REFUSED
    with existing_account(held.homes["partner-1"]) as ledger:
        assert ledger.verify_full().entries == 1
    # A bad delivery has ended the session; that too costs nothing.
    assert held.ask("partner-1", Stage.MASKED, payloads["partner-1"]).code == RefusalCode.SESSION_REFUSED


def test_an_answer_is_given_again_for_its_own_exchange_alone(tmp_path: Path, plan: StudyPlan) -> None:
    held = Sum(tmp_path, plan)
    payloads = held.until(Stage.SHARES)
    shares = held.ask("partner-1", Stage.SHARES, payloads["partner-1"])
    for stage in (Stage.SURVIVORS, Stage.UNMASK):
        assert held.ask("partner-1", stage, payloads["partner-1"]).code == RefusalCode.SESSION_REFUSED
    again = held.ask("partner-1", Stage.SHARES, payloads["partner-1"])
    assert again.payload == shares.payload


def test_there_is_one_session_for_a_round_however_many_attempts(tmp_path: Path, plan: StudyPlan) -> None:
    held = Sum(tmp_path, plan)
    for attempt in range(20):
        held.attempt = attempt
        assert held.ask("partner-1", Stage.KEYS).code == OK
    assert len([*held.homes["partner-1"].sessions_dir.iterdir()]) == 2  # and the lock
    held.attempt = 7
    assert held.ask("partner-1", Stage.SHARES, b"x").code == RefusalCode.SESSION_REFUSED


def test_sweeping_at_once_is_safe(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"{number}.session").write_bytes(b"")
        os.utime(tmp_path / f"{number}.session", (1, 1))
    failed: list[BaseException] = []

    def swept() -> None:
        try:
            sweep(tmp_path)
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=swept) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert not [*tmp_path.glob("*.session")]


def test_of_a_session_that_ended_only_its_last_answer_is_left(tmp_path: Path, plan: StudyPlan) -> None:
    held = Sum(tmp_path, plan)
    # The last partner vanishes, so that shares of both kinds are asked for.
    sent = held.until(Stage.MASKED)
    alive = [name for name in sent if name != "partner-3"]
    listed = held.collector.masked(held.all(Stage.MASKED, {name: sent[name] for name in alive}))
    request = held.collector.survivors(held.all(Stage.SURVIVORS, dict.fromkeys(alive, listed)))
    folder = held.homes["partner-1"].sessions_dir
    (path,) = folder.glob("*.session")
    signed = state_from_bytes(b64decode(json.loads(path.read_bytes())["state"]), held.spec, "partner-1")
    answer = held.all(Stage.UNMASK, {"partner-1": request})[0]
    after = json.loads(path.read_bytes())
    assert state_from_bytes(b64decode(after["state"]), held.spec, "partner-1") == Closed()
    assert b64decode(after["answer"]) == answer
    assert isinstance(signed, Signed)
    kinds = {name: (both[:SHARE_BYTES] in answer, both[SHARE_BYTES:] in answer)
             for name, both in signed.holding.shares}
    assert kinds == {name: (name in alive, name not in alive) for name in held.homes}
    assert [path.stat().st_mode & 0o777 for path in (folder, *folder.glob("*.session"))] == [0o700, 0o600]


def test_a_session_that_nobody_ended_is_swept_away(tmp_path: Path, plan: StudyPlan) -> None:
    held = Sum(tmp_path, plan)
    held.until(Stage.MASKED)
    home = held.homes["partner-1"]
    (path,) = home.sessions_dir.glob("*.session")
    # Five exchanges, each of whose deadlines has passed twice; the time of the first answer counts.
    until = path.stat().st_mtime
    assert 9 < (until - time.time()) / plan.conduct.stage_deadline_seconds < 10
    for now, left in ((until - 1, 1), (until + 1, 0)):
        sweep(home.sessions_dir, clock=lambda at=now: at)
        assert len([*home.sessions_dir.glob("*.session")]) == left
    # The coordinator comes back: there is nothing to answer with, and nothing was spent.
    assert held.ask("partner-1", Stage.SHARES).code == RefusalCode.SESSION_REFUSED


def test_an_old_session_goes_with_whatever_message_comes_next(tmp_path: Path, plan: StudyPlan) -> None:
    held = Sum(tmp_path, plan)
    held.until(Stage.MASKED)
    (path,) = held.homes["partner-1"].sessions_dir.glob("*.session")
    other = make_plan(4, secure="both", colluders=1, quorum=3, noise_scale=7.0)
    part = path.with_name(".crashed.part")
    part.write_bytes(b"secret")
    for left in (path, part):
        os.utime(left, (1, 1))
    # Whatever comes next, from whichever plan.
    home = held.homes["partner-1"]
    approve(home, other)
    answer(home, other, HELLO, Request(plan_sha256=other.sha256, round_number=0))
    assert not path.exists()
    assert not part.exists()


@pytest.mark.parametrize("damage", [b"", b"{}", b"nonsense", None])
def test_a_damaged_session_is_refused(tmp_path: Path, plan: StudyPlan, damage: bytes | None) -> None:
    held = Sum(tmp_path, plan)
    payloads = held.until(Stage.SHARES)
    (path,) = held.homes["partner-1"].sessions_dir.glob("*.session")
    path.write_bytes(path.read_bytes().replace(b"A", b"B") if damage is None else damage)
    assert held.ask("partner-1", Stage.SHARES, payloads["partner-1"]).code == RefusalCode.SESSION_REFUSED


def test_a_crash_after_the_vector_was_masked_gives_no_second_one(tmp_path: Path, plan: StudyPlan,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    held = Sum(tmp_path, plan)
    payloads = held.until(Stage.MASKED)
    with monkeypatch.context() as patch:
        # The session's file is in place and the account's commit is not.
        patch.setattr("clients.secure.Reply", lambda **_: (_ for _ in ()).throw(OSError("crash")))
        assert held.ask("partner-1", Stage.MASKED, payloads["partner-1"]).code == RefusalCode.FAILED
    assert held.ask("partner-1", Stage.MASKED, payloads["partner-1"]).code == RefusalCode.SESSION_REFUSED


def test_a_vector_beyond_the_bound_ends_the_session_without_a_word_about_it(
    tmp_path: Path, plan: StudyPlan, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:
    held = Sum(tmp_path, plan)
    payloads = held.until(Stage.MASKED)
    with monkeypatch.context() as patch:
        patch.setattr(work, "tables", lambda *_: np.full(TableLayout(plan).length, 2**40))
        assert held.ask("partner-1", Stage.MASKED, payloads["partner-1"]).code == RefusalCode.FAILED
    assert str(2**40) not in caplog.text
    assert held.ask("partner-1", Stage.MASKED, payloads["partner-1"]).code == RefusalCode.SESSION_REFUSED


def test_a_node_without_records_does_not_enter(tmp_path: Path, plan: StudyPlan) -> None:
    home = make_home(tmp_path / "empty", 0)
    approve(home, plan)
    held = Sum(tmp_path, plan, homes={"partner-0": home})
    assert held.ask("partner-0", Stage.KEYS).code == RefusalCode.NOT_READY


def test_exchanges_but_the_third_need_no_torch(tmp_path: Path, plan: StudyPlan) -> None:
    held = Sum(tmp_path, plan)
    held.until(Stage.KEYS)
    script = (
        "import sys\n"
        "from flwr.supercore.task_identity import TaskIdentity\n"
        "TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1\n"
        "from flwr.app import Context, Message, RecordDict\n"
        "from clients.app import app\n"
        "from federation.messages import Request, SumRequest, request_content, read_reply\n"
        "home, plan, sha = sys.argv[1:]\n"
        "for stage in ('keys', 'shares', 'survivors', 'unmask'):\n"
        "    named = SumRequest(purpose='table', attempt=77, model_sha256='0' * 64)\n"
        "    request = Request(plan_sha256=sha, round_number=1, sum=named)\n"
        "    context = Context(run_id=1, node_id=1, node_config={'node-home': home}, state=RecordDict(),\n"
        "                      run_config={'plan': open(plan).read()})\n"
        "    print(read_reply(app(Message(request_content(request), 1, 'query.' + stage), context)).code)\n"
        "assert 'torch' not in sys.modules and 'opacus' not in sys.modules\n")
    (tmp_path / "plan.json").write_text(sign(plan).to_json())
    done = subprocess.run([sys.executable, "-c", script, str(held.homes["partner-1"].path), str(tmp_path / "plan.json"),
                           plan.sha256], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ok"] + ["session_refused"] * 3


# --- whose keys are in the roster


def test_a_roster_with_a_key_that_was_not_confirmed_is_refused(tmp_path: Path, plan: StudyPlan) -> None:
    held = Sum(tmp_path, plan)
    home = held.homes["partner-0"]
    impostor = plan.roster[2].model_copy(update={"public_key": partner_key(40).public})
    forged = plan.model_copy(update={"roster": (*plan.roster[:2], impostor, plan.roster[3])})
    approve(home, forged)
    named = SumRequest(purpose="table", attempt=5, model_sha256=ZERO)
    request = Request(plan_sha256=forged.sha256, round_number=1, sum=named)
    assert answer(home, forged, "query.keys", request).code == RefusalCode.NOT_ALLOWED
    assert [entry.name for entry in unknown_partners(home.path, "partner-0", forged)] == ["partner-2"]
    # Where no sum hides anything, other partners' keys do not matter.
    assert unknown_partners(home.path, "partner-0", make_plan(4)) == ()


def test_without_a_list_nobody_is_known(tmp_path: Path, plan: StudyPlan) -> None:
    home = Sum(tmp_path, plan).homes["partner-0"]
    (home.path / KNOWN_FILE).unlink()
    assert known_partners(home.path) == {}
    assert [entry.name for entry in unknown_partners(home.path, "partner-0", plan)] == [
        "partner-1", "partner-2", "partner-3"]


@pytest.mark.parametrize("text", ["- a\n", "ngo: 12\n", "ngo: zz\n", "NGO x: " + "a" * 64 + "\n", "{", "\x00"])
def test_a_list_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / KNOWN_FILE).write_text(text)
    (tmp_path / KNOWN_FILE).chmod(0o600)
    with pytest.raises(InputError, match="list of partners"):
        known_partners(tmp_path)


def test_a_list_that_others_can_change_is_refused(tmp_path: Path) -> None:
    know(tmp_path, {"ngo": "a" * 64})
    (tmp_path / KNOWN_FILE).chmod(0o620)
    with pytest.raises(InputError, match="others on this machine"):
        known_partners(tmp_path)


def test_keys_are_added_and_never_replaced(tmp_path: Path) -> None:
    know(tmp_path, {"ngo": "a" * 64})
    know(tmp_path, {"agency": "b" * 64, "ngo": "a" * 64})
    assert known_partners(tmp_path) == {"agency": "b" * 64, "ngo": "a" * 64}
    assert (tmp_path / KNOWN_FILE).stat().st_mode & 0o777 == 0o600
    for keys in ({"ngo": "c" * 64}, {"N G O": "a" * 64}, {"other": "a" * 63}, {"other": "A" * 64}):
        with pytest.raises(InputError):
            know(tmp_path, keys)
    assert known_partners(tmp_path) == {"agency": "b" * 64, "ngo": "a" * 64}


def test_sessions_belong_to_one_partner(tmp_path: Path, plan: StudyPlan) -> None:
    spec = session_of(plan, Purpose.TABLE, 1, 3, asked_about(plan))
    mine = SessionFiles(tmp_path / "sessions", name="partner-0", key=partner_key(0))
    mine.begin(spec, seconds=20)
    theirs = SessionFiles(tmp_path / "sessions", name="partner-1", key=partner_key(1))
    with pytest.raises(Refusal) as refused:
        theirs.advance(spec, lambda participant: participant.shares(b""))
    assert refused.value.code == RefusalCode.SESSION_REFUSED
