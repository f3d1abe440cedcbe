"""From rows to tables, bars, plots and the page."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from simulations.study.summary import Bar, Cell, Spread, bars, summary
from simulations.study.tables import page, quality_tables, write_docs


def row(method: str, pr_auc: float | None, *, seed: int = 1, epsilon: float | None = None, partner: str = "",
        kind: str = "", basis: str = "truth", task: str = "distress", world: str = "synthetic") -> dict[str, Any]:
    return {"world": world, "seed": seed, "method": method, "epsilon": epsilon, "task": task, "basis": basis,
            "partner": partner, "kind": kind,
            "figures": {"auc": 0.75, "pr_auc": pr_auc, "prevalence": 0.2, "false_alarms:language:en": 0.125}}


def study(secure: float = 0.66) -> dict[str, Any]:
    rows = [row("lexicon", 0.5), row("pooled", 0.8), row("federated", 0.7), row("local", 0.6, epsilon=3.0),
            row("secure", secure, epsilon=3.0), row("secure", 0.6, epsilon=1.0),
            *(row("alone", value, epsilon=3.0, partner=f"ngo-{value}", kind="ngo") for value in (0.3, 0.5, 0.54)),
            row("alone", 0.1, epsilon=3.0, partner="shop", kind="platform"),
            row("local", 0.6, epsilon=3.0, world="sms")]
    about = {"delta": 1e-5, "partners": 8, "slots": 8192, "encoder": "some"}
    return {"worlds": {"synthetic": {"label": "SYNTHETIC", **about}, "sms": {"label": "real texts", **about}},
            "seeds": [1], "epsilons": [1.0, 3.0], "overrides": ["world.size=tiny"], "rows": rows}


def cell(method: str, epsilon: float | None = None) -> Cell:
    return Cell("synthetic", "distress", "truth", method, epsilon)


def test_who_is_alone_is_put_together_by_seed_and_seeds_by_mean() -> None:
    rows = [row("alone", value, seed=seed, partner=f"{kind}-{number}", kind=kind)
            for seed, values in ((1, (0.1, 0.2, 0.6)), (2, (0.3, 0.4, 0.8)))
            for number, (value, kind) in enumerate(zip(values, ("ngo", "ngo", "platform"), strict=True))]
    rows += [row("alone", None, seed=1, partner="ngo-9", kind="ngo"), row("pooled", 0.5, seed=1)]
    found = summary(rows)
    assert found[cell("alone")]["pr_auc"].mean == pytest.approx((0.3 + 0.5) / 2)
    assert found[cell("alone")]["pr_auc"].deviation == pytest.approx(0.2 / 2**0.5)
    assert found[cell("alone_ngo")]["pr_auc"].mean == pytest.approx((0.15 + 0.35) / 2)
    assert found[cell("pooled")]["pr_auc"] == Spread(0.5, None)
    assert str(found[cell("pooled")]["pr_auc"]) == "0.500"
    assert str(Spread(0.5, 0.01)) == "0.500 ± 0.010"


@pytest.mark.parametrize(("secure", "met"), [(0.66, [True, True]), (0.649, [False, True]), (0.599, [False, False])])
def test_bars_hold_secure_sums_against_both(secure: float, met: list[bool]) -> None:
    found = bars(study(secure)["rows"])
    assert [bar.met for bar in found] == met
    assert [bar.value for bar in found] == pytest.approx([0.7 - secure, secure - 0.5])


def test_bars_need_the_epsilon_and_the_truth() -> None:
    rows = study()["rows"]
    assert not bars([one for one in rows if one["epsilon"] != 3.0])
    assert not bars([{**one, "basis": "recorded"} for one in rows])
    assert not bars([{**one, "world": "sms"} for one in rows])
    assert bars(rows)[0] == Bar(task="distress", name="what privacy costs", value=pytest.approx(0.04),
                                bound="≤ 0.05", met=True)


def test_a_page_follows_from_the_json_byte_for_byte(tmp_path: Path) -> None:
    for name in ("once", "again"):
        (tmp_path / name).mkdir()
        write_docs(json.loads(json.dumps(study(), sort_keys=name == "once")), tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "once").iterdir())
    assert files == ["utility-sms.svg", "utility-synthetic.svg", "utility.md"]
    assert all((tmp_path / "once" / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in files)


def test_a_page_says_what_made_it_and_that_it_is_invented() -> None:
    text = page(study())
    assert ("python -m simulations.study --data FOLDER --worlds sms,synthetic --seeds 1 --epsilons 1,3 --docs "
            "world.size=tiny") in text
    assert "**SYNTHETIC**" in text
    assert "## synthetic: SYNTHETIC" in text
    assert "### distress, against the truth, 20.0% with a signal" in text
    assert "| Federated, secure sums | 3 | 0.750 | 0.660 | – | – | – |" in text
    assert "| Alone, median NGO | 3 | 0.750 | 0.500 | – | – | – |" in text
    assert "| distress | what privacy costs | 0.040 | ≤ 0.05 | met |" in text
    real = study()
    real["worlds"].pop("synthetic")
    real["rows"] = [one for one in real["rows"] if one["world"] == "sms"]
    assert "SYNTHETIC" not in page(real)
    assert "## Bars" not in page(real)


def test_a_plot_has_a_line_for_each_way_and_a_level_for_what_has_no_epsilon(tmp_path: Path) -> None:
    write_docs(study(), tmp_path)
    text = (tmp_path / "utility-synthetic.svg").read_text(encoding="utf-8")
    assert "SYNTHETIC" in text
    found = ET.fromstring(text)  # noqa: S314  our own
    space = "{http://www.w3.org/2000/svg}"
    assert len(list(found.iter(f"{space}polyline"))) == 3  # local, secure, the median NGO
    assert len(list(found.iter(f"{space}path"))) == 3  # word lists, federated, pooled
    heights = [float(circle.attrib["cy"]) for circle in found.iter(f"{space}circle")]
    assert pytest.approx(min(heights), abs=0.06) == 260 * (1 - 0.66)


def test_tables_print_every_method_and_the_bars() -> None:
    console = Console(width=160, record=True, quiet=False, file=None)
    with console.capture() as capture:
        for table in quality_tables(study(0.599)):
            console.print(table)
    text = capture.get()
    for words in ("synthetic (SYNTHETIC): distress, against the truth", "Word lists", "Pooled", "MISSED", "0.599"):
        assert words in text
