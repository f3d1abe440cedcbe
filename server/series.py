"""What the coordinator keeps of each release of a series, for the releases that follow.

A running total is a weighted sum of what was measured in all releases so far (`federation.privacy.series`), so the
noisy sum of each is kept, and which cells the gate kept back in it for a partner's sake: one
file a release, `series/NAME/INDEX.json` in
the coordinator's home. A study that is run again under another plan for the same release takes the place of the one
before.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from federation.canonical import canonical_json
from federation.errors import InputError
from federation.plan_parts import Hex32, Slug
from federation.plan_statistics import SeriesSpec
from federation.private_files import replace_private
from federation.statistics import Measurements, series_tables_sha256
from federation.taxonomy import Family
from server.release.gate import Reasons, Withheld, code_of, reason

Integer = Annotated[int, Field(ge=-(2**53), le=2**53)]


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    plan_sha256: Hex32
    tables_sha256: Hex32
    partners: Annotated[tuple[Slug, ...], Field(min_length=1)]
    values: tuple[Integer, ...]
    variance: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
    kept_back: tuple[Literal[
        Withheld.TOO_FEW_PARTNERS, Withheld.ONE_PARTNER_DOMINATES, Withheld.PROTECTS_ANOTHER] | None, ...]


@dataclass(frozen=True, kw_only=True)
class SeriesMeasurement:
    """The noisy sum of one release of a series.

    Attributes:
        index: of the release.
        plan_sha256: of the study that measured it.
        tables_sha256: what it is a table of (`series_tables_sha256`).
        partners: names of those in the sum.
        values: int64, one number for each entry of the table.
        variance: of the noise in each.
        kept_back: for each place and role of the table, the code of why it was withheld in this release, if that is one
            of `gate.KEPT_BACK`, or 0.
    """

    index: int
    plan_sha256: str
    tables_sha256: str
    partners: tuple[str, ...]
    values: npt.NDArray[np.int64]
    variance: float
    kept_back: Reasons

    @classmethod
    def of(cls, measurements: Measurements, kept_back: Reasons) -> Self:
        """The release that a study measured, and what the gate kept back of it (`decide.kept_back_of`).

        Raises:
            ValueError: if its plan has no series.
        """
        plan = measurements.layout.plan
        if plan.statistics.series is None:
            raise ValueError("the plan has no series")
        return cls(index=plan.statistics.series.index, plan_sha256=plan.sha256,
                   tables_sha256=series_tables_sha256(plan), partners=measurements.partners,
                   values=measurements.table(Family.SERIES).ravel(),
                   variance=measured_variance(measurements.variances),
                   kept_back=kept_back.ravel())


def measured_variance(variances: dict[Family, float]) -> float:
    """Variance of the noise in each entry of a series' sum, rounded to what is the same on every machine."""
    return round(variances[Family.SERIES], 3)


class SeriesArchive:
    """The folder of all series."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, spec: SeriesSpec, one: SeriesMeasurement) -> None:
        """Keep a release."""
        path = self._path(spec, one.index)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_private(path, canonical_json({
            "plan_sha256": one.plan_sha256, "tables_sha256": one.tables_sha256, "partners": list(one.partners),
            "values": one.values.tolist(), "variance": one.variance,
            "kept_back": [reason(code) for code in one.kept_back.tolist()]}))

    def earlier(self, spec: SeriesSpec | None) -> tuple[SeriesMeasurement, ...]:
        """What is kept of the releases before one, oldest first; those that were never measured are missing.

        Raises:
            InputError: if a file cannot be read as what was kept.
        """
        if spec is None:
            return ()
        return tuple(self._read(path, index) for index in range(1, spec.index)
                     if (path := self._path(spec, index)).exists())

    def _path(self, spec: SeriesSpec, index: int) -> Path:
        return self._folder / spec.name / f"{index}.json"

    @staticmethod
    def _read(path: Path, index: int) -> SeriesMeasurement:
        try:
            kept = _File.model_validate_json(path.read_bytes())
        except (OSError, ValidationError, RecursionError):
            raise InputError(str(path), "does not hold a release of a series", remedy="bring it back from a backup") \
                from None
        return SeriesMeasurement(
            index=index, plan_sha256=kept.plan_sha256, tables_sha256=kept.tables_sha256, partners=kept.partners,
            values=np.array(kept.values, dtype=np.int64), variance=kept.variance,
            kept_back=np.array([code_of(why) for why in kept.kept_back], dtype=np.int8))
