"""The round loop over the real ClientApp, with nodes that are late, silent, lying or broken."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Error, Message, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from clients.app import app as client_app
from clients.node import NodeHome
from federation.errors import InputError
from federation.identity import SigningKey
from federation.messages import OK, TABLE, TRAIN, Reply, read_reply, read_request, reply_content
from federation.plan import StudyPlan
from federation.signed_replies import sign_reply
from federation.statistics import TableLayout
from federation.taxonomy import Family
from server.aggregation import mean_of, weighted_mean
from server.coordinator import CoordinatorHome
from server.rounds import RoundLoop, StageReport, StudyStopped
from simulations.grid import InProcessGrid
from tests.server.scripted import Ticking
from tests.worlds import COARSE, COORDINATOR, approve, make_home, make_plan, make_records, partner_key, sign


class Recorder:
    def __init__(self) -> None:
        self.reports: list[StageReport] = []

    def stage_done(self, report: StageReport) -> None:
        self.reports.append(report)


def homes(root: Path, count: int = 3, **settings: Any) -> list[NodeHome]:
    return [make_home(root, i, records=make_records(30, seed=i, people=20), **settings) for i in range(count)]


def grid_for(plan: StudyPlan, nodes: list[NodeHome], **options: Any) -> InProcessGrid:
    for home in nodes:
        approve(home, plan)
    return InProcessGrid(client_app, [{"node-home": str(home.path)} for home in nodes], {"plan": sign(plan).to_json()},
                         **options)


def test_a_study_runs_and_repeats_to_the_byte(tmp_path: Path) -> None:
    plan = make_plan()
    outcomes = [RoundLoop(grid_for(plan, homes(tmp_path / str(run))), plan, Recorder()).run() for run in range(2)]
    assert [stage.stage for stage in outcomes[0].stages] == ["hello", "round 1", "round 2", "table"]
    assert all(len(stage.answered) == 3 for stage in outcomes[0].stages)
    for name, value in outcomes[0].model.items():
        assert value.tobytes() == outcomes[1].model[name].tobytes()
    assert (outcomes[0].measurements.values == outcomes[1].measurements.values).all()
    assert outcomes[0].measurements.variances == {
        family: pytest.approx(3 * (9.0 if family in COARSE else 6.0) ** 2) for family in plan.statistics.families}


def test_another_noise_seed_gives_another_result(tmp_path: Path) -> None:
    plan = make_plan()
    models = [RoundLoop(grid_for(plan, homes(tmp_path / str(seed), noise_seed=seed)), plan, Recorder()).run().model
              for seed in (1, 2)]
    assert not np.array_equal(models[0]["output.weight"], models[1]["output.weight"])


def test_noise_from_the_system_does_not_repeat(tmp_path: Path) -> None:
    plan = make_plan()
    # Other homes each time: one that was asked before gives the reply that it has kept.
    models = [RoundLoop(grid_for(plan, homes(tmp_path / str(i), noise_seed=None)), plan, Recorder()).run()
              for i in range(2)]
    assert not np.array_equal(models[0].model["output.weight"], models[1].model["output.weight"])
    assert not np.array_equal(models[0].measurements.values, models[1].measurements.values)


def test_a_silent_partner_is_named_and_the_rest_go_on(tmp_path: Path) -> None:
    plan, watch = make_plan(quorum=2, deadline=50), Recorder()
    silent = grid_for(plan, homes(tmp_path), silent=lambda node, kind: node == 2 and kind == TRAIN)
    outcome = RoundLoop(silent, plan, watch, clock=Ticking(20)).run()
    late = {report.stage: report.late for report in watch.reports}
    assert late == {"hello": (), "round 1": ("partner-1",), "round 2": ("partner-1",), "table": ()}
    assert outcome.measurements.partners == ("partner-0", "partner-1", "partner-2")


def test_below_the_quorum_the_study_stops_and_says_why(tmp_path: Path) -> None:
    plan, watch = make_plan(quorum=3, deadline=50), Recorder()
    silent = grid_for(plan, homes(tmp_path), silent=lambda node, kind: node == 2 and kind == TRAIN)
    with pytest.raises(StudyStopped, match=r"round 1: 2 of 3 .*quorum is 3.*partner-1"):
        RoundLoop(silent, plan, watch, clock=Ticking(20)).run()


def test_nobody_at_all_ends_in_time(tmp_path: Path) -> None:
    plan = make_plan(quorum=1, deadline=50)
    with pytest.raises(StudyStopped, match="hello: 0 of 3"):
        RoundLoop(grid_for(plan, homes(tmp_path), silent=lambda *_: True), plan, Recorder(), clock=Ticking(20)).run()


def test_a_node_that_declines_is_named_with_its_code(tmp_path: Path) -> None:
    plan, watch = make_plan(quorum=2), Recorder()
    nodes = [*homes(tmp_path, 2), make_home(tmp_path, 2)]  # nothing was ingested at the third
    outcome = RoundLoop(grid_for(plan, nodes), plan, watch).run()
    assert watch.reports[1].refused == (("partner-2", "not_ready"),)
    assert outcome.measurements.partners == ("partner-0", "partner-1")
    assert outcome.measurements.variances == {
        family: pytest.approx(2 * (9.0 if family in COARSE else 6.0) ** 2) for family in plan.statistics.families}
    # And nothing stands in the column of who was not there but the noise of those who were.
    assert np.abs(outcome.measurements.table(Family.DOMINANCE)[..., 2]).max() < 6 * 2**0.5 * 9.0


def test_a_home_that_trusts_another_coordinator_takes_no_part(tmp_path: Path) -> None:
    plan, watch = make_plan(quorum=2), Recorder()
    stranger = make_home(tmp_path, 2, records=make_records(5), coordinator_key=SigningKey.from_bytes(b"o" * 32).public)
    RoundLoop(grid_for(plan, [*homes(tmp_path, 2), stranger]), plan, watch).run()
    # It says who it is, signed, so that nobody waits for it.
    assert watch.reports[0].refused == (("partner-2", "plan_not_trusted"),)


class LyingGrid(InProcessGrid):
    """Puts something else in the place of what node 1 says in training, or to another kind of message."""

    lie: Callable[[Message, Message], RecordDict | Error]
    kind: str = TRAIN
    _asked: Message

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        listed = list(messages)
        for message in listed:
            if message.metadata.message_type == self.kind and message.metadata.dst_node_id == 1:
                self._asked = message
        return super().push_messages(listed)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        out = []
        for message in super().pull_messages(message_ids):
            if message.metadata.message_type == self.kind and message.metadata.src_node_id == 1:
                message = Message(self.lie(self._asked, message), reply_to=self._asked)
            out.append(message)
        return out


def lying(plan: StudyPlan, nodes: list[NodeHome], lie: Callable[[Message, Message], Any], kind: str) -> LyingGrid:
    for home in nodes:
        approve(home, plan)
    grid = LyingGrid(client_app, [{"node-home": str(home.path)} for home in nodes], {"plan": sign(plan).to_json()})
    grid.lie, grid.kind = lie, kind
    return grid


def signed_lie(**fields: Any) -> Callable[[Message, Message], RecordDict]:
    """What node 1 would say if it lied under its own key."""
    def lie(asked: Message, _made: Message) -> RecordDict:
        reply = Reply(**{"code": OK, "partner": "partner-0", **fields})
        return reply_content(sign_reply(reply, read_request(asked), asked.metadata.message_type, partner_key(0)))

    return lie


def _poisoned(value: float) -> Callable[[Message, Message], RecordDict]:
    def lie(asked: Message, made: Message) -> RecordDict:
        record = made.content.array_records["arrays"]
        return signed_lie(arrays={name: np.full_like(array.numpy(), value) for name, array in record.items()})(
            asked, made)

    return lie


def _altered(asked: Message, made: Message) -> RecordDict:
    """Another update under the signature of the true one, as somebody between node and coordinator could send."""
    reply = read_reply(made)
    assert reply.arrays is not None
    return reply_content(replace(reply, arrays={name: value + 1 for name, value in reply.arrays.items()}))


@pytest.mark.parametrize(("lie", "code"), [
    (_poisoned(float("nan")), "bad_reply"), (_poisoned(float("inf")), "bad_reply"),
    (signed_lie(), "bad_reply"), (signed_lie(partner="partner-1", arrays={}), "bad_signature"),
    (signed_lie(arrays={"x": np.zeros(1, dtype=np.float32)}), "bad_reply"),
    (lambda *_: Error(code=2, reason="row 17"), "failed"), (_altered, "bad_signature"),
    (lambda _asked, made: reply_content(replace(read_reply(made), signature="")), "bad_signature"),
    (lambda *_: RecordDict(), "failed"),
], ids=["nan", "inf", "no arrays", "another's name", "wrong arrays", "error", "altered", "unsigned", "empty"])
def test_a_bad_update_never_reaches_the_model(tmp_path: Path, lie: Any, code: str) -> None:
    plan, watch = make_plan(quorum=2), Recorder()
    outcome = RoundLoop(lying(plan, homes(tmp_path), lie, TRAIN), plan, watch).run()
    assert watch.reports[1].answered == ("partner-1", "partner-2")
    assert watch.reports[1].refused == (("partner-0", code),)
    assert "row 17" not in str(watch.reports)
    assert all(np.isfinite(value).all() for value in outcome.model.values())


@pytest.mark.parametrize("table", [
    None, np.zeros(1, dtype=np.int64), np.zeros((1, 106), dtype=np.int64), np.zeros(105, dtype=np.int64),
    np.zeros(106, dtype=np.float64), np.zeros(106, dtype=np.int32), np.zeros(106, dtype=np.float32),
], ids=["none", "short", "another shape", "one too few", "doubles", "32 bits", "floats"])
def test_bad_tables_never_reach_the_sum(tmp_path: Path, table: Any) -> None:
    plan, watch = make_plan(quorum=2), Recorder()
    assert TableLayout(plan).length == 106
    outcome = RoundLoop(lying(plan, homes(tmp_path), signed_lie(table=table), TABLE), plan, watch).run()
    assert outcome.measurements.partners == watch.reports[-1].answered == ("partner-1", "partner-2")
    assert watch.reports[-1].refused[0][0] == "partner-0"


@given(st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=4), st.randoms())
def test_weighted_mean_equals_its_naive_twin_in_any_order(values: list[float], random: Any) -> None:
    plan = make_plan_cached()
    entries = [e.model_copy(update={"slots": 2 ** (i + 3)}) for i, e in enumerate(plan.roster[:len(values)])]
    plan = plan.model_copy(update={"roster": tuple(entries)})
    pairs = [(entry.name, {"w": np.array([value], dtype=np.float32)})
             for entry, value in zip(entries, values, strict=False)]
    naive = sum(e.slots * v for e, v in zip(entries, values, strict=False)) / sum(e.slots for e in entries)
    ordered = weighted_mean(plan, dict(pairs))["w"]
    random.shuffle(pairs)
    assert weighted_mean(plan, dict(pairs))["w"].tobytes() == ordered.tobytes()
    assert float(ordered[0]) == pytest.approx(naive, abs=1e-4)


_CACHED: list[StudyPlan] = []


def make_plan_cached() -> StudyPlan:
    if not _CACHED:
        _CACHED.append(make_plan(4))
    return _CACHED[0]


def test_aggregation_refuses_nothing_and_strangers() -> None:
    plan = make_plan_cached()
    with pytest.raises(ValueError, match="no update"):
        weighted_mean(plan, {})
    with pytest.raises(ValueError, match="outside the roster"):
        weighted_mean(plan, {"stranger": {}})
    with pytest.raises(ValueError, match="no model"):
        mean_of([])


def test_an_outcome_survives_being_kept(tmp_path: Path) -> None:
    plan = make_plan()
    signed = sign(plan)
    outcome = RoundLoop(grid_for(plan, homes(tmp_path)), plan, Recorder()).run()
    home = CoordinatorHome.create(tmp_path / "coordinator", key=COORDINATOR)
    home.keep(signed, outcome)
    assert home.signed_plan() == signed
    assert (home.measurements().values == outcome.measurements.values).all()
    assert home.measurements().partners == outcome.measurements.partners
    assert home.measurements().variances == outcome.measurements.variances
    np.testing.assert_array_equal(home.model()["output.weight"], outcome.model["output.weight"])


def test_measurements_of_another_plan_or_another_length_are_not_taken_for_this_ones(tmp_path: Path) -> None:
    plan = make_plan()
    outcome = RoundLoop(grid_for(plan, homes(tmp_path)), plan, Recorder()).run()
    home = CoordinatorHome.create(tmp_path / "coordinator", key=COORDINATOR)
    home.keep(sign(plan), outcome)
    path = home.study(plan.sha256).measurements_path
    kept = json.loads(path.read_text())
    path.write_text(json.dumps(kept | {"values": kept["values"][:-1]}))
    with pytest.raises(InputError, match="other numbers than the plan's cells"):
        home.measurements()
    path.write_text(json.dumps(kept | {"plan_sha256": "0" * 64}))
    with pytest.raises(InputError, match="belongs to plan"):
        home.measurements()
    home.keep_plan(sign(plan.model_copy(update={"study": "another"})))
    with pytest.raises(InputError, match="secret file is missing"):
        home.measurements()
