"""Intervals."""
from __future__ import annotations

from typing import Any

import numpy as np

Z2 = 1.959963984540054**2


def _roots(a, b, c):
    with np.errstate(all="ignore"):
        d = b * b - a * c
        r = np.sqrt(np.where(d >= 0, d, np.nan))
        return (b - r) / a, (b + r) / a


def share_interval(flagged, reviewed, *, flagged_variance, reviewed_variance, confidence=0.95):
    f, r = np.asarray(flagged, float), np.asarray(reviewed, float)
    a = r * r - Z2 * reviewed_variance
    with np.errstate(all="ignore"):
        lo, hi = _roots(a + Z2 * np.maximum(r, 0), f * r + Z2 * np.maximum(r, 0) / 2, f * f - Z2 * flagged_variance)
    bad = (r <= 0) | (a <= 0)
    return np.where(bad, np.nan, lo), np.where(bad, np.nan, hi)


def corrected_interval(flagged, reviewed, *, flagged_variance, reviewed_variance, calibration: Any, confidence=0.95):
    f, r = np.asarray(flagged, float), np.asarray(reviewed, float)
    s, a = calibration.sensitivity, calibration.false_alarm_rate
    with np.errstate(all="ignore"):
        q = f / r
        qc = np.clip(q, 0, 1)
        vq = (flagged_variance + q * q * reviewed_variance + np.maximum(r, 0) * qc * (1 - qc)) / r**2
        value = (q - a) / (s - a)
        va = calibration.false_alarm_variance if np.isfinite(a) else np.nan
        vs = calibration.sensitivity_variance if np.isfinite(s) else np.nan
        d, b = s - a, q - a
        A = d * d - Z2 * (va + vs)
        lo, hi = _roots(A, b * d - Z2 * va, b * b - Z2 * (vq + va))
        bad = (A <= 0) | (r * r <= Z2 * reviewed_variance) | (r <= 0)
    return np.where(bad, np.nan, value), np.where(bad, np.nan, lo), np.where(bad, np.nan, hi)


def signal_count(flagged, reviewed, *, flagged_variance, reviewed_variance, calibration: Any):
    f, r = np.asarray(flagged, float), np.asarray(reviewed, float)
    s, a = calibration.sensitivity, calibration.false_alarm_rate
    va = calibration.false_alarm_variance if np.isfinite(a) else np.nan
    est = (f - a * r) / (s - a)
    v = flagged_variance + a * a * reviewed_variance + np.maximum(r, 0) * a * (1 - a) + r * r * va
    return est, np.sqrt(v) / (s - a)


def lift_interval(x, n, y, m, *, variance, confidence=0.95):
    x, n, y, m = (np.asarray(v, float) for v in (x, n, y, m))
    with np.errstate(all="ignore"):
        p, q = x / n, y / m
        vp = (variance * (1 + p * p) + n * np.clip(p * (1 - p), 0, None)) / n**2
        vq = (variance * (1 + q * q) + m * np.clip(q * (1 - q), 0, None)) / m**2
        lo, hi = _roots(q * q - Z2 * vq, p * q, p * p - Z2 * vp)
        bad = (q * q <= Z2 * vq) | (q <= 0)
    return tuple(np.where(bad, np.nan, v) for v in (p / q, lo, hi))


def difference_interval(v1, l1, u1, v2, l2, u2):
    v1, l1, u1, v2, l2, u2 = (np.asarray(v, float) for v in (v1, l1, u1, v2, l2, u2))
    d = v2 - v1
    return d, d - np.sqrt((v2 - l2) ** 2 + (u1 - v1) ** 2), d + np.sqrt((u2 - v2) ** 2 + (v1 - l1) ** 2)


def count_interval(count, *, variance, confidence=0.95):
    sd = 1.959963984540054 * np.sqrt(variance)
    return count - sd, count + sd
