"""The truth about each record that a node took in, for studies that score a federation: never for a node.

    home = ...                                                    # a simulated partner's NodeHome
    truth = truth_table(world, home.settings.name, secret=home.person_secret())
    joined = prepared.frame.join(truth, on="record_id")           # frame: RecordStore.frame or clients.features.prepare
    for name, part in slices(joined).items():                     # masks on the rows of `joined`
        found = flagged[part & joined["true_recruitment"]].mean()  # recall; `flagged`: a bool Series on the same index

`truth_table` is indexed by the id under which a node stores a record (hex), so it joins on `record_id`. Without a
secret it is indexed by the id in the source file. Rows that ingestion must reject are not in it.

Columns: `partner`, `kind` (of partner), `person` (as in the file), `text_language` (that it is written in), `text_kind`
(`TextKind`), `voice`, `true_<task>` (bool), `recorded_<task>` (label in the file, a `LabelValue`, or empty),
`weak_vote` (1, -1, or 0 for none), `campaign`, `template` (empty: none), `template_seen` (bool; False also where there
is no template), `obfuscated` (bool), `region_<role>` (as in the file, empty: not given) and `day` (ISO 8601).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from clients.pseudonyms import record_id
from federation.taxonomy import RegionRole, Task
from simulations.world.drafts import Draft
from simulations.world.files import open_private
from simulations.world.grammar import HARD_KINDS
from simulations.world.interface import WorldPartner, find_partner
from simulations.world.synthetic import SyntheticWorld

TRUTH_COLUMNS = (
    "partner", "kind", "person", "text_language", "text_kind", "voice", *(f"true_{task.value}" for task in Task),
    *(f"recorded_{task.value}" for task in Task), "weak_vote", "campaign", "template", "template_seen", "obfuscated",
    *(f"region_{role.value}" for role in RegionRole), "day")


def truth_rows(world: SyntheticWorld, partner: str) -> Iterator[tuple[str, dict[str, object]]]:
    """(record id in the source file, values of `TRUTH_COLUMNS`) of each good row, in file order, one at a time.

    Raises:
        InputError: if there is no such partner.
    """
    public = find_partner(world.partners, partner)
    return ((draft.row["record_id"], _values(public, draft)) for draft in world.stream(partner) if not draft.bad)


def truth_table(world: SyntheticWorld, partner: str, *, secret: bytes | None = None) -> pd.DataFrame:
    """The truth about a partner's records, a row each; holds all of them, so for worlds of up to about 10^6 records.

    Args:
        secret: the partner's person secret (`NodeHome.person_secret`): the index is then the stored `record_id`, 32
            hexadecimal digits. Without one it is the `record_id` in the source file.

    Raises:
        InputError: if there is no such partner.
    """
    mapping = find_partner(world.partners, partner).mapping
    ids, rows = [], []
    for source, values in truth_rows(world, partner):
        ids.append(source if secret is None else record_id(secret, source, namespace=mapping).hex)
        rows.append(values)
    return pd.DataFrame(rows, columns=list(TRUTH_COLUMNS), index=pd.Index(ids, name="record_id"))


def slices(truth: pd.DataFrame) -> Mapping[str, pd.Series[bool]]:
    """Named parts of a truth table, as masks on its index.

    Keys: `all`; `template_seen`, `template_unseen`, `no_template`; `hard_negative:migrant_job`,
    `hard_negative:adult_services` (those that are true negatives of recruitment); `text_kind:<TextKind>`;
    `language:<code>`; `kind:<PartnerKind>`; `obfuscated`; `mislabelled:<task>` (labelled positive or negative, and
    wrongly). Recall of a slice is over its true positives, the false-alarm rate over its true negatives.
    """
    templated = truth["template"] != ""
    found = {"all": pd.Series(True, index=truth.index), "template_seen": templated & truth["template_seen"],
             "template_unseen": templated & ~truth["template_seen"], "no_template": ~templated,
             "obfuscated": truth["obfuscated"]}
    for kind in HARD_KINDS:
        found[f"hard_negative:{kind.value}"] = (
            (truth["text_kind"] == kind.value) & ~truth[f"true_{Task.RECRUITMENT.value}"])
    for prefix, column in (("text_kind", "text_kind"), ("language", "text_language"), ("kind", "kind")):
        found |= {f"{prefix}:{value}": truth[column] == value for value in sorted(truth[column].unique())}
    for task in Task:
        recorded, true = truth[f"recorded_{task.value}"], truth[f"true_{task.value}"]
        found[f"mislabelled:{task.value}"] = ((recorded == "positive") & ~true) | ((recorded == "negative") & true)
    return found


def write_truth_rows(world: SyntheticWorld, partner: str, directory: Path) -> Path:
    """Stream `<partner>.truth.SYNTHETIC.csv` into `directory` and return its path; `record_id` as in the source file.

    Raises:
        InputError: if there is no such partner.
    """
    rows = truth_rows(world, partner)
    with open_private(directory, f"{partner}.truth.SYNTHETIC.csv") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(("record_id", *TRUTH_COLUMNS))
        writer.writerows((source, *values.values()) for source, values in rows)
    return directory / f"{partner}.truth.SYNTHETIC.csv"


def _values(partner: WorldPartner, draft: Draft) -> dict[str, object]:
    row, origin = draft.row, draft.origin
    votes = json.loads(row["weak_labels"] or "[]")
    return {
        "partner": partner.name, "kind": partner.kind.value, "person": row["person"], "text_language": draft.language,
        "text_kind": draft.signals.kind.value, "voice": draft.signals.voice.value,
        **{f"true_{task.value}": draft.truth[task] for task in Task},
        **{f"recorded_{task.value}": row[f"label_{task.value}"] for task in Task},
        "weak_vote": votes[0]["vote"] if votes else 0,
        "campaign": origin.campaign if origin else "", "template": origin.template if origin else "",
        "template_seen": origin is not None and origin.seen, "obfuscated": draft.signals.obfuscated,
        **{f"region_{role.value}": row[f"region_{role.value}"] for role in RegionRole},
        "day": row["observed_at"]}
