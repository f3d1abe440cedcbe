"""Contents of releases drawn at random, in the form of `release.json`: for views of the page, and for its size."""

from __future__ import annotations

import random
from typing import Any

INDICATORS = ("deceptive_offer", "vague_role", "upfront_cost_debt", "arranged_travel_housing", "document_control",
              "private_channel_move", "pressure_secrecy", "profile_targeting", "vulnerability_appeal",
              "control_isolation", "threat_violence", "wage_overwork", "distress_help", "templated_campaign")
RATE_REASONS = ("too_few_partners", "one_partner_dominates", "too_few_records", "too_few_signals", "insufficient")
RESPONSIBLE_USE = (
    "These figures describe signals in the records of the participating organisations. They are not counts of victims "
    "or offenders, and they say nothing about any individual, community or business. Noise has been added to protect "
    "people. Coverage differs by region and language; a higher rate may reflect better detection. Do not use them to "
    "select persons or places for enforcement, to deny services, or to judge migrants or sex workers. For help: "
    "contact the national helpline.")


def places(regions: tuple[str, ...], super_regions: dict[str, tuple[str, tuple[str, ...]]],
           protected: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Areas of a content: countries, super-regions, regions, protected ones last."""
    above = {region: code for code, (_, members) in super_regions.items() for region in members}
    countries = dict.fromkeys(region[:2] for region in regions)
    return [
        *({"code": code, "name": f"Country {code}", "level": "country", "parent": None, "status": "measured"}
          for code in countries),
        *({"code": code, "name": name, "level": "super_region", "parent": code[:2], "status": "measured"}
          for code, (name, _) in super_regions.items()),
        *({"code": code, "name": f"Region {code[3:]}", "level": "region", "parent": above.get(code, code[:2]),
           "status": "measured"} for code in regions if code not in protected),
        *({"code": code, "name": f"Region {code[3:]}", "level": "region", "parent": code[:2], "status": "protected"}
          for code in protected)]


class Drawn:
    """One random world; each part of the content from its own method."""

    def __init__(self, areas: list[dict[str, Any]], *, roles: tuple[str, ...], tasks: tuple[str, ...], seed: int,
                 withheld: float, trend: bool) -> None:
        self.random, self.roles, self.tasks = random.Random(seed), roles, tasks
        self.areas = [area for area in areas if area["status"] == "measured"]
        self.withheld, self.trend = withheld, trend
        self.base = {task: base for task, base in zip(("recruitment", "distress"), (310, 820), strict=True)}

    def cells(self) -> list[dict[str, Any]]:
        whole: dict[tuple[str, str, str], int] = {}
        found = []
        for area in self.areas:
            for role in self.roles:
                for task in self.tasks:
                    cell = {"area": area["code"], "level": area["level"], "role": role, "task": task}
                    likely = self.withheld if area["level"] == "region" else self.withheld / 6
                    if self.random.random() < likely:
                        found.append(cell | {"status": "withheld", "reason": self.random.choice(RATE_REASONS)})
                        continue
                    rate = self.base[task] * self.random.lognormvariate(0, 0.1 if area["level"] == "country" else 0.55)
                    wide = {"country": 0.08, "super_region": 0.16, "region": 0.4}[area["level"]]
                    half = rate * wide * self.random.uniform(0.5, 1.8)
                    lower, upper = rate - half * 0.95, rate + half * 1.05
                    country = whole.setdefault((area["code"][:2], role, task), round(rate))
                    found.append(cell | {
                        "status": "shown", "band": None if area["level"] == "country" else self._band(
                            lower, upper, country),
                        "measured": {"flagged": round(rate)}, "adjusted": {"flagged": round(rate, 2), "sd": 14.2},
                        "signals": {"estimate": round(rate, 2), "sd": 16.1},
                        "unclipped": {"rate": round(rate, 2), "lower": round(lower, 2), "upper": round(upper, 2)},
                        "display": {"rate": round(rate), "lower": max(0, round(lower)), "upper": round(upper)},
                        "trend": self._trend(rate) if self.trend else None})
        return found

    @staticmethod
    def _band(lower: float, upper: float, country: int) -> str:
        if lower > country or upper < country:
            return "high" if lower > country else "low"
        return "medium" if country / 1.5 <= lower and upper <= country * 1.5 else "insufficient"

    def _trend(self, rate: float) -> dict[str, Any] | None:
        if self.random.random() < 0.2:
            return None
        difference, half = rate * self.random.gauss(0, 0.3), rate * 0.3
        lower, upper = difference - half, difference + half
        return {"class": "rose" if lower > 0 else "fell" if upper < 0 else "no_clear_change", "since": "12" * 32,
                "difference": round(difference, 2), "lower": round(lower, 2), "upper": round(upper, 2)}

    def nodes(self) -> list[dict[str, Any]]:
        return [{"area": area["code"], "level": area["level"], "role": role, "status": "shown",
                 "measured": {"reviewed": 4321}, "adjusted": {"reviewed": 4321.5, "sd": 14.2}}
                for area in self.areas for role in self.roles]

    def indicators(self, level: str) -> dict[str, Any]:
        rows = []
        for area in (each for each in self.areas if each["level"] == level):
            for role in self.roles:
                for task in self.tasks:
                    row = {"area": area["code"], "role": role, "task": task}
                    if self.random.random() < 0.12:
                        rows.append(row | {"status": "withheld", "reason": "too_few_signals"})
                    else:
                        rows.append(row | {"status": "shown", "measured": {"signals": 500, "others": 9000},
                                           "lifts": [self._lift(tag) for tag in INDICATORS]})
        return {"level": level, "tags": list(INDICATORS), "cells": rows}

    def _lift(self, tag: str) -> dict[str, Any]:
        if self.random.random() < 0.12:
            return {"indicator": tag, "status": "withheld", "reason": "insufficient"}
        lift = self.random.lognormvariate(0.35, 0.55)
        wide = self.random.uniform(1.15, 1.9)
        lower, upper = lift / wide, lift * wide
        return {"indicator": tag, "status": "shown", "measured": {"signals": 120, "others": 700},
                "lift": round(lift, 3), "lower": round(lower, 3), "upper": round(upper, 3),
                "class": "more_often" if lower > 1 else "less_often" if upper < 1 else "no_clear_difference"}

    def corridors(self, pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
        bands = [{"from": 11, "to": 50}, {"from": 11, "to": 200}, {"from": 50, "to": 200}, {"from": 50, "to": 1000},
                 {"from": 200, "to": 1000}, {"from": 1000, "to": None}]
        rows = []
        for origin, destination in pairs:
            for task in self.tasks:
                row = {"origin": origin, "destination": destination, "task": task}
                if self.random.random() < 0.3:
                    rows.append(row | {"status": "withheld", "reason": "too_few_signals"})
                else:
                    rows.append(row | {"status": "shown", "measured": {"reviewed": 321, "flagged": 98},
                                       "signals": {"estimate": 90.1, "lower": 61.2, "upper": 122.4},
                                       "band": self.random.choice(bands)})
        return rows


def draw_content(
    areas: list[dict[str, Any]], *, roles: tuple[str, ...] = ("origin", "destination", "observed"),
    tasks: tuple[str, ...] = ("recruitment", "distress"), seed: int = 3, withheld: float = 0.3, trend: bool = True,
    indicators: str | None = "country", corridors: list[tuple[str, str]] | None = None, **changes: Any,
) -> dict[str, Any]:
    """A whole content; `changes` replace its keys."""
    drawn = Drawn(areas, roles=roles, tasks=tasks, seed=seed, withheld=withheld, trend=trend)
    cells = drawn.cells()
    reasons = [cell["reason"] for cell in cells if cell["status"] == "withheld"]
    families = ["regions", "super_regions", "countries", "confusion", "indicators", "corridors", "dominance"]
    kinds = [{"platform": 2, "ngo": 2, "agency": 1}, {"platform": 1, "ngo": 1, "agency": 1}, {"platform": 1, "ngo": 0},
             {"platform": 2, "ngo": 1}]
    content = {
        "content_version": 2, "label": "SYNTHETIC", "synthetic": True, "regions_drawn": False,
        "study": "north-coast-2026",
        "purpose": "Find out in which regions records hold signals of recruitment and of distress.",
        "period": {"start": "2026-04-01", "end": "2026-06-30"}, "released_on": "2026-08-15",
        "previous_release_sha256": "12" * 32 if trend else None, "tasks": list(tasks), "roles": list(roles),
        "areas": areas, "rate_per_reviewed_records": 10000, "confidence": 0.95,
        "calibration": [
            {"task": task, "usable": True, "reason": None,
             "measured": {"true_positive": 412, "false_negative": 95, "false_positive": 61, "true_negative": 3950},
             "sensitivity": {"value": value, "lower": value - 0.05, "upper": value + 0.05},
             "false_alarm_rate": {"value": 0.0152, "lower": 0.0091, "upper": 0.0213}}
            for task, value in zip(tasks, (0.8126, 0.7425), strict=False)],
        "nodes": drawn.nodes(), "cells": cells,
        "indicators": drawn.indicators(indicators) if indicators else None,
        "corridors": drawn.corridors(corridors or []),
        "coverage": {"source": "declarations in the study plan", "partners": {"platform": 3, "ngo": 3, "agency": 2},
                     "areas": {area["code"]: kinds[i % 4] for i, area in enumerate(drawn.areas)}},
        "gate": {"minimum_count": 11, "false_publication": 0.01, "thresholds": dict.fromkeys(families, 45),
                 "derivation": "ceil((k - 1) + sd z + 1/2)", "noise_sd": dict.fromkeys(families, 14.5),
                 "minimum_partners": 3, "minimum_kinds": 2, "most_of_one_partner": 0.7, "least_youden": 0.3,
                 "band_factor": 1.5, "widest_interval": 0.5, "embargo_days": 30, "signatures": 2},
        "suppression": {"cells": len(cells), "shown": len(cells) - len(reasons),
                        "withheld": {reason: reasons.count(reason) for reason in RATE_REASONS if reason in reasons}},
        "privacy": {
            "privacy_unit": "person (author or subject) at one partner",
            "adjacency": "replace the person's slot by a null person", "delta": 1e-5, "total_epsilon": 2.98,
            "same_person_at_partners": [{"partners": k, "epsilon": e} for k, e in ((2, 4.31), (3, 5.4), (5, 7.2))],
            "parts": [
                {"part": "training", "epsilon": 2.41, "noise_multiplier": 1.4, "l2_clip_norm": 1.0,
                 "mechanism": "person-level DP-SGD: clipped per person, discrete Gaussian noise added to exact sums by "
                              "each partner", "sampling_probability": 0.1, "steps": 60},
                {"part": "statistics", "epsilon": 1.13,
                 "mechanism": "discrete Gaussian noise added by each partner to each entry of its tables",
                 "families": [{"family": family, "noise_scale": 6.5, "entries": 3, "l2_sensitivity": 1.732,
                               "noise_sd": 14.5} for family in families]}],
            "appearances": {"releases_a_year": 4, "releases_per_person": 2, "release_of_year": 3, "year_epsilon": 1.62},
            "trust": "noise: each partner adds all of it, nobody need be trusted", "secure_sums": None,
            "rehearsal": False, "accounting": "PLD (dp-accounting), upper bound"},
        "measurements_commitment": "34" * 32, "responsible_use": RESPONSIBLE_USE, "plan_sha256": "56" * 32,
        "model_sha256": "78" * 32,
        "versions": {"content": 2, "plan": 3, "encoder": "fast-use 0.2.1"}}
    return content | changes
