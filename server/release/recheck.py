"""Whether the gate would show what a release shows, from the release and its plan alone.

Of numbers that are withheld only the public reasons can be checked: too few partners. That one partner dominates, or
that there is too little of something, shows in numbers that are not published; whoever is given all measurements can
make the whole content again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from federation.plan import StudyPlan
from federation.privacy.guarantee import table_variances
from federation.taxonomy import Family
from server.release.decide import decide_corridors, decide_indicators, decide_rates, decide_records
from server.release.gate import REASONS, Reasons, Withheld, declared_coverage, reason
from server.release.rebuild import gated_of

_PUBLIC = 1 + REASONS.index(Withheld.TOO_FEW_PARTNERS)


def wrongly_decided(content: dict[str, Any], plan: StudyPlan) -> list[str]:
    """One line for each number that is shown against a rule of the gate, or withheld for a public reason that is none.

    Raises:
        ValueError, KeyError, TypeError, IndexError: if `content` is not one of this plan.
    """
    gated, partners = gated_of(content, plan), tuple(content["coverage"]["in_sum"])
    variances = table_variances(plan, len(partners))
    coverage = declared_coverage(plan.roster, plan.statistics, gated.nodes.areas, partners=partners)
    nobody = np.zeros(len(gated.nodes.areas), dtype=bool)
    records = decide_records(plan, gated.nodes, coverage, nobody)
    rates = decide_rates(plan, gated.nodes, records, gated.calibrations)
    found = [*_differ("nodes", content["nodes"], gated.records, records),
             *_differ("cells", content["cells"], gated.rates, rates)]
    if gated.indicators is not None:
        again = decide_indicators(plan, gated.indicators.counts, coverage, variances[Family.INDICATORS])
        rows = content["indicators"]["cells"]
        found += [*_differ("indicators", rows, gated.indicators.cells, again.cells),
                  *_differ("indicators", [row for row in rows for _ in range(gated.indicators.lifts.shape[-1])],
                           gated.indicators.lifts, again.lifts)]
    if gated.corridors is not None:
        again_there = decide_corridors(plan, gated.corridors.counts, gated.calibrations, variances[Family.CORRIDORS],
                                       partners=partners)
        found += _differ("corridors", content["corridors"], gated.corridors.reasons, again_there.reasons)
    return found


def _differ(table: str, rows: list[dict[str, Any]], said: Reasons, again: Reasons) -> Iterator[str]:
    for row, stated, right in zip(rows, said.ravel().tolist(), again.ravel().tolist(), strict=True):
        where = " ".join(str(row[key]) for key in ("area", "origin", "destination", "role", "task") if key in row)
        if stated == 0 and right != 0:
            yield f"{table}: {where} is shown, and the rule says {reason(right)}"
        elif (stated == _PUBLIC) != (right == _PUBLIC):
            yield f"{table}: {where} is {reason(stated) or 'shown'}, and by declared coverage it is not"
