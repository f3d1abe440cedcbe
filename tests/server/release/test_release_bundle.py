"""The files: the same bytes every time, nothing about withheld cells, and no change that goes unseen."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from federation.canonical import canonical_json, sha256_hex
from federation.errors import InputError
from federation.identity import SigningKey
from federation.plan import StudyPlan
from federation.statistics import SummedTables
from server.release.bundle import Release, verify_release, write_release
from server.release.content import RESPONSIBLE_USE
from server.release.gate import Withheld

FILES = ("release.json", "regions.csv", "index.html")
Publish = Callable[..., Release]


def content(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "release.json").read_bytes())["content"]


def test_verifies_and_says_what_it_must(twelve: Path, key: SigningKey) -> None:
    release = verify_release(twelve, key.public)
    said = release.content
    assert said["label"] == "SYNTHETIC"
    assert said["responsible_use"] == RESPONSIBLE_USE
    privacy = said["privacy"]
    assert privacy["privacy_unit"] == "person (author or subject) at one partner"
    assert privacy["adjacency"] == "replace the person's slot by a null person"
    assert [part["epsilon"] for part in privacy["parts"]] == [2.41, 1.13]
    assert (privacy["total_epsilon"], privacy["delta"]) == (2.98, 1e-5)
    assert privacy["trust"] == ("noise: each partner adds all of it, so the promise holds against the coordinator, "
                                "other partners and the public")
    assert privacy["secure_sums"] is None
    assert len(said["cells"]) == 12 * 3 * 2
    assert said["coverage"]["partners"] == {"agency": 1, "ngo": 2, "platform": 2}


def test_equal_input_gives_equal_bytes(tmp_path: Path, plan: StudyPlan, published: Publish) -> None:
    published(tmp_path / "a", plan)
    published(tmp_path / "b", plan)
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_withheld_cells_hold_no_number(twelve: Path) -> None:
    withheld = [cell for cell in content(twelve)["cells"] if cell["status"] == "withheld"]
    assert withheld
    for cell in withheld:
        assert set(cell) == {"region", "role", "task", "status", "reason"}
        assert cell["reason"] in set(Withheld)


def test_nothing_of_a_withheld_cell_leaves(
    tmp_path: Path, plan: StudyPlan, tabled: Callable[..., SummedTables], published: Publish
) -> None:
    """Swap what withheld cells hold among themselves: only their sum is in the overall rates, and no byte moves."""
    tables = tabled(plan)
    published(tmp_path / "a", plan, tables)
    said = content(tmp_path / "a")
    # A cell of too few partners or signals stays that, whichever of their counts of signals it holds.
    hidden = {(c["region"], c["role"], c["task"], c["reason"]) for c in said["cells"] if c["status"] == "withheld"}
    counts = tables.counts.copy()
    for j, role in enumerate(tables.layout.roles):
        for t, task in enumerate(tables.layout.tasks, start=1):
            for reason in (Withheld.TOO_FEW_SIGNALS, Withheld.TOO_FEW_PARTNERS):
                rows = [i for i, region in enumerate(tables.layout.regions)
                        if (region, role.value, task.value, reason.value) in hidden]
                counts[rows, j, t] = np.roll(counts[rows, j, t], 1)
    assert not np.array_equal(counts, tables.counts)
    published(tmp_path / "b", plan, replace(tables, counts=counts))
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_names_of_partners_are_nowhere(twelve: Path) -> None:
    for name in FILES:
        assert "partner-" not in (twelve / name).read_text(encoding="utf-8")


def test_table_has_a_row_a_cell_and_its_label(twelve: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((twelve / "regions.csv").read_text(encoding="utf-8"))))
    said = content(twelve)
    assert len(rows) == len(said["cells"])
    assert {row["label"] for row in rows} == {"SYNTHETIC"}
    for row, cell in zip(rows, said["cells"], strict=True):
        if cell["status"] == "withheld":
            assert row["reason"] == cell["reason"]
            assert not any(row[name] for name in row if "10000" in name or "_95" in name or name == "band")
        else:
            assert int(row["rate_per_10000"]) == cell["display"]["rate"]
            assert float(row["rate_per_10000_unclipped"]) == cell["unclipped"]["rate"]


def test_machines_can_tell_that_regions_were_drawn(twelve: Path, states: Path) -> None:
    for directory, drawn in ((twelve, False), (states, True)):
        rows = list(csv.DictReader(io.StringIO((directory / "regions.csv").read_text(encoding="utf-8"))))
        assert content(directory)["regions_drawn"] is drawn
        assert {row["regions_drawn"] for row in rows} == {"yes" if drawn else "no"}


def test_fewer_than_three_partners_publish_nothing(
    tmp_path: Path, planned: Callable[..., StudyPlan], published: Publish
) -> None:
    regions = ("XA-01", "XA-02")
    said = published(tmp_path, planned(regions, coverage=(regions, regions))).content
    assert {cell.get("reason") for cell in said["cells"]} == {"too_few_partners"}
    assert said["overall"] == []


@pytest.mark.parametrize("name", FILES)
def test_any_changed_byte_is_seen(
    tmp_path: Path, plan: StudyPlan, published: Publish, key: SigningKey, name: str
) -> None:
    published(tmp_path, plan)
    file = tmp_path / name
    data = file.read_bytes()
    for spot in (len(data) // 3, len(data) // 2):
        file.write_bytes(data[:spot] + bytes([data[spot] ^ 1]) + data[spot + 1:])
        with pytest.raises(InputError):
            verify_release(tmp_path, key.public)
    file.unlink()
    with pytest.raises(InputError, match="missing"):
        verify_release(tmp_path, key.public)


def test_re_hashed_content_needs_the_key(tmp_path: Path, plan: StudyPlan, published: Publish, key: SigningKey) -> None:
    published(tmp_path, plan)
    path = tmp_path / "release.json"
    document = json.loads(path.read_bytes())
    document["content"]["privacy"]["total_epsilon"] = 0.1
    document["content_sha256"] = sha256_hex(canonical_json(document["content"]))
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="signature"):
        verify_release(tmp_path, key.public)
    with pytest.raises(InputError, match="another key"):
        verify_release(tmp_path, SigningKey.generate().public)


def test_a_hash_stated_wrongly_is_refused(tmp_path: Path, plan: StudyPlan, published: Publish, key: SigningKey) -> None:
    """Content and signature fit each other, yet a reader who believes the stated hash would be misled."""
    published(tmp_path, plan)
    path = tmp_path / "release.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"content_sha256": "00" * 32}))
    with pytest.raises(InputError, match="hash that it states"):
        verify_release(tmp_path, key.public)


def test_additions_outside_the_signature_are_refused(
    tmp_path: Path, plan: StudyPlan, published: Publish, key: SigningKey
) -> None:
    published(tmp_path, plan)
    path = tmp_path / "release.json"
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps(document | {"note": "believe me"}))
    with pytest.raises(InputError, match="not a release"):
        verify_release(tmp_path, key.public)
    document["files"]["../elsewhere"] = "00"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="not a release"):
        verify_release(tmp_path, key.public)


def test_a_published_release_never_changes(
    tmp_path: Path, plan: StudyPlan, tabled: Callable[..., SummedTables], published: Publish, key: SigningKey
) -> None:
    first = published(tmp_path, plan)
    assert published(tmp_path, plan) == first == verify_release(tmp_path, key.public)
    with pytest.raises(InputError, match="another release"):
        published(tmp_path, plan, tabled(plan, seed=4))
    assert verify_release(tmp_path, key.public) == first


def test_parts_that_do_not_belong_together_are_refused(
    tmp_path: Path, plan: StudyPlan, planned: Callable[..., StudyPlan], tabled: Callable[..., SummedTables],
    key: SigningKey,
) -> None:
    tables = tabled(plan)
    given: dict[str, Any] = {"plan": plan, "plan_sha256": plan.sha256, "tables": tables, "model_sha256": "ab" * 32,
                             "released_on": date(2026, 8, 15), "key": key}
    unlabelled = planned(label="Pilot")
    for change in (
        {"plan_sha256": "00" * 32}, {"model_sha256": "xyz"}, {"released_on": date(2026, 6, 29)},
        {"tables": replace(tables, noise_variance=tables.noise_variance / 2)},
        {"tables": replace(tables, partners=(*tables.partners[:-1], "stranger"))},
        {"tables": replace(tables, partners=(tables.partners[0],) * 5)},
        {"tables": replace(tables, layout=replace(tables.layout, regions=tables.layout.regions[::-1]))},
        {"plan": unlabelled, "plan_sha256": unlabelled.sha256},
    ):
        with pytest.raises(InputError):
            write_release(tmp_path / "no", **(given | change))
    assert not (tmp_path / "no").exists()
