"""The gate: what passes, what does not, and that it never sees a true count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.taxonomy import PartnerKind, RegionRole, Task
from server.release.estimate import CellEstimate, estimate_rate
from server.release.gate import (
    Band,
    GatedRelease,
    ShownCell,
    Withheld,
    WithheldCell,
    apply_gate,
    count_threshold,
    declared_coverage,
)

VARIANCE = 15.0**2
TAU = count_threshold(minimum_count=11, noise_variance=VARIANCE, false_publication=0.01)
ENOUGH = {PartnerKind.PLATFORM: 2, PartnerKind.NGO: 1}


def cell(reviewed: int, flagged: int, region: str = "XA-01", task: Task = Task.RECRUITMENT) -> CellEstimate:
    return CellEstimate(region=region, role=RegionRole.ORIGIN, task=task, reviewed=reviewed, flagged=flagged,
                        rate=estimate_rate(flagged, reviewed, noise_variance=VARIANCE))


def gate(*cells: CellEstimate, kinds: dict[PartnerKind, int] | None = None, threshold: int = TAU) -> GatedRelease:
    coverage = {each.region: ENOUGH if kinds is None else kinds for each in cells}
    return apply_gate(cells, threshold=threshold, coverage=coverage, noise_variance=VARIANCE)


def reason(*cells: CellEstimate, **options: object) -> Withheld | None:
    first = gate(*cells, **options).cells[0]  # type: ignore[arg-type]
    return first.reason if isinstance(first, WithheldCell) else None


def test_worked_example_of_the_module() -> None:
    assert TAU == 46
    assert count_threshold(minimum_count=11, noise_variance=0.0, false_publication=0.01) == 11
    assert count_threshold(minimum_count=11, noise_variance=VARIANCE, false_publication=0.9) == 11


@pytest.mark.parametrize("sd", [2.0, 4.0, 15.0])
def test_a_true_count_of_k_minus_1_rarely_passes(sd: float) -> None:
    """At most 1 % for discrete Gaussian noise, by the exact sum over its tail and by simulation."""
    tau = count_threshold(minimum_count=11, noise_variance=sd**2, false_publication=0.01)
    grid = np.arange(-400, 401)
    mass = np.exp(-(grid**2) / (2 * sd**2))
    mass /= mass.sum()
    assert mass[grid + 10 >= tau].sum() <= 0.01
    assert mass[grid + 11 >= tau].sum() > 0.002, "the threshold is not needlessly high"
    drawn = np.random.default_rng(11).choice(grid, size=200_000, p=mass)
    passed = np.mean([reason(cell(5000, int(n))) is None for n in (10 + drawn[:2000])]) if sd == 15.0 else 0.0
    assert passed <= 0.015
    assert np.mean(10 + drawn >= tau) <= 0.0105


def test_without_the_continuity_correction_more_than_1_percent_would() -> None:
    grid = np.arange(-60, 61)
    mass = np.exp(-(grid**2) / 32.0)
    assert mass[grid + 10 >= 10 + 4.0 * 2.3263].sum() / mass.sum() <= 0.01 < mass[grid >= 9].sum() / mass.sum()


@pytest.mark.parametrize(("reviewed", "flagged", "expected"), [
    (900, TAU, None), (900, TAU - 1, Withheld.TOO_FEW_SIGNALS), (TAU - 1, TAU, Withheld.TOO_FEW_RECORDS),
    (900, -5, Withheld.TOO_FEW_SIGNALS), (-5, -5, Withheld.TOO_FEW_RECORDS),
])
def test_both_counts_must_reach_the_threshold(reviewed: int, flagged: int, expected: Withheld | None) -> None:
    assert reason(cell(reviewed, flagged)) is expected


@pytest.mark.parametrize(("kinds", "expected"), [
    ({PartnerKind.PLATFORM: 2, PartnerKind.NGO: 1}, None),
    ({PartnerKind.PLATFORM: 3}, Withheld.TOO_FEW_PARTNERS),
    ({PartnerKind.PLATFORM: 3, PartnerKind.NGO: 0}, Withheld.TOO_FEW_PARTNERS),
    ({PartnerKind.PLATFORM: 1, PartnerKind.NGO: 1}, Withheld.TOO_FEW_PARTNERS),
    ({}, Withheld.TOO_FEW_PARTNERS),
])
def test_partners_must_be_enough_and_of_two_kinds(kinds: dict[PartnerKind, int], expected: Withheld | None) -> None:
    assert reason(cell(900, 200), kinds=kinds) is expected


def test_a_region_without_coverage_is_withheld() -> None:
    gated = apply_gate((cell(900, 200),), threshold=TAU, coverage={}, noise_variance=VARIANCE)
    assert isinstance(gated.cells[0], WithheldCell)


def test_unbounded_interval_is_withheld() -> None:
    # Only a lax threshold lets such a cell come this far.
    assert reason(cell(25, 20), threshold=11) is Withheld.INSUFFICIENT


@pytest.mark.parametrize(("reviewed", "flagged", "expected"), [
    (TAU, TAU, Withheld.INSUFFICIENT),  # 10,000 per 10,000, and up to 51,000 by its interval
    (130, 60, Withheld.INSUFFICIENT),  # 1,950 to 8,100
    (170, 60, None),  # 1,580 to 5,900
    (900, 901, Withheld.INSUFFICIENT), (900, 900, None),
])
def test_a_figure_that_says_next_to_nothing_is_withheld(
    reviewed: int, flagged: int, expected: Withheld | None
) -> None:
    assert reason(cell(reviewed, flagged)) is expected


@given(st.integers(-50, 4000), st.integers(-50, 4000))
def test_whatever_is_shown_is_a_rate_and_narrow(reviewed: int, flagged: int) -> None:
    gated = gate(cell(reviewed, flagged))
    for rate in [each.rate for each in gated.cells if isinstance(each, ShownCell)] + [o.rate for o in gated.overall]:
        assert rate.value <= 10_000
        assert rate.upper - rate.lower <= 5_000


def test_the_public_reason_comes_first() -> None:
    assert reason(cell(-9, -9), kinds={}) is Withheld.TOO_FEW_PARTNERS


@given(st.integers(-50, 4000), st.integers(-50, 4000))
def test_withheld_cells_change_nothing_that_leaves(reviewed: int, flagged: int) -> None:
    """Two cells below the threshold may swap what they hold: only their sum, in the overall rate, is ever told."""
    flagged = min(flagged, TAU - 1)
    shown = cell(2000, 150, "XA-02"), cell(1000, 300, "XA-03")
    one = gate(cell(max(reviewed, TAU), flagged, "XA-01"), cell(700, 3, "XA-04"), *shown)
    assert one == gate(cell(700, 3, "XA-01"), cell(max(reviewed, TAU), flagged, "XA-04"), *shown)


def test_bands_compare_the_interval_with_the_overall_rate() -> None:
    gated = gate(cell(3000, 600, "XA-01"), cell(3000, 150, "XA-02"), cell(3000, 375, "XA-03"))
    bands = [each.band for each in gated.cells if isinstance(each, ShownCell)]
    assert bands == [Band.HIGHER, Band.LOWER, Band.NOT_DISTINGUISHABLE]
    (overall,) = gated.overall
    assert overall.cells == 3
    assert overall.rate == estimate_rate(1125, 9000, noise_variance=3 * VARIANCE)


def test_overall_is_over_all_cells_of_one_task() -> None:
    """Over the shown cells alone it would be 2,000 per 10,000, with the noise of one."""
    gated = gate(cell(3000, 600), cell(3000, TAU - 6, "XA-02"), cell(3000, 90, "XA-03", Task.DISTRESS),
                 cell(3000, -10, "XA-04"))
    assert {each.task: (each.cells, each.rate) for each in gated.overall} == {
        Task.RECRUITMENT: (3, estimate_rate(630, 9000, noise_variance=3 * VARIANCE)),
        Task.DISTRESS: (1, estimate_rate(90, 3000, noise_variance=VARIANCE))}


def test_overall_does_not_lean_towards_cells_that_passed() -> None:
    """Many equal cells near the threshold: about half pass, those with the higher noise, and the overall stays true."""
    generator = np.random.default_rng(5)
    noise = np.rint(generator.normal(0.0, 15.0, (400, 2))).astype(int)
    gated = gate(*(cell(1000 + int(a), TAU + int(b), f"XA-{i:03d}") for i, (a, b) in enumerate(noise)))
    shown = [each.rate.value for each in gated.cells if isinstance(each, ShownCell)]
    (overall,) = gated.overall
    assert 150 < len(shown) < 260
    assert np.mean(shown) > 560
    assert overall.rate.lower < TAU * 10 < overall.rate.upper
    assert abs(overall.rate.value - TAU * 10) < 20


def test_no_overall_from_which_one_withheld_cell_could_be_worked_out() -> None:
    shown = cell(3000, 600, "XA-01"), cell(3000, 500, "XA-02")
    assert len(gate(*shown).overall) == 1
    assert gate(*shown, cell(3000, TAU - 6, "XA-03")).overall == ()
    assert len(gate(*shown, cell(3000, TAU - 6, "XA-03"), cell(3000, TAU - 9, "XA-04")).overall) == 1


def test_no_overall_without_a_shown_cell() -> None:
    assert gate(cell(900, 200), kinds={}).overall == ()
    assert gate(cell(0, 0)).overall == ()


def test_only_partners_in_the_sum_count(planned) -> None:  # type: ignore[no-untyped-def]
    regions = ("XA-01", "XA-02")
    roster = planned(regions, coverage=(regions, regions, regions, ("XA-02",))).roster
    everybody = [entry.name for entry in roster]
    assert declared_coverage(roster, regions, partners=everybody) == {
        "XA-01": {PartnerKind.PLATFORM: 1, PartnerKind.NGO: 1, PartnerKind.AGENCY: 1},
        "XA-02": {PartnerKind.PLATFORM: 2, PartnerKind.NGO: 1, PartnerKind.AGENCY: 1}}
    assert declared_coverage(roster, regions, partners=everybody[1:])["XA-01"] == {
        PartnerKind.NGO: 1, PartnerKind.AGENCY: 1}


@pytest.mark.parametrize("bad", [{"minimum_count": 0}, {"noise_variance": -1.0}, {"noise_variance": float("nan")},
                                 {"false_publication": 0.0}, {"false_publication": 1.0}])
def test_unusable_rules_are_refused(bad: dict[str, float]) -> None:
    rules = {"minimum_count": 11, "noise_variance": 4.0, "false_publication": 0.01} | bad
    with pytest.raises(ValueError, match="no threshold"):
        count_threshold(**rules)  # type: ignore[arg-type]
