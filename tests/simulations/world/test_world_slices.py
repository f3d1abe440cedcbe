"""The truth about each record, joined to what a node took in."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from clients.ingest.mapping import load_mapping
from clients.ingest.pipeline import ingest_file
from clients.store import RecordStore
from federation.errors import InputError
from federation.taxonomy import LabelValue, PartnerKind, Task
from simulations.world import SyntheticWorld
from simulations.world.slices import TRUTH_COLUMNS, slices, truth_table, write_truth_rows

WORLD = SyntheticWorld(seed=4)
NAME = "platform-classifieds"
SECRET = bytes(range(32))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """What a node keeps of the partner's file."""
    folder = tmp_path_factory.mktemp("node")
    with RecordStore(folder / "records.db") as store:
        report = ingest_file(
            WORLD.write(NAME, folder), mapping=load_mapping("leelight"), store=store, secret=SECRET,
            partner_kind=PartnerKind.PLATFORM, today=date(2025, 2, 1), quarantine_dir=folder / "quarantine",
            synthetic=True)
        frame = store.frame(date(2025, 2, 1))
    assert report.accepted == len(frame)
    return frame


def test_every_stored_record_has_its_truth_and_no_other(stored: pd.DataFrame) -> None:
    truth = truth_table(WORLD, NAME, secret=SECRET)
    assert set(stored["record_id"]) == set(truth.index)
    assert truth.index.is_unique
    assert tuple(truth.columns) == TRUTH_COLUMNS
    joined = stored.join(truth, on="record_id")
    for task in Task:
        labels = [found.get(task, "") for found in joined["labels"]]
        assert labels == list(joined[f"recorded_{task.value}"])
    assert (joined["unit_key"].groupby(joined["person"]).nunique() == 1).all()
    assert [day.isoformat() for day in joined["observed_at"]] == list(joined["day"])


def test_a_table_without_a_secret_is_by_the_id_in_the_file() -> None:
    plain, keyed = truth_table(WORLD, NAME), truth_table(WORLD, NAME, secret=SECRET)
    good = [draft for draft in WORLD.stream(NAME) if not draft.bad]
    assert list(plain.index) == [draft.row["record_id"] for draft in good]
    assert not set(plain.index) & set(keyed.index)
    pd.testing.assert_frame_equal(plain.reset_index(drop=True), keyed.reset_index(drop=True))


def test_slices_say_what_their_names_say() -> None:
    truth = truth_table(WORLD, NAME)
    found = slices(truth)
    drafts = [draft for draft in WORLD.stream(NAME) if not draft.bad]
    assert found["all"].all()
    assert list(found["no_template"]) == [draft.origin is None for draft in drafts]
    assert list(found["template_seen"]) == [draft.origin is not None and draft.origin.seen for draft in drafts]
    assert list(found["template_unseen"]) == [draft.origin is not None and not draft.origin.seen for draft in drafts]
    assert (found["no_template"] ^ found["template_seen"] ^ found["template_unseen"]).all()
    for kind in ("migrant_job", "adult_services"):
        assert list(found[f"hard_negative:{kind}"]) == [
            draft.signals.kind.value == kind and not draft.truth[Task.RECRUITMENT] for draft in drafts]
        assert found[f"hard_negative:{kind}"].any()
    assert list(found["obfuscated"]) == [draft.signals.obfuscated for draft in drafts]
    languages = [found[key] for key in found if key.startswith("language:")]
    assert sum(part.sum() for part in languages) == len(truth)
    for task in Task:
        wrong = {(LabelValue.POSITIVE.value, False), (LabelValue.NEGATIVE.value, True)}
        assert list(found[f"mislabelled:{task.value}"]) == [
            (draft.row[f"label_{task.value}"], draft.truth[task]) in wrong for draft in drafts]
    assert found["kind:platform"].all()


def test_weak_votes_are_in_the_table() -> None:
    votes = truth_table(WORLD, NAME)["weak_vote"]
    assert set(votes) == {-1, 0, 1}


def test_the_file_holds_what_the_table_does(tmp_path: Path) -> None:
    path = write_truth_rows(WORLD, NAME, tmp_path)
    assert path.name == f"{NAME}.truth.SYNTHETIC.csv"
    assert path.stat().st_mode & 0o077 == 0
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    truth = truth_table(WORLD, NAME)
    assert [row["record_id"] for row in rows] == list(truth.index)
    for column in TRUTH_COLUMNS:
        assert [row[column] for row in rows] == [str(value) for value in truth[column]]


def test_an_unknown_partner_is_refused(tmp_path: Path) -> None:
    for call in (lambda: truth_table(WORLD, "nobody"), lambda: write_truth_rows(WORLD, "nobody", tmp_path)):
        with pytest.raises(InputError, match="not in this world"):
            call()
    assert not list(tmp_path.iterdir())
