"""A tile for each region of a country that has no boundaries to draw: an even block in the order of the codes.

A tile gives each region the same area, so a large empty one does not shout and a small one can be read. It claims no
geography.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, GAP, ROUND = 100, 62, 6, 8
"""Of a tile, of the gap between two, and the radius of its corners, in units of the drawing."""
_WIDEST = 8
"""Most tiles in a row: on a phone of 360 px each still has 40 px."""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One region's place: its outline as an SVG path, and its middle."""

    region: str
    path: str
    x: float
    y: float


@dataclass(frozen=True, kw_only=True)
class Block:
    """The tiles of one country, row by row, in a drawing `width` by `height`."""

    columns: int
    width: int
    height: int
    tiles: tuple[Tile, ...]


def _path(left: int, top: int) -> str:
    across, down, corner = WIDTH - 2 * ROUND, HEIGHT - 2 * ROUND, f"a{ROUND} {ROUND} 0 0 1 "
    return (f"M{left + ROUND} {top}h{across}{corner}{ROUND} {ROUND}v{down}{corner}-{ROUND} {ROUND}"
            f"h-{across}{corner}-{ROUND} -{ROUND}v-{down}{corner}{ROUND} -{ROUND}z")


def block(codes: Sequence[str], *, top: int = 0, columns: int | None = None) -> Block:
    """Tiles for `codes`, in their order; `top` leaves room above, `columns` is by default what makes an even block."""
    across = columns or min(_WIDEST, max(1, math.ceil(math.sqrt(len(codes) * 1.25))))
    tiles = []
    for i, code in enumerate(codes):
        left, upper = i % across * (WIDTH + GAP), top + i // across * (HEIGHT + GAP)
        tiles.append(Tile(region=code, path=_path(left, upper), x=left + WIDTH / 2, y=upper + HEIGHT / 2))
    return Block(columns=across, width=across * (WIDTH + GAP) - GAP,
                 height=top + math.ceil(len(codes) / across) * (HEIGHT + GAP) - GAP, tiles=tuple(tiles))
