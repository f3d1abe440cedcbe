"""Studies summed securely, over the real ClientApp: what comes out, who may drop out, and what is never seen."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message, RecordDict

from clients.counting import noisy_tables, true_tables
from clients.features import prepare
from clients.node import NodeHome
from clients.people import training_people
from clients.training import StepRule, gradient_share
from federation.messages import OK, Request, request_sha256
from federation.model import initial_model, load_arrays, model_arrays
from federation.plan import StudyPlan
from federation.privacy.guarantee import partner_noise, table_variances
from federation.secure import MOST_PEOPLE, Purpose, session_of
from federation.statistics import LEVELS, TableLayout
from federation.taxonomy import Family
from server.aggregation import gradient_step
from server.rounds import RoundLoop, StudyStopped
from tests.server.test_rounds import Recorder, Ticking, grid_for, homes
from tests.worlds import COARSE, make_home, make_plan, make_records

SCALE = 6.0


def secure_plan(partners: int = 4, **options: Any) -> StudyPlan:
    return make_plan(partners, **{"secure": "both", "colluders": 1, "quorum": partners - 1, "noise_scale": SCALE,
                                  "deadline": 50.0, **options})


def run(root: Path, plan: StudyPlan, **options: Any) -> Any:
    return RoundLoop(grid_for(plan, homes(root, len(plan.roster)), **options), plan, Recorder(),
                     clock=Ticking(1)).run()


def test_a_study_in_sums_runs_and_repeats_to_the_byte(tmp_path: Path) -> None:
    plan = secure_plan()
    first, second = (run(tmp_path / str(i), plan) for i in range(2))
    assert [stage.stage for stage in first.stages] == ["hello", "round 1", "round 2", "table"]
    assert all(len(stage.answered) == 4 for stage in first.stages)
    # Masks and keys are fresh each time and leave no trace in a sum.
    assert first.model["output.weight"].tobytes() == second.model["output.weight"].tobytes()
    assert (first.measurements.values == second.measurements.values).all()
    assert first.measurements.variances == {
        family: pytest.approx(4 * (SCALE * COARSE.get(family, 1.0)) ** 2 / 2) for family in plan.statistics.families}


def test_the_sum_is_that_of_the_partners_tables_and_of_nothing_else(tmp_path: Path) -> None:
    plan = secure_plan(secure="table")
    outcome, layout = run(tmp_path / "secure", plan), TableLayout(plan)
    model = load_arrays(initial_model(plan), outcome.model)
    asked = request_sha256(Request(plan_sha256=plan.sha256, round_number=1, arrays=outcome.model))
    true, noisy = layout.empty(), layout.empty()
    for home, entry in zip(homes(tmp_path / "again", 4), plan.roster, strict=True):
        stream, prepared = home.noise_stream(plan.sha256, asked, "table"), prepare(home, plan)
        true += true_tables(home, plan, entry, prepared, model)
        noisy += noisy_tables(home, plan, entry, prepared, model, stream=stream)
    assert (outcome.measurements.values == noisy).all()
    for family, variance in outcome.measurements.variances.items():
        difference = outcome.measurements.table(family) - layout.table(true, family)
        assert 0 < np.abs(difference).max() < 5 * math.sqrt(variance), family
    # Everybody counts once at each level, and in their own partner's column.
    people = [len({record.actor_key for record in make_records(30, seed=i, people=20)}) for i in range(4)]
    assert [layout.table(true, family)[..., 0].sum() for family in LEVELS.values()] == [sum(people)] * 3
    assert layout.table(true, Family.DOMINANCE).sum(axis=(0, 1)).tolist() == people


def test_the_session_of_the_tables_holds_all_families() -> None:
    plan = secure_plan()
    sizes = {family: block.size for family, block in TableLayout(plan).blocks.items()}
    assert set(sizes) == set(plan.statistics.families)
    session = session_of(plan, Purpose.TABLE, 1, 0, "0" * 64)
    assert session.length == sum(sizes.values())
    # The largest noise of any family fits, above the most that people can add.
    noise = partner_noise(plan).tables
    assert noise[Family.DOMINANCE] == max(noise.values()) > min(noise.values())
    assert session.bound >= MOST_PEOPLE + 13 * max(noise.values())


def test_a_round_is_one_step_along_the_exact_sum_of_everybodys_gradients(tmp_path: Path) -> None:
    plan = secure_plan(rounds=1)
    outcome = run(tmp_path, plan)
    total = np.zeros(plan.model_size, dtype=np.int64)
    start = model_arrays(initial_model(plan))
    for home in homes(tmp_path / "again", 4):
        entry = plan.partner(home.settings.name)
        assert entry is not None
        request = Request(plan_sha256=plan.sha256, round_number=1, arrays=start)
        stream = home.noise_stream(plan.sha256, request_sha256(request), "train", "1")
        assert stream is not None
        total += gradient_share(
            initial_model(plan), training_people(home, plan, entry, prepare(home, plan)),
            StepRule.of(plan.training, entry.slots), noise_scale=partner_noise(plan).training, stream=stream)
    expected = gradient_step(plan, start, total, [entry.name for entry in plan.roster])
    assert outcome.model["output.weight"].tobytes() == expected["output.weight"].tobytes()


@pytest.mark.parametrize("exchange", ["keys", "shares", "masked", "survivors", "unmask"])
def test_a_partner_may_fall_silent_at_any_exchange(tmp_path: Path, exchange: str) -> None:
    plan, watch = secure_plan(5, quorum=4), Recorder()
    # From its first sum on, at this exchange, the second node answers nothing; others are asked as before.
    silent = grid_for(plan, homes(tmp_path, 5), silent=lambda node, kind: node == 2 and kind == f"query.{exchange}")
    outcome = RoundLoop(silent, plan, watch, clock=Ticking(20)).run()
    # Whose vector is in the sum is a survivor, whatever came after.
    alive = 5 if exchange in ("survivors", "unmask") else 4
    assert [len(report.answered) for report in watch.reports] == [5, alive, alive, alive]
    assert len(outcome.measurements.partners) == alive
    assert outcome.measurements.variances == table_variances(plan, alive)


@pytest.mark.parametrize("exchange", ["keys", "shares", "masked", "survivors", "unmask"])
def test_with_too_few_the_study_stops_and_says_at_which_exchange(tmp_path: Path, exchange: str) -> None:
    plan = secure_plan(4)
    silent = grid_for(plan, homes(tmp_path, 4), silent=lambda node, kind: node < 3 and kind == f"query.{exchange}")
    with pytest.raises(StudyStopped, match=rf"round 1: secure aggregation stopped at stage {exchange}.*quorum is 3"):
        RoundLoop(silent, plan, Recorder(), clock=Ticking(20)).run()


def views(grid: Any) -> list[RecordDict]:
    """Record every reply that the coordinator gets."""
    seen: list[RecordDict] = []
    pull = grid.pull_messages

    def watched(identifiers: Any) -> list[Message]:
        messages = list(pull(identifiers))
        seen.extend(message.content for message in messages)
        return messages

    grid.pull_messages = watched
    return seen


def test_the_coordinators_whole_view_holds_no_count_weight_or_metric(tmp_path: Path) -> None:
    plan = secure_plan()
    nodes = homes(tmp_path, 4)
    grid = grid_for(plan, nodes)
    seen = views(grid)
    RoundLoop(grid, plan, Recorder(), clock=Ticking(1)).run()
    # hello, and five exchanges for each of three sums, with four partners.
    assert len(seen) == 4 + 3 * 5 * 4
    sizes = set()
    for content in seen:
        assert set(content) <= {"reply", "payload"}
        assert not content.metric_records
        assert not content.array_records
        reply = dict(content.config_records["reply"])
        assert reply["code"] == OK
        assert set(reply) == {"code", "partner", "signature"}
        if "payload" in content:
            (payload,) = content.config_records["payload"].values()
            assert isinstance(payload, bytes)
            sizes.add(len(payload))
    # Sizes are those of the plan: a partner with other records sends messages of the same sizes.
    other = homes_with(tmp_path / "other", 4, records=200)
    grid = grid_for(plan, other)
    again = views(grid)
    RoundLoop(grid, plan, Recorder(), clock=Ticking(1)).run()
    assert {len(payload) for content in again if "payload" in content
            for payload in content.config_records["payload"].values() if isinstance(payload, bytes)} == sizes


def homes_with(root: Path, count: int, *, records: int) -> list[NodeHome]:
    return [make_home(root, i, records=make_records(records, seed=90 + i, people=60)) for i in range(count)]
