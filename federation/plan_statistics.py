"""What a study counts beside its model: the places, roles, tables and noise of a plan's statistics."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from federation.plan_parts import (
    Aggregation,
    Distinct,
    Frozen,
    Noise,
    OpenShare,
    Slug,
    Visible,
)
from federation.privacy.series import MOST_RELEASES
from federation.taxonomy import AreaLevel, Family, Indicator, RegionRole


class SuperRegion(Frozen):
    """A few regions of one country taken together, on a public list of the coordinator's."""

    code: Annotated[str, Field(pattern=r"^[A-Z]{2}:[a-z0-9][a-z0-9-]{0,39}$")]
    """The country and a name of its own, such as `US:northeast`: never to be taken for an ISO 3166-2 code."""
    name: Annotated[str, Field(min_length=1, max_length=80), Visible]
    regions: Annotated[tuple[str, ...], Field(min_length=1)]


class Corridor(Frozen):
    """A candidate pair of places, super-regions or countries, from a public list: none is found in data."""

    origin: str
    destination: str


class IndicatorsSpec(Frozen):
    """The indicator mix: which indicators, and how coarse the places are."""

    level: AreaLevel
    tags: Annotated[Distinct[Indicator], Field(min_length=1)]


class AppearancesSpec(Frozen):
    """How often a person counts. Which releases of a year a person is in is drawn by the partner's secret, for good."""

    releases_a_year: Annotated[int, Field(ge=1, le=366)]
    releases_per_person: Annotated[int, Field(ge=1, le=366)]
    release_of_year: Annotated[int, Field(ge=1, le=366)]
    """Which of the year's releases this is, from 1. The year is that of `StudyPlan.period_end`."""


class SeriesSpec(Frozen):
    """A running total over releases: who has counted in one release of a series counts in no other."""

    name: Slug
    """Studies that have it in common make up the series."""
    index: Annotated[int, Field(ge=1, le=MOST_RELEASES)]
    """Which release of the series this is, from 1. It grows by one from study to study."""
    level: AreaLevel


class ScoresSpec(Frozen):
    """The table from which the model is calibrated (`federation.calibration`): bins of the score."""

    bins: Annotated[int, Field(ge=4, le=256)]
    reach: Annotated[float, Field(ge=0.01, le=100.0)]
    """The bins are of equal width between `-reach` and `reach` times the norm of a task's output weights. Scores beyond
    are in the first and the last."""


def counted_families(*, super_regions: bool, indicators: bool, corridors: bool, series: bool,
                     scores: bool = False) -> tuple[Family, ...]:
    """What a plan counts that has these parts, in the order of the vector that leaves a partner."""
    wanted = {Family.SUPER_REGIONS: super_regions, Family.INDICATORS: indicators, Family.CORRIDORS: corridors,
              Family.SERIES: series, Family.SCORES: scores}
    return tuple(family for family in Family if wanted.get(family, True))


class StatisticsSpec(Frozen):
    """The tables: a fixed list of cells, the noise in each, and how much of a person is in them."""

    period_start: date
    """First day of the period; the last is `StudyPlan.period_end`. Who has no record in it counts nowhere."""
    regions: Annotated[Distinct[str], Field(min_length=1)]
    roles: Annotated[Distinct[RegionRole], Field(min_length=1)]
    protected: Distinct[str]
    """Regions in which nobody is counted, as publication could endanger people there."""
    super_regions: tuple[SuperRegion, ...]
    """None, or every region that is not protected in exactly one."""
    indicators: IndicatorsSpec | None
    corridors: Distinct[Corridor]
    series: SeriesSpec | None
    aggregation: Aggregation
    noise_scales: dict[Family, Noise]
    """Scale of the discrete Gaussian noise that protects each entry, for each family that is counted: of a partner's
    table under local aggregation, of the sum under secure aggregation. In people, but for the series in its table's own
    units (`federation.privacy.series.SCALE`)."""
    max_roles_per_person: Annotated[int, Field(ge=1, le=4)]
    """A person counts in so many roles at most, and in one region of each."""
    appearances: AppearancesSpec
    flag_threshold: OpenShare
    """A record is flagged from this score on. The score is the model's own, without any partner's declared prevalence,
    so that sensitivity and specificity mean the same at every partner."""
    scores: ScoresSpec | None = None
    """None: the model is not calibrated."""

    @model_serializer(mode="wrap")
    def _without_what_is_not_asked(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Plans that do not calibrate keep the bytes, and so the hash, that they had before there was such a table.
        fields: dict[str, Any] = handler(self)
        if self.scores is None:
            fields.pop("scores", None)
        return fields

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        counted = set(self.regions) - set(self.protected)
        if not counted:
            raise ValueError("regions: all of them are protected")
        if self.max_roles_per_person > len(self.roles):
            raise ValueError(f"max_roles_per_person is {self.max_roles_per_person}, expected at most the "
                             f"{len(self.roles)} roles")
        if self.appearances.releases_per_person > self.appearances.releases_a_year:
            raise ValueError("appearances.releases_per_person is above releases_a_year")
        if self.appearances.release_of_year > self.appearances.releases_a_year:
            raise ValueError("appearances.release_of_year is above releases_a_year")
        self._check_super_regions(counted)
        self._check_corridors(counted)
        for name, part in (("indicators", self.indicators), ("series", self.series)):
            if part is not None and part.level is AreaLevel.SUPER_REGION and not self.super_regions:
                raise ValueError(f"{name}.level: the plan has no super-regions")
        if set(self.noise_scales) != set(self.families):
            raise ValueError(f"noise_scales: given for {', '.join(sorted(self.noise_scales)) or 'nothing'}, expected "
                             f"for {', '.join(self.families)}")
        if self.scores is not None and self.noise_scales[Family.SCORES] < self.noise_scales[Family.CONFUSION]:
            raise ValueError(f"noise_scales.scores is {self.noise_scales[Family.SCORES]:g}, expected at least the "
                             f"{self.noise_scales[Family.CONFUSION]:g} of confusion, in whose price it is")
        return self

    def _check_super_regions(self, counted: set[str]) -> None:
        members = [region for one in self.super_regions for region in one.regions]
        codes = {one.code for one in self.super_regions}
        if len(codes) != len(self.super_regions) or len(set(members)) != len(members):
            raise ValueError("super_regions: one is listed twice, or a region is in two")
        if self.super_regions and set(members) != counted:
            raise ValueError("super_regions: must hold every region that is not protected, and nothing else")
        if any(region[:2] != one.code[:2] for one in self.super_regions for region in one.regions):
            raise ValueError("super_regions: one holds a region of another country")

    def _check_corridors(self, counted: set[str]) -> None:
        places = {one.code for one in self.super_regions} | {region[:2] for region in counted}
        ends = [(one.origin in places, one.destination in places) for one in self.corridors]
        if not all(origin and destination for origin, destination in ends):
            raise ValueError("corridors: each end must be a super-region of the plan or a country of its regions")
        # A person is moved into one pair at most, so pairs must not overlap.
        if len({":" in end for one in self.corridors for end in (one.origin, one.destination)}) > 1:
            raise ValueError("corridors: all ends must be super-regions, or all countries")

    @property
    def families(self) -> tuple[Family, ...]:
        """What is counted, in the order of the vector that leaves a partner."""
        return counted_families(super_regions=bool(self.super_regions), indicators=self.indicators is not None,
                                corridors=bool(self.corridors), series=self.series is not None,
                                scores=self.scores is not None)
