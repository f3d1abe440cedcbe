"""A partner's own shares, and the table of scores through messages: charged once, the same again, refused by rule."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given, settings

from clients.accounts import existing_account
from clients.calibration import own_priors
from clients.node import NodeHome
from federation.calibration import own_prior
from federation.canonical import sha256_hex
from federation.messages import OK, TABLE
from federation.model import initial_model, model_arrays
from federation.plan import StudyPlan
from federation.plan_statistics import ScoresSpec
from federation.privacy.guarantee import price
from federation.statistics import TableLayout
from federation.taxonomy import Family, LabelValue, Task
from tests.clients.frames import Row, counting, frame_of, of_person, some_rows
from tests.clients.test_app import ask
from tests.worlds import POLICY, make_home, make_plan, make_records

PLAN = make_plan(statistics={"scores": ScoresSpec(bins=12, reach=0.6)})
OWN = PLAN.roster[1]


@pytest.fixture(autouse=True)
def _identity() -> None:
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> NodeHome:
    return make_home(tmp_path_factory.mktemp("shares"), 1)


def twin(home: NodeHome, plan: StudyPlan, rows: list[Row], task: Task) -> float:
    """Person by person, label by label."""
    order, holdout, sums = home.keyed(f"training/{plan.sha256}"), home.keyed("holdout"), [0.0, 0.0]
    good = (LabelValue.POSITIVE, LabelValue.NEGATIVE)
    for person in {row.person for row in rows}:
        labelled = [row for row in of_person(rows, person) if any(row.labels.get(one) in good for one in plan.tasks)]
        labelled.sort(key=lambda row: order.value("record", row.id))
        labels = [row.labels[task] for row in labelled[:plan.training.max_records_per_person]
                  if row.labels.get(task) in good]
        if holdout.value(person) >= plan.holdout_share and labels:
            for at, value in enumerate(good):
                sums[at] += labels.count(value) / len(labels)
    return own_prior(positives=sums[0], negatives=sums[1], declared=OWN.declared_prevalence[task])


@settings(max_examples=60)
@given(some_rows())
def test_shares_are_those_of_a_twin(home: NodeHome, rows: list[Row]) -> None:
    plan = counting(PLAN, holdout_share=0.3)
    assert own_priors(home, plan, OWN, frame_of(rows)) == pytest.approx(
        [twin(home, plan, rows, task) for task in plan.tasks])


def test_who_is_held_out_is_not_in_a_share_and_a_partner_without_labels_keeps_what_it_declared(home: NodeHome) -> None:
    rows = [Row(f"{person}", labels={Task.DISTRESS: LabelValue.POSITIVE}) for person in range(50)]
    declared = [math.log(OWN.declared_prevalence[task] / (1 - OWN.declared_prevalence[task])) for task in PLAN.tasks]
    found = own_priors(home, counting(PLAN, holdout_share=0.0), OWN, frame_of(rows))
    assert found[0] == pytest.approx(declared[0])
    assert found[1] > declared[1] + 1
    assert own_priors(home, counting(PLAN, holdout_share=1.0), OWN, frame_of(rows)) == pytest.approx(declared)
    undeclared = OWN.model_copy(update={"declared_prevalence": {}})
    assert own_priors(home, PLAN, undeclared, frame_of([])) == [0.0, 0.0]


def test_the_table_with_scores_is_paid_for_once_and_is_the_same_after_a_restart(tmp_path: Path) -> None:
    # From the operating system, so that the same bytes can only come from the account.
    earnest = PLAN.model_copy(update={"rehearsal": False})
    home = make_home(tmp_path, 0, records=make_records(60, people=40), noise_seed=None)
    model = model_arrays(initial_model(earnest))
    first = ask(home, earnest, TABLE, arrays=model)
    again = ask(NodeHome.load(home.path), earnest, TABLE, arrays=model)
    assert first.code == again.code == OK
    assert first.table is not None
    assert (first.table == again.table).all()
    assert TableLayout(earnest).table(first.table, Family.SCORES).any()
    with existing_account(home) as account:
        balance = account.balance(home.policy().ceilings)
        assert account.verify_full().entries == 4  # opened, held, reserved, committed
    assert balance.total.epsilon == pytest.approx(price(earnest, delta=balance.delta).total, rel=1e-6)


def test_a_partner_whose_rules_do_not_name_the_scores_refuses_them(tmp_path: Path) -> None:
    others = tuple(name for name in POLICY.statistics if name != "scores")
    policy = POLICY.model_copy(update={"statistics": others})
    home = make_home(tmp_path, 0, records=make_records(20), policy=policy)
    model = model_arrays(initial_model(PLAN))
    (finding,) = (one for one in policy.findings(PLAN) if one.rule == "statistics")
    assert not finding.met
    assert "scores" in finding.asked
    assert ask(home, PLAN, TABLE, arrays=model, approved=False).code != OK
    plain = make_plan()
    assert ask(home, plain, TABLE, arrays=model).code == OK


def test_without_scores_a_node_answers_to_the_byte_what_it_answered_before_there_were_any(tmp_path: Path) -> None:
    plain = make_plan()
    home = make_home(tmp_path, 0, records=make_records(60, people=40))
    model = model_arrays(initial_model(plain))
    table = ask(home, plain, TABLE, arrays=model).table
    assert table is not None
    assert len(table) == TableLayout(PLAN).length - 2 * 2 * 12
    # Checked once against the version before there were scores, then made anew when plans got a start for the model:
    # the hash of a plan is in what noise is drawn from.
    assert sha256_hex(table.tobytes()) == "0d465aa2ffd851e4cc93ab4930a0eca1ae9901208b613bd2e0673a19eb7fe65f"
