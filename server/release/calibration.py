"""How often the model errs: confusion counts of labelled people, with noise in each."""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from server.release.intervals import share_interval


@dataclass(frozen=True, kw_only=True)
class Calibration:
    tp: float
    fn: float
    fp: float
    tn: float
    noise_variance: float

    @classmethod
    def of(cls, tp: float, fn: float, fp: float, tn: float, *, noise_variance: float) -> Calibration:
        return cls(tp=tp, fn=fn, fp=fp, tn=tn, noise_variance=noise_variance)

    @property
    def sensitivity(self) -> float:
        return self.tp / (self.tp + self.fn) if self.tp + self.fn > 0 else math.nan

    @property
    def false_alarm_rate(self) -> float:
        return self.fp / (self.fp + self.tn) if self.fp + self.tn > 0 else math.nan

    def _var(self, a: float, b: float) -> float:
        n = a + b
        p = a / n
        q = min(max(p, 0.0), 1.0)
        return (self.noise_variance * ((1 - p) ** 2 + p * p) + n * q * (1 - q)) / n**2

    @property
    def sensitivity_variance(self) -> float:
        return self._var(self.tp, self.fn)

    @property
    def false_alarm_variance(self) -> float:
        return self._var(self.fp, self.tn)

    def sensitivity_interval(self) -> tuple[float, float]:
        sd = 1.96 * math.sqrt(self.sensitivity_variance)
        return self.sensitivity - sd, self.sensitivity + sd

    def false_alarm_interval(self) -> tuple[float, float]:
        sd = 1.96 * math.sqrt(self.false_alarm_variance)
        return self.false_alarm_rate - sd, self.false_alarm_rate + sd

    def usable(self, least_youden: float) -> bool:
        return bool(self.sensitivity - self.false_alarm_rate >= least_youden)
