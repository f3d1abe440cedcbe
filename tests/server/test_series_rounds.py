"""Three consecutive releases of a running total, over the real ClientApp and the coordinator's home."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clients import counting, work
from clients.accounts import existing_account
from clients.app import app as client_app
from clients.features import prepare
from clients.node import NodeHome
from clients.places import places
from clients.series import SeriesBook
from federation.areas import Areas
from federation.errors import InputError
from federation.exact import exact_logits
from federation.messages import TABLE
from federation.model import initial_model, load_arrays
from federation.plan import StudyPlan
from federation.plan_parts import SeriesSpec
from federation.privacy.accounting import DiscreteGaussianTable
from federation.privacy.guarantee import price
from federation.privacy.series import SCALE, decode_total, total_weights
from federation.records import Record
from federation.statistics import Measurements, TableLayout
from federation.taxonomy import AreaLevel, Family
from server.coordinator import CoordinatorHome
from server.release.content import Facts, build_content
from server.release.decide import kept_back_of
from server.rounds import RoundLoop, StudyOutcome
from server.series import SeriesMeasurement
from simulations.grid import InProcessGrid
from tests.server.test_rounds import Recorder, Ticking
from tests.worlds import COORDINATOR, POLICY, approve, make_home, make_plan, make_records, sign

QUARTERS = ((date(2025, 10, 1), date(2025, 12, 31)), (date(2026, 1, 1), date(2026, 3, 31)),
            (date(2026, 4, 1), date(2026, 6, 30)))
NOISE = 6.0


def plan_of(index: int, *, level: AreaLevel = AreaLevel.SUPER_REGION, **options: Any) -> StudyPlan:
    start, end = QUARTERS[index - 1]
    statistics = {"series": SeriesSpec(name="borders", index=index, level=level), "period_start": start}
    plan = make_plan(**{"statistics": statistics, "noise_scale": NOISE, "rounds": 1, "local_steps": 1, "quorum": 2,
                        "deadline": 50.0, **options})
    return plan.model_copy(update={"period_end": end})


def spread(records: list[Record]) -> list[Record]:
    """The same, over the three quarters."""
    return [record.model_copy(update={"observed_at": QUARTERS[i % 3][0]}) for i, record in enumerate(records)]


def make_homes(root: Path, count: int = 3, **settings: Any) -> list[NodeHome]:
    return [make_home(root, i, records=spread(make_records(24, seed=i, people=14)), **settings) for i in range(count)]


@dataclass
class Study:
    """A coordinator that runs one release after the other with the same nodes."""

    root: Path
    nodes: list[NodeHome]
    plans: list[StudyPlan] = field(default_factory=list)
    outcomes: list[StudyOutcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.home = CoordinatorHome.create(self.root / "coordinator", key=COORDINATOR)

    def run(self, plan: StudyPlan, *, without: tuple[int, ...] = (), **options: Any) -> StudyOutcome:
        """Run a release, at which some nodes are not there, and keep it."""
        there = [home for i, home in enumerate(self.nodes) if i not in without]
        for home in there:
            approve(home, plan)
        grid = InProcessGrid(client_app, [{"node-home": str(home.path)} for home in there],
                             {"plan": sign(plan).to_json()}, **options)
        outcome = RoundLoop(grid, plan, Recorder(), clock=Ticking(1 if not without else 20)).run()
        self.home.keep(sign(plan), outcome)
        self.plans.append(plan)
        self.outcomes.append(outcome)
        return outcome

    def content(self) -> dict[str, Any]:
        """What the newest release says."""
        plan, measured = self.plans[-1], self.outcomes[-1].measurements
        return build_content(Facts(
            plan=plan, partners=measured.partners, model_sha256="a" * 64, commitment="b" * 64, previous=None,
            released_on=date(2027, 1, 1), series=self.home.series.earlier(plan.statistics.series)), measured)

    def total(self) -> np.ndarray:
        """The running total of what was measured."""
        return decode_total([series_of(outcome) for outcome in self.outcomes])[0]

    def truth(self) -> np.ndarray:
        """One person after the other: where and how they count, in the first release in which they do."""
        plan = self.plans[0]
        areas, level = Areas.of(plan.statistics), AreaLevel.SUPER_REGION
        total = np.zeros(self.total().shape)
        for home in self.nodes:
            seen = set()
            for each, outcome in zip(self.plans, self.outcomes, strict=True):
                prepared, model = prepare(home, each), load_arrays(initial_model(each), outcome.model)
                for unit, place in places(home, each, prepared.frame).items():
                    if place.mentions and unit not in seen:
                        seen.add(unit)
                        one = place.mentions[0]
                        code = areas.above(areas.regions[one.region], level)
                        flags = exact_logits(model, prepared.inputs(np.array([one.row])))[0] >= 0
                        total[areas.codes(level).index(str(code)), one.role] += [1, *flags]
        return total


def series_of(outcome: StudyOutcome) -> np.ndarray:
    return outcome.measurements.table(Family.SERIES)


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """No noise in any table."""
    monkeypatch.setattr(counting, "add_discrete_gaussian", lambda table, _scale, _stream: table)


@pytest.mark.usefixtures("silence")
def test_without_noise_the_total_is_that_of_people_each_of_them_once(tmp_path: Path) -> None:
    study = Study(tmp_path, make_homes(tmp_path))
    people = [{record.actor_key for record in make_records(24, seed=i, people=14)} for i in range(3)]
    for index in (1, 2, 3):
        study.run(plan_of(index))
        np.testing.assert_array_equal(study.total(), study.truth())
    assert study.total()[..., 0].sum() == sum(map(len, people))
    # Some are in several quarters, and none is new in two.
    assert sum(outcome.measurements.table(Family.COUNTRIES)[..., 0].sum() for outcome in study.outcomes) > sum(
        map(len, people))
    newest = [series_of(outcome)[..., 0].sum() for outcome in study.outcomes]
    assert newest[0] < 256 * sum(map(len, people))
    found = study.content()["series"]
    assert (found["status"], found["name"], found["index"], found["level"]) == ("shown", "borders", 3, "super_region")
    assert [one["plan_sha256"] for one in found["releases"]] == [plan.sha256 for plan in study.plans]


def test_with_noise_the_total_is_the_truth_up_to_its_standard_deviation(tmp_path: Path) -> None:
    study = Study(tmp_path, make_homes(tmp_path))
    for index in (1, 2, 3):
        study.run(plan_of(index))
    sd = float(np.sqrt(np.square(total_weights(3)).sum() * 3)) * NOISE * SCALE
    assert 0 < np.abs(study.total() - study.truth()).max() < 5 * sd
    assert study.content()["series"]["noise_sd_total"] == pytest.approx(sd, abs=1e-3)
    # A rehearsal repeats to the byte, book and all.
    again = Study(tmp_path / "again", make_homes(tmp_path / "again"))
    for index in (1, 2, 3):
        again.run(plan_of(index))
    for one, other in zip(study.outcomes, again.outcomes, strict=True):
        assert (one.measurements.values == other.measurements.values).all()


@pytest.mark.usefixtures("silence")
def test_a_secure_sum_of_a_series_is_exact(tmp_path: Path) -> None:
    study = Study(tmp_path, make_homes(tmp_path, 4))
    for index in (1, 2):
        study.run(plan_of(index, partners=4, secure="table", colluders=1, quorum=3))
    np.testing.assert_array_equal(study.total(), study.truth())


def book_rows(home: NodeHome) -> list[Any]:
    with SeriesBook(home.series_path) as book:
        return sorted(book._engine.connect().exec_driver_sql("SELECT * FROM counted").all())


def test_asking_again_gives_the_same_and_counts_nobody_again(tmp_path: Path) -> None:
    study = Study(tmp_path, make_homes(tmp_path))
    first = study.run(plan_of(1))
    books = [book_rows(home) for home in study.nodes]
    grid = InProcessGrid(client_app, [{"node-home": str(home.path)} for home in study.nodes],
                         {"plan": sign(plan_of(1)).to_json()})
    again = RoundLoop(grid, plan_of(1), Recorder()).run()
    assert (again.measurements.values == first.measurements.values).all()
    assert [book_rows(home) for home in study.nodes] == books
    with existing_account(study.nodes[0]) as account:
        balance = account.balance(study.nodes[0].policy().ceilings)
        assert balance.studies[0].further_attempts == 0


@pytest.mark.usefixtures("silence")
def test_a_crash_between_counting_and_the_reply_costs_an_attempt_and_counts_nobody_twice(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study(tmp_path, make_homes(tmp_path))
    study.run(plan_of(1))
    counted = work.noisy_tables

    def dies(home: NodeHome, *args: Any, **named: Any) -> Any:
        vector = counted(home, *args, **named)
        if home.settings.name == "partner-1":
            raise RuntimeError
        return vector

    plan = plan_of(2)
    with monkeypatch.context() as patch:
        patch.setattr(work, "noisy_tables", dies)
        for home in study.nodes:
            approve(home, plan)
        grid = InProcessGrid(client_app, [{"node-home": str(home.path)} for home in study.nodes],
                             {"plan": sign(plan).to_json()})
        watch = Recorder()
        RoundLoop(grid, plan, watch).run()
        assert watch.reports[-1].refused == (("partner-1", "failed"),)
        noted = book_rows(study.nodes[1])
    study.run(plan)
    assert study.outcomes[-1].measurements.partners == ("partner-0", "partner-1", "partner-2")
    assert book_rows(study.nodes[1]) == noted
    study.run(plan_of(3))
    np.testing.assert_array_equal(study.total(), study.truth())
    with existing_account(study.nodes[1]) as account:
        balance = account.balance(study.nodes[1].policy().ceilings)
        assert [one.further_attempts for one in balance.studies] == [0, 1, 0]


@pytest.mark.usefixtures("silence")
def test_a_study_that_is_planned_anew_takes_the_place_of_the_one_that_failed(tmp_path: Path) -> None:
    study = Study(tmp_path, make_homes(tmp_path))
    study.run(plan_of(1))
    study.run(plan_of(2))
    study.plans.pop()
    study.outcomes.pop()
    study.run(plan_of(2, learning_rate=2.0))
    study.run(plan_of(3))
    np.testing.assert_array_equal(study.total(), study.truth())
    assert study.content()["series"]["releases"][1]["plan_sha256"] == study.plans[1].sha256


@pytest.mark.usefixtures("silence")
def test_a_partner_that_comes_late_counts_from_then_on_and_the_series_is_withheld(tmp_path: Path) -> None:
    study = Study(tmp_path, make_homes(tmp_path))
    study.run(plan_of(1), without=(2,))
    assert study.content()["series"]["status"] == "shown"
    study.run(plan_of(2))
    # What it sends is what the mathematics says of a partner with nobody in the first release.
    rows = book_rows(study.nodes[2])
    assert {row[2] for row in rows} == {2}
    found = study.content()["series"]
    assert (found["status"], found["reason"], found["cells"]) == ("withheld", "partners_changed", [])
    study.run(plan_of(3))
    assert study.content()["series"]["reason"] == "partners_changed"


@pytest.mark.usefixtures("silence")
def test_a_partner_that_misses_a_release_is_not_made_up_for(tmp_path: Path) -> None:
    study = Study(tmp_path, make_homes(tmp_path))
    study.run(plan_of(1))
    study.run(plan_of(2), without=(1,))
    assert study.content()["series"]["reason"] == "partners_changed"
    study.run(plan_of(3))
    assert study.content()["series"]["reason"] == "partners_changed"
    assert {row[2] for row in book_rows(study.nodes[1])} == {1, 3}
    # Without the releases that lack it, the total would not be that of anybody.
    assert (study.total() != study.truth()).any()


def test_a_release_that_was_never_measured_is_missing_for_good(tmp_path: Path) -> None:
    study = Study(tmp_path, make_homes(tmp_path))
    study.run(plan_of(1))
    study.run(plan_of(3))
    assert study.content()["series"]["reason"] == "earlier_release_missing"


def test_tables_of_other_places_are_not_added_up(tmp_path: Path) -> None:
    study = Study(tmp_path, make_homes(tmp_path))
    study.run(plan_of(1))
    study.run(plan_of(2, level=AreaLevel.COUNTRY))
    assert study.content()["series"]["reason"] == "tables_changed"


def test_a_release_behind_one_that_was_counted_is_refused_and_not_charged(tmp_path: Path) -> None:
    for secure in ({}, {"secure": "table", "colluders": 1, "partners": 4, "quorum": 3}):
        study = Study(tmp_path / str(len(secure)), make_homes(tmp_path / str(len(secure)), 4 if secure else 3))
        study.run(plan_of(2, **secure))
        books = [book_rows(home) for home in study.nodes]
        watch, behind = Recorder(), plan_of(1, **secure)
        for home in study.nodes:
            approve(home, behind)
        grid = InProcessGrid(client_app, [{"node-home": str(home.path)} for home in study.nodes],
                             {"plan": sign(behind).to_json()})
        with pytest.raises(Exception, match="table"):
            RoundLoop(grid, behind, watch, clock=Ticking(1)).run()
        assert {code for _, code in watch.reports[-1].refused} == {"bad_request"}
        assert [book_rows(home) for home in study.nodes] == books
        with existing_account(study.nodes[0]) as account:
            found = account.balance(study.nodes[0].policy().ceilings).studies[1]
            # The round of training, and nothing for the tables.
            assert (found.requests_answered, found.requests_open, found.further_attempts) == (1, 0, 0)


def test_the_account_books_each_release_as_if_everybody_were_new(tmp_path: Path) -> None:
    study = Study(tmp_path, make_homes(tmp_path))
    plans = [plan_of(index) for index in (1, 2)]
    for plan in plans:
        study.run(plan)
    with existing_account(study.nodes[0]) as account:
        spent = account._book.account.spent()
        balance = account.balance(study.nodes[0].policy().ceilings)
        account.verify_full()
    table = DiscreteGaussianTable(scale=NOISE * SCALE, entries=2 * 3, shift=SCALE)
    assert table in spent
    assert balance.studies[0].epsilon == pytest.approx(price(plans[0], delta=balance.delta).total, rel=1e-6)


def test_what_is_kept_of_a_release_is_what_was_measured(tmp_path: Path) -> None:
    study = Study(tmp_path, make_homes(tmp_path))
    measured = study.run(plan_of(1)).measurements
    path = study.home.path / "series" / "borders" / "1.json"
    assert path.stat().st_mode & 0o777 == 0o600
    kept = json.loads(path.read_bytes())
    assert set(kept) == {"plan_sha256", "tables_sha256", "partners", "values", "variance", "kept_back"}
    assert kept["plan_sha256"] == study.plans[0].sha256
    assert kept["partners"] == ["partner-0", "partner-1", "partner-2"]
    assert kept["values"] == measured.table(Family.SERIES).ravel().tolist()
    assert kept["variance"] == pytest.approx(3 * (NOISE * SCALE) ** 2, rel=1e-6)
    one, = study.home.series.earlier(plan_of(2).statistics.series)
    expected = SeriesMeasurement.of(measured, kept_back_of(measured))
    assert (one.index, one.plan_sha256, one.tables_sha256, one.partners, one.variance) == (
        1, expected.plan_sha256, expected.tables_sha256, expected.partners, expected.variance)
    np.testing.assert_array_equal(one.values, expected.values)
    np.testing.assert_array_equal(one.kept_back, expected.kept_back)
    assert study.home.series.earlier(None) == ()
    assert study.home.series.earlier(plan_of(1).statistics.series) == ()


@pytest.mark.parametrize("damage", [
    b"", b"[]", b"{}", b'{"plan_sha256": 1}', {"variance": 0.0}, {"variance": -1.0}, {"values": [1.5]},
    {"partners": []}, {"kept_back": ["x"]}, {"kept_back": ["too_few_records"]},
    {"values": [2**53 + 1]}, {"plan_sha256": "x"}, {"more": 1},
], ids=str)
def test_a_damaged_archive_is_told_and_not_added_up(tmp_path: Path, damage: Any) -> None:
    archive = CoordinatorHome.create(tmp_path, key=COORDINATOR).series
    layout = TableLayout(plan_of(1))
    measured = Measurements(layout=layout, values=layout.empty(), variances=dict.fromkeys(layout.blocks, 4.0),
                            partners=("partner-0",))
    spec = plan_of(1).statistics.series
    assert spec is not None
    archive.keep(spec, SeriesMeasurement.of(measured, kept_back_of(measured)))
    path = tmp_path / "series" / "borders" / "1.json"
    text = damage if isinstance(damage, bytes) else json.dumps(json.loads(path.read_bytes()) | damage).encode()
    path.write_bytes(text)
    with pytest.raises(InputError, match="does not hold a release of a series"):
        archive.earlier(plan_of(2).statistics.series)


def test_a_plan_without_a_series_leaves_no_book_and_no_archive(tmp_path: Path) -> None:
    study = Study(tmp_path, make_homes(tmp_path))
    study.run(make_plan(noise_scale=NOISE, rounds=1, local_steps=1))
    assert not any(home.series_path.exists() for home in study.nodes)
    assert not (study.home.path / "series").exists()
    assert study.content()["series"] is None
    with pytest.raises(ValueError, match="no series"):
        kept_back_of(study.outcomes[0].measurements)


def test_rules_without_series_decline_it(tmp_path: Path) -> None:
    strict = POLICY.model_copy(update={"statistics": ("regional_table", "indicators", "corridors")})
    nodes = [*make_homes(tmp_path, 2), make_home(tmp_path, 2, records=[], policy=strict)]
    plan, watch = plan_of(1), Recorder()
    for home in nodes[:2]:
        approve(home, plan)
    grid = InProcessGrid(client_app, [{"node-home": str(home.path)} for home in nodes], {"plan": sign(plan).to_json()},
                         silent=lambda node, kind: node == 2 and kind == TABLE)
    with pytest.raises(Exception, match="quorum"):
        RoundLoop(grid, plan, watch, clock=Ticking(20)).run()
    assert ("partner-2", "not_allowed") in watch.reports[0].refused
