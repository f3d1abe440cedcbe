"""PR-AUC against epsilon as an SVG: lines for what has an epsilon, dashed levels for what has none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from simulations.study.summary import METHODS, Cell, Spread

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT = 360, 260, 44, 44, 170
_COLOURS: Final = {"lexicon": "#777777", "alone_ngo": "#d55e00", "local": "#0072b2", "secure": "#009e73",
                   "federated": "#000000", "pooled": "#cc79a7"}
"""Of Okabe and Ito, which people who see colours differently can tell apart too."""


def plot(tasks: Mapping[str, Mapping[Cell, Mapping[str, Spread]]], title: str) -> str:
    """One panel for each task that has figures; `title` names the world and says whether it is invented."""
    shown = {task: cells for task, cells in tasks.items() if cells}
    panels = "".join(f'<g transform="translate({_LEFT + number * (_WIDTH + _LEFT)},{_TOP})">{_panel(task, cells)}</g>'
                     for number, (task, cells) in enumerate(shown.items()))
    right = _LEFT + len(shown) * (_WIDTH + _LEFT)
    keys = "".join(f'<text x="{right}" y="{_TOP + 18 * (line + 1)}" fill="{colour}">{METHODS[name]}</text>'
                   for line, (name, colour) in enumerate(_COLOURS.items()))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{right + _RIGHT}" height="{_TOP + _HEIGHT + 44}" '
            f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#ffffff"/>'
            f'<text x="{_LEFT}" y="18">{title}. PR-AUC by ε of training; dashed: no ε</text>{panels}{keys}</svg>\n')


def _panel(task: str, cells: Mapping[Cell, Mapping[str, Spread]]) -> str:
    epsilons = sorted({cell.epsilon for cell in cells if cell.epsilon is not None})
    low, high = math.log(epsilons[0]) - 0.2, math.log(epsilons[-1]) + 0.2

    def x(epsilon: float) -> float:
        return _WIDTH * (math.log(epsilon) - low) / (high - low)

    parts = [f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#999999"/><text y="-8">{task}</text>']
    parts += [f'<text x="{x(e):.1f}" y="{_HEIGHT + 16}" text-anchor="middle">{e:g}</text>' for e in epsilons]
    parts += [f'<text x="-6" y="{_y(tick):.1f}" text-anchor="end">{tick:g}</text>' for tick in (0, 0.25, 0.5, 0.75, 1)]
    for method, colour in _COLOURS.items():
        own = {cell.epsilon: figures["pr_auc"].mean for cell, figures in cells.items()
               if cell.method == method and "pr_auc" in figures}
        points = [(x(epsilon), _y(own[epsilon])) for epsilon in epsilons if epsilon in own]
        parts += [f'<circle cx="{at:.1f}" cy="{up:.1f}" r="3" fill="{colour}"/>' for at, up in points]
        line = " ".join(f"{at:.1f},{up:.1f}" for at, up in points)
        parts += [f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'] if points else []
        if None in own and not points:
            up = _y(own[None])
            parts.append(f'<path d="M0 {up:.1f}H{_WIDTH}" stroke="{colour}" stroke-dasharray="5 4"/>')
    return "".join(parts)


def _y(value: float) -> float:
    return _HEIGHT * (1 - value)
