"""Two published releases with a running total: an auditor makes it again from the bundle, and sees what was changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from federation.plan import StudyPlan
from federation.plan_statistics import SeriesSpec
from federation.taxonomy import AreaLevel
from server.coordinator import CoordinatorHome
from server.release.audit import Evidence, audit_release
from tests.server.release.audit.test_audit_files import failed
from tests.server.release.homes import COORDINATOR, cheat, content_in, new_home, plan_in, plan_of, run_study, two

Content = dict[str, Any]


def quarter(index: int) -> StudyPlan:
    return plan_of(index, indicators=None, corridors=False,
                   series=SeriesSpec(name="borders", index=index, level=AreaLevel.SUPER_REGION))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[CoordinatorHome, Path, Path]:
    """A home, and the folders of its two releases."""
    home = new_home(tmp_path_factory.mktemp("series") / "home")
    for index in (1, 2):
        run_study(home, quarter(index))
        home.release(two())
    first, second = sorted(home.releases.iterdir())
    return home, first, second


@pytest.fixture
def bundle(kept: tuple[CoordinatorHome, Path, Path], tmp_path: Path) -> Path:
    """A copy of the second."""
    return Path(shutil.copytree(kept[2], tmp_path / "bundle"))


def evidence(home: CoordinatorHome, folder: Path) -> Evidence:
    study = home.study(plan_in(folder).sha256)
    return Evidence(measurements=study.measurements_path, salt=study.salt_path)


def test_an_honest_series_passes_every_check(kept: tuple[CoordinatorHome, Path, Path]) -> None:
    home, first, second = kept
    said = content_in(second)["series"]
    assert [one["plan_sha256"] for one in said["releases"]] == [plan_in(folder).sha256 for folder in (first, second)]
    assert {cell["status"] for cell in said["cells"]} >= {"shown"}
    for folder, previous in ((first, None), (second, first)):
        found = audit_release(folder, coordinator_key=COORDINATOR.public, previous=previous,
                              evidence=evidence(home, folder))
        # The first release of all has none before it.
        assert [check.name for check in found.checks if check.outcome != "passed"] == (
            [] if previous else ["previous"])
    # The newest total counts as many again.
    totals = [[cell["total"]["reviewed"] for cell in content_in(folder)["series"]["cells"]
               if cell["status"] == "shown"] for folder in (first, second)]
    assert sum(totals[1]) / len(totals[1]) == pytest.approx(2 * sum(totals[0]) / len(totals[0]), rel=0.2)


def shown(content: Content) -> Content:
    found: Content = next(cell for cell in content["series"]["cells"] if cell["status"] == "shown")
    return found


def total(content: Content) -> None:
    shown(content)["total"]["reviewed"] += 1


def newest(content: Content) -> None:
    shown(content)["measured"]["flagged"][-1] += 1


def earlier(content: Content) -> None:
    for cell in content["series"]["cells"]:
        if cell["status"] == "shown" and (cell["area"], cell["role"]) == (shown(content)["area"],
                                                                          shown(content)["role"]):
            cell["measured"]["reviewed"][0] += 256


def price(content: Content) -> None:
    content["privacy"]["series_epsilon"] -= 0.01


def place(content: Content) -> None:
    shown(content)["area"] = "XA-0101"


def variance(content: Content) -> None:
    content["series"]["releases"][0]["noise_variance"] /= 4


@pytest.mark.parametrize(("change", "checks"), [
    (total, {"figures"}), (newest, {"figures"}), (earlier, {"figures"}), (variance, {"figures"}), (price, {"privacy"}),
    (place, {"figures", "places"})])
def test_what_was_changed_is_found_in_the_bundle_alone(bundle: Path, change: Callable[[Content], None],
                                                       checks: set[str]) -> None:
    assert checks <= set(failed(audit_release(cheat(bundle, change))))


def remade(change: Callable[[Content], None]) -> Callable[[Content], None]:
    """The change, with every figure made to fit it."""
    def changed(content: Content) -> None:
        from server.release.rebuild import rebuild

        change(content)
        content["series"] = rebuild(content, quarter(2), None)["series"]

    return changed


@pytest.mark.parametrize("change", [earlier, variance])
def test_earlier_measurements_made_up_well_are_found_with_the_release_before(
        bundle: Path, kept: tuple[CoordinatorHome, Path, Path], change: Callable[[Content], None]) -> None:
    cheat(bundle, remade(change))
    alone = audit_release(bundle)
    assert "figures" not in failed(alone)
    (open_one,) = (check for check in alone.checks if check.name == "previous")
    assert open_one.outcome == "not_checkable"
    assert "of earlier releases in its running totals was not checked" in open_one.findings[0].words
    found = failed(audit_release(bundle, previous=kept[1]))["figures"].findings
    assert all("earlier measurements" in finding.words for finding in found)


def test_a_newest_measurement_made_up_well_is_found_with_the_noisy_sums(
        bundle: Path, kept: tuple[CoordinatorHome, Path, Path]) -> None:
    cheat(bundle, remade(newest))
    assert "figures" not in failed(audit_release(bundle))
    found = failed(audit_release(bundle, evidence=evidence(kept[0], kept[2])))["measurements"].findings
    assert any("another newest measurement" in finding.words for finding in found)
