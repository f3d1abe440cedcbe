"""The rows of `release.json`, strictly: a withheld one has a reason, and no room for a number."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from federation.plan_parts import Hex32, Slug
from federation.taxonomy import AreaLevel, Indicator, RegionRole, Task
from server.release.derive import Band, Lift, Trend
from server.release.gate import Withheld
from server.release.series import SeriesWithheld

Count = Annotated[int, Field(ge=0)]
Rate = Annotated[int, Field(ge=0, le=10_000)]
Noisy = int
"""A measured number: noise can push it below zero."""


class Form(BaseModel):
    """Immutable, and nothing unknown or of another type goes in."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, serialize_by_alias=True)


class WithheldNumber(Form):
    """A number that is not shown."""

    status: Literal["withheld"]
    reason: Withheld


class Share(Form):
    """Between 0 and 1, with its interval; null where it cannot be computed."""

    value: float | None
    lower: float | None
    upper: float | None


class ConfusionCounts(Form):
    """Noisy numbers of labelled people who did not train."""

    true_positive: Noisy
    false_negative: Noisy
    false_positive: Noisy
    true_negative: Noisy


class CalibrationRow(Form):
    """How often the model errs."""

    task: Task
    usable: bool
    reason: Literal["too_few_labelled", "model_not_good_enough"] | None
    measured: ConfusionCounts | None
    sensitivity: Share
    false_alarm_rate: Share


class _Place(Form):
    area: str
    level: AreaLevel
    role: RegionRole


class Reviewed(Form):
    reviewed: Noisy


class AdjustedReviewed(Form):
    """After least squares, with the standard deviation of the noise that is left."""

    reviewed: float
    sd: float


class ShownNode(_Place):
    """How many people's records were reviewed."""

    status: Literal["shown"]
    measured: Reviewed
    adjusted: AdjustedReviewed


class WithheldNode(_Place, WithheldNumber):
    pass


class Flagged(Form):
    flagged: Noisy


class AdjustedFlagged(Form):
    """After least squares, with the standard deviation of the noise that is left."""

    flagged: float
    sd: float


class Signals(Form):
    estimate: float
    sd: float


class RawRate(Form):
    """Per 10,000 reviewed records, with its 95 % interval. Not clipped: noise can push it below 0 or above 10,000."""

    rate: float
    lower: float
    upper: float


class DisplayRate(Form):
    """The same for people: whole numbers within 0 and 10,000."""

    rate: Rate
    lower: Rate
    upper: Rate


class TrendRow(Form):
    """The change since the previous release of the series, whose content has the hash `since`."""

    class_: Annotated[Trend, Field(alias="class")]
    difference: float
    lower: float
    upper: float
    since: Hex32


class ShownCell(_Place):
    """The rate of a place in a role for a task."""

    task: Task
    status: Literal["shown"]
    band: Band | None
    measured: Flagged
    adjusted: AdjustedFlagged
    signals: Signals
    unclipped: RawRate
    display: DisplayRate
    trend: TrendRow | None


class WithheldCell(_Place, WithheldNumber):
    task: Task


class TwoSides(Form):
    """Noisy numbers of people: among those who are flagged, and among the others."""

    flagged: Noisy
    others: Noisy


class ShownLift(Form):
    """How many times as often an indicator was noted among flagged people as among the others."""

    indicator: Indicator
    status: Literal["shown"]
    measured: TwoSides
    lift: float
    lower: float
    upper: float
    class_: Annotated[Lift, Field(alias="class")]


class WithheldLift(WithheldNumber):
    indicator: Indicator


class _Mix(Form):
    area: str
    role: RegionRole
    task: Task


class ShownMix(_Mix):
    status: Literal["shown"]
    measured: TwoSides
    lifts: tuple[Annotated[ShownLift | WithheldLift, Field(discriminator="status")], ...]


class WithheldMix(_Mix, WithheldNumber):
    pass


class Indicators(Form):
    """The indicator mix."""

    level: AreaLevel
    tags: tuple[Indicator, ...]
    cells: tuple[Annotated[ShownMix | WithheldMix, Field(discriminator="status")], ...]


class _Pair(Form):
    origin: str
    destination: str
    task: Task


class PairCounts(Form):
    reviewed: Noisy
    flagged: Noisy


class PairSignals(Form):
    estimate: float
    lower: float
    upper: float


class CountClass(Form):
    """About so many signals; `to` is null where there is no upper end."""

    from_: Annotated[Count, Field(alias="from")]
    to: Count | None


class ShownCorridor(_Pair):
    """Reported movement in partners' records, not a route proven."""

    status: Literal["shown"]
    measured: PairCounts
    signals: PairSignals
    band: CountClass


class WithheldCorridor(_Pair, WithheldNumber):
    pass


class SeriesCell(Form):
    """A place in a role, and why it was withheld in a release."""

    area: str
    role: RegionRole
    reason: Literal[Withheld.TOO_FEW_PARTNERS, Withheld.ONE_PARTNER_DOMINATES, Withheld.PROTECTS_ANOTHER]


class SeriesRelease(Form):
    """A release that is in a running total; its noise is in units of 1 / 256 of a person, squared."""

    index: Count
    plan_sha256: Hex32
    noise_variance: Annotated[float, Field(gt=0.0)]
    kept_back: tuple[SeriesCell, ...]


class RunningCounts(Form):
    """What was measured in each release so far, in units of 1 / 256 of a person."""

    reviewed: tuple[Noisy, ...]
    flagged: tuple[Noisy, ...]


class Total(Form):
    """People counted in any release so far, and the standard deviation of the noise."""

    reviewed: float
    reviewed_sd: float
    flagged: float
    flagged_sd: float


class _TotalOf(Form):
    area: str
    role: RegionRole
    task: Task


class ShownTotal(_TotalOf):
    status: Literal["shown"]
    measured: RunningCounts
    total: Total
    unclipped: RawRate
    display: DisplayRate


class WithheldTotal(_TotalOf, WithheldNumber):
    pass


class _Series(Form):
    name: Slug
    index: Annotated[int, Field(ge=1)]
    level: AreaLevel


class ShownSeries(_Series):
    """A running total over the releases of a series."""

    status: Literal["shown"]
    releases: Annotated[tuple[SeriesRelease, ...], Field(min_length=1)]
    noise_sd_total: float
    threshold: Count
    cells: tuple[Annotated[ShownTotal | WithheldTotal, Field(discriminator="status")], ...]


class WithheldSeries(_Series):
    """A series that cannot be added up: there is nothing in it."""

    status: Literal["withheld"]
    reason: SeriesWithheld
    releases: tuple[()]
    noise_sd_total: None
    threshold: None
    cells: tuple[()]
