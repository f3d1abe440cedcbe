"""The even block of tiles."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from server.release.tiles import GAP, HEIGHT, WIDTH, block


@given(st.integers(1, 300))
def test_tiles_lie_in_the_order_of_the_codes_without_touching(number: int) -> None:
    codes = [f"XA-{i:03d}" for i in range(number)]
    found = block(codes)
    assert [tile.region for tile in found.tiles] == codes
    places = [(tile.y, tile.x) for tile in found.tiles]
    assert places == sorted(set(places)), "row by row, none twice"
    for tile in found.tiles:
        assert WIDTH / 2 <= tile.x <= found.width - WIDTH / 2
        assert HEIGHT / 2 <= tile.y <= found.height - HEIGHT / 2
        assert all(abs(tile.x - other.x) >= WIDTH + GAP or abs(tile.y - other.y) >= HEIGHT + GAP
                   for other in found.tiles if other is not tile)
    assert found.columns <= 8


def test_the_path_of_a_tile_goes_around_it_once() -> None:
    """Adding up its steps comes back to where it started, and stays within the tile."""
    tile = block(["XA-01", "XA-02"]).tiles[1]
    start = re.match(r"M(\d+) (\d+)", tile.path)
    assert start is not None
    x, y = int(start[1]), int(start[2])
    seen = [(x, y)]
    for command, arguments in re.findall(r"([hva])([-\d ]+)", tile.path):
        steps = [int(number) for number in re.findall(r"-?\d+", arguments)]
        x += steps[-2] if command == "a" else steps[0] if command == "h" else 0
        y += steps[-1] if command == "a" else steps[0] if command == "v" else 0
        seen.append((x, y))
    assert seen[0] == seen[-1]
    assert (min(x for x, _ in seen), max(x for x, _ in seen)) == (tile.x - WIDTH / 2, tile.x + WIDTH / 2)
    assert (min(y for _, y in seen), max(y for _, y in seen)) == (tile.y - HEIGHT / 2, tile.y + HEIGHT / 2)
