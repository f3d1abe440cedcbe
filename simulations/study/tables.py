"""Tables on a terminal, and the same as a page. The page follows from the study's JSON alone, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from federation.taxonomy import Task
from simulations.study.plot import plot
from simulations.study.summary import METHODS, Cell, Spread, bars, epsilon_text, summary
from simulations.world.rows import STAMP

QUALITY: Final = {"auc": "AUC", "pr_auc": "PR-AUC", "recall": "Recall", "calibration_error": "Calibration error",
                  "unseen_recall": "Recall, unseen templates"}
PARTNERS: Final = {"lowest_auc": "AUC, lowest", "highest_auc": "highest", "lowest_pr_auc": "PR-AUC, lowest",
                   "highest_pr_auc": "highest"}
_ALARMS = "false_alarms:"
_BASES: Final = {"truth": "against the truth", "recorded": "against recorded labels"}
_ABOUT = """# How useful the model is

{stamp}

For each task, on the records of people whom no training has seen: the federation beside word lists, each partner
alone and everybody without protection. Written by

    {command}

{settings}

- **Word lists** count the words of a text that stand more often in the public sentences with a signal than in the
  others (`federation/start`). No training, no privacy cost.
- **Alone** is one partner by itself, judged on everybody's held-out records: mean over partners that label the task,
  and the median NGO. At an epsilon it pays what it would pay in the federation, with local noise.
- **Federated** is with each partner's own noise (`training=full_batch`), with the noise in secure sums
  (`training=secure`), and at ∞ without clipping or noise, for four times the rounds. **Pooled** is all records in
  one place.
- **Recall** is at the lowest threshold with a precision of 0.5, found on the same held-out records; false alarms are at
  that threshold. Ranking is by the model's own score, without any partner's prevalence; calibration error is of the
  probability by the prevalence that a partner declares, without the calibration of [calibration.md](calibration.md).
- **Unseen templates** are those of campaigns of which nobody labels a record, so that no training saw one; all people.
  A world of the default size has few such signals, and the figure varies as much: see its deviation.
- **Between partners**: lowest and highest over partners, each on its own held-out records, if it has five or more of
  either class. PR-AUC rises with prevalence, and partners differ in that.

Epsilon is of training, for one partner's person; a mean is over seeds, each with its own people, split and noise, and
± is the standard deviation. A dash: too few records, or no such figure.
"""
_REST = """
Not measured here: the error of published rates and their intervals (`python -m simulations.releases.study`).
"""


def quality_tables(study: Mapping[str, Any]) -> list[Table]:
    """One rich table for each world, task and kind of truth, and one of the bars."""
    found, tables = summary(study["rows"]), []
    for world, task, basis in _parts(found):
        label = study["worlds"][world]["label"]
        table = Table(title=f"{world} ({label}): {_head(found, world, task, basis)}", title_justify="left", box=None,
                      header_style="dim")
        for number, column in enumerate(("", "ε", *QUALITY.values())):
            table.add_column(column, justify="left" if number == 0 else "right")
        for cell, figures in _of(found, world, task, basis).items():
            table.add_row(METHODS[cell.method], epsilon_text(cell.epsilon), *(_text(figures.get(n)) for n in QUALITY))
        tables.append(table)
    return [*tables, *_bar_table(study["rows"])]


def _bar_table(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    if not (found := bars(rows)):
        return []
    table = Table("Task", "PR-AUC, secure, ε = 3", "", "Bar", "", box=None, header_style="dim")
    for bar in found:
        table.add_row(bar.task, bar.name, f"{bar.value:.3f}", bar.bound, "" if bar.met else "MISSED")
    return [table]


def page(study: Mapping[str, Any]) -> str:
    """The page about a study, in Markdown."""
    found = summary(study["rows"])
    invented = [world for world, about in sorted(study["worlds"].items()) if about["label"] == STAMP]
    stamp = "**SYNTHETIC** where the world is invented: no figure there is about a real place, group or text." if (
        invented) else "Real texts."
    text = _ABOUT.format(stamp=stamp, command=_command(study), settings=_settings(study))
    for world in sorted(study["worlds"]):
        text += f"\n## {world}: {study['worlds'][world]['label']}\n\n![PR-AUC by epsilon](utility-{world}.svg)\n"
        for _, task, basis in [part for part in _parts(found) if part[0] == world]:
            cells = _of(found, world, task, basis)
            text += f"\n### {_head(found, world, task, basis)}\n\n" + _markdown(cells, QUALITY)
            text += "\nBetween partners:\n\n" + _markdown(cells, PARTNERS)
            if alarms := {name: name.removeprefix(_ALARMS).replace("_", " ").replace("hard negative:", "").replace(
                    "language:", "") for name in _names(cells) if name.startswith(_ALARMS)}:
                text += "\nFalse alarms by kind of text and by language:\n\n" + _markdown(cells, alarms)
    if found_bars := bars(study["rows"]):
        text += "\n## Bars\n\nMean PR-AUC against the truth, secure sums at ε = 3.\n\n" + _lines(
            ("Task", "", "Found", "Bar", ""), [(bar.task, bar.name, f"{bar.value:.3f}", bar.bound,
                                                "met" if bar.met else "missed") for bar in found_bars])
    return text + _REST


def write_docs(study: Mapping[str, Any], folder: Path) -> None:
    """Write `utility.md`, and `utility-<world>.svg` for each world, into `folder`."""
    found = summary(study["rows"])
    for world, about in sorted(study["worlds"].items()):
        basis = "truth" if about["label"] == STAMP else "recorded"
        svg = plot({task.value: _of(found, world, task.value, basis) for task in Task}, f"{world}: {about['label']}")
        (folder / f"utility-{world}.svg").write_text(svg, encoding="utf-8")
    (folder / "utility.md").write_text(page(study), encoding="utf-8")


def _command(study: Mapping[str, Any]) -> str:
    data = " --data FOLDER" if set(study["worlds"]) - {"synthetic"} else ""
    return " ".join((f"python -m simulations.study{data} --worlds {','.join(sorted(study['worlds']))} --seeds "
                     f"{len(study['seeds'])} --epsilons {','.join(f'{e:g}' for e in study['epsilons'])} --docs",
                     *study["overrides"]))


def _settings(study: Mapping[str, Any]) -> str:
    return "\n".join(f"- {world}: {about['partners']} partners, {about['slots']:,} slots, encoder {about['encoder']}, "
                     f"δ = {about['delta']:g}" for world, about in sorted(study["worlds"].items()))


def _parts(found: Mapping[Cell, Any]) -> list[tuple[str, str, str]]:
    return list(dict.fromkeys((cell.world, cell.task, cell.basis) for cell in found))


def _of(found: Mapping[Cell, dict[str, Spread]], world: str, task: str, basis: str) -> dict[Cell, dict[str, Spread]]:
    return {cell: figures for cell, figures in found.items() if (cell.world, cell.task, cell.basis) == (
        world, task, basis)}


def _head(found: Mapping[Cell, dict[str, Spread]], world: str, task: str, basis: str) -> str:
    share = next(iter(_of(found, world, task, basis).values()))["prevalence"].mean
    return f"{task}, {_BASES[basis]}, {share:.1%} with a signal"


def _names(cells: Mapping[Cell, Mapping[str, Spread]]) -> list[str]:
    return sorted({name for figures in cells.values() for name in figures})


def _markdown(cells: Mapping[Cell, Mapping[str, Spread]], columns: Mapping[str, str]) -> str:
    return _lines(("", "ε", *columns.values()), [
        (METHODS[cell.method], epsilon_text(cell.epsilon), *(_text(figures.get(name)) for name in columns))
        for cell, figures in cells.items()])


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)) + "\n"


def _text(value: Spread | None) -> str:
    return "–" if value is None else str(value)
