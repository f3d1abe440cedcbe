"""`regions.geojson`: the regions that have known boundaries, with the figures that are shown of them.

Each feature has flat properties named after role and task, such as `observed_distress_rate`, for tools that join and
colour by one name. What is withheld is null, with its reason; a protected region has a boundary and no figure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from server.release.boundaries import geojson

Content = Mapping[str, Any]
_ENDS = ("rate", "lower", "upper")


def regions_geojson(content: Content) -> bytes:
    """The map as UTF-8 GeoJSON (RFC 7946); equal content gives equal bytes."""
    regions = {area["code"]: area for area in content["areas"] if area["level"] == "region"}
    figures: dict[str, dict[str, Any]] = {code: {} for code in regions}
    for cell in content["cells"]:
        if cell["area"] in regions:
            figures[cell["area"]] |= _figures(cell)
    collection = geojson(tuple(regions))
    features = [{**feature, "properties": {
        **_release(content), "code": code, "name": regions[code]["name"], "status": regions[code]["status"],
        **(figures[code] or dict.fromkeys(_names(content)))}}
        for feature in collection["features"] for code in [feature["properties"]["code"]]]
    text = json.dumps({**collection, **_release(content), "features": features}, sort_keys=True, ensure_ascii=False,
                      allow_nan=False, separators=(",", ":"))
    return text.encode() + b"\n"


def _release(content: Content) -> dict[str, Any]:
    return {"label": content["label"], "synthetic": content["synthetic"], "regions_drawn": content["regions_drawn"],
            "rehearsal": content["privacy"]["rehearsal"], "study": content["study"],
            "period_end": content["period"]["end"], "released_on": content["released_on"]}


def _names(content: Content) -> Iterator[str]:
    for role in content["roles"]:
        for task in content["tasks"]:
            yield from (f"{role}_{task}_{name}" for name in (*_ENDS, "band", "withheld"))


def _figures(cell: Mapping[str, Any]) -> dict[str, Any]:
    stem, shown = f"{cell['role']}_{cell['task']}", cell["status"] == "shown"
    return {**{f"{stem}_{end}": cell["display"][end] if shown else None for end in _ENDS},
            f"{stem}_band": cell["band"] if shown else None, f"{stem}_withheld": cell.get("reason")}
