"""Where a tile lies and how dark it is: the geometry of the map and of the interval bars.

A tile map gives each region the same area, so a large empty region does not shout and a small one can be read. The
states of the US lie in the well-known newsroom grid (8 rows of 11); all other regions lie in an even block for each
country, in the order of their codes, which claims no geography.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

BINS = 5
_WIDEST = 8
"""Most tiles in a row of an even block: on a phone of 360 px each still has 40 px."""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One region's place. `row` and `column` count from 1, as CSS grids do; `text` is the code that fits in it."""

    region: str
    text: str
    row: int
    column: int


@dataclass(frozen=True, kw_only=True)
class Block:
    """The tiles of one country, row by row. `geographic` says whether places in it mean anything."""

    country: str
    columns: int
    geographic: bool
    tiles: tuple[Tile, ...]


@cache
def us_grid() -> dict[str, tuple[int, int]]:
    """Row and column from 0 for the 50 states and the District of Columbia, by ISO 3166-2 code."""
    text = (Path(__file__).parent / "templates" / "us_tiles.json").read_text(encoding="utf-8")
    return {code: (row, column) for code, (row, column) in json.loads(text).items()}


def _us_block(codes: Sequence[str]) -> Block:
    grid = us_grid()
    columns = 1 + max(column for _, column in grid.values())
    below = 1 + max(row for row, _ in grid.values())
    places = {code: grid[code] for code in codes if code in grid}
    # Territories are not in the newsroom grid: they follow below it.
    for i, code in enumerate(code for code in codes if code not in grid):
        places[code] = (below + i // columns, i % columns)
    ordered = sorted(places.items(), key=lambda item: item[1])
    return Block(country="US", columns=columns, geographic=True, tiles=tuple(
        Tile(region=code, text=code.partition("-")[2], row=row + 1, column=column + 1)
        for code, (row, column) in ordered))


def _even_block(country: str, codes: Sequence[str]) -> Block:
    columns = min(_WIDEST, math.ceil(math.sqrt(len(codes) * 1.25)))
    return Block(country=country, columns=columns, geographic=False, tiles=tuple(
        Tile(region=code, text=code, row=1 + i // columns, column=1 + i % columns) for i, code in enumerate(codes)))


def lay_out(regions: Iterable[str]) -> tuple[Block, ...]:
    """One block a country, countries and regions by code."""
    countries: dict[str, list[str]] = {}
    for code in sorted(regions):
        countries.setdefault(code.partition("-")[0], []).append(code)
    return tuple(_us_block(codes) if country == "US" and any(code in us_grid() for code in codes)
                 else _even_block(country, codes) for country, codes in countries.items())


def _nice_steps(least: float) -> Iterable[int]:
    """Steps 1, 2, 5, 10, 20, … from `least` on."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power >= least:
                yield factor * power
        power *= 10


def bin_edges(rates: Sequence[int]) -> tuple[int, ...]:
    """Edges of at most five bins of equal, round width that hold all `rates`; the last bin includes its upper edge.

    Equal widths, not equal numbers of regions: quantile bins would be a ranking in disguise.

    Raises:
        ValueError: without rates.
    """
    if not rates:
        raise ValueError("no rates to put in bins")
    low, high = min(rates), max(rates)
    for step in _nice_steps(max(1.0, (high - low) / BINS)):
        # A scale that can start at zero for the same number of bins should.
        for start in (0, low // step * step):
            count = max(1, math.ceil((high - start) / step))
            if count <= BINS:
                return tuple(start + i * step for i in range(count + 1))
    raise AssertionError("unreachable: steps grow without end")


def bin_of(rate: int, edges: Sequence[int]) -> int:
    """Index of the bin that holds `rate`."""
    return next((i for i in range(len(edges) - 2) if rate < edges[i + 1]), len(edges) - 2)


def axis_ticks(highest: int, *, wanted: int = 5) -> tuple[int, ...]:
    """Round ticks from 0 to at least `highest`, about `wanted` steps."""
    step = next(iter(_nice_steps(max(1.0, highest / wanted))))
    return tuple(range(0, (max(1, math.ceil(highest / step)) + 1) * step, step))
