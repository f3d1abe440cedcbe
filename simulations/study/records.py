"""One world, taken in and encoded once: who trains, and all records to judge models on, with what is true of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from clients.features import Prepared, prepare, usable_frames
from clients.node import NodeHome
from clients.people import Population, training_people
from clients.selection import target_matrix
from federation.messages import Arrays
from federation.model import initial_model, load_arrays, partner_prior
from federation.plan import StudyPlan
from federation.plan_parts import RosterEntry
from federation.taxonomy import Task
from simulations.homes import IngestJob, ingest, make_node
from simulations.settings import Settings
from simulations.study.figures import Floats, Judged, Mask
from simulations.study.lexicon import lexicon_score
from simulations.world.interface import World
from simulations.world.slices import slices, truth_table
from simulations.world.synthetic import SyntheticWorld

_HARD = "hard_negative:"
_LANGUAGE = "language:"


@dataclass(frozen=True)
class _Part:
    """One partner's readable records, row by row."""

    inputs: torch.Tensor
    prior: Floats
    lexicon: Floats
    table: pd.DataFrame
    """Columns `partner`, `held_out`, `unseen`, `recorded_<task>`, `true_<task>` if known, and a mask for each group."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all models of one world and seed share.

    Attributes:
        tasks: in the order of the plan.
        people: who trains, by partner.
        inputs: `(N, D + 1)`, of all readable records of all partners.
        priors: `(N, T)`, log-odds of the prevalence that the record's partner has declared.
        lexicon: `(N, T)`, the score of the word lists.
        judged: by the kind of truth (`truth`, only where the world is invented, or `recorded`) and task.
    """

    tasks: tuple[Task, ...]
    people: dict[str, Population]
    inputs: torch.Tensor
    priors: Floats
    lexicon: Floats
    judged: Mapping[tuple[str, Task], Judged]

    @classmethod
    def prepare(cls, settings: Settings, plan: StudyPlan, folder: Path) -> Self:
        """Take the settings' world in below `folder` and encode it.

        Args:
            settings: of the world and the seed.
            plan: any of the world's: its encoder, tasks and roster count.
            folder: for the homes.

        Raises:
            InputError: if the world's files cannot be read.
        """
        world, people, parts = settings.open_world(), {}, []
        for partner, entry in zip(world.partners, plan.roster, strict=True):
            home = make_node(folder, settings, world, partner)
            ingest(IngestJob(home=home, settings=settings, today=plan.period_end), lambda _done: None)
            prepared = prepare(home, plan)
            people[entry.name] = training_people(home, plan, entry, prepared)
            parts.append(_part(home, world, plan, entry, prepared))
        # A language or kind that a partner has no record of is in no mask of its own.
        table = pd.concat([part.table for part in parts], ignore_index=True)
        named = sorted(name for name in table if name.startswith((_HARD, _LANGUAGE)))
        groups = {name: table[name].eq(True).to_numpy() for name in named}
        return cls(
            tasks=plan.tasks, people=people, inputs=torch.cat([part.inputs for part in parts]),
            priors=np.concatenate([part.prior for part in parts]),
            lexicon=np.concatenate([part.lexicon for part in parts]), judged=_judged(plan.tasks, table, groups))

    def scores(self, plan: StudyPlan, model: Arrays) -> Floats:
        """The model's scores, without any partner's prevalence, `(N, T)`."""
        with torch.no_grad():
            scores: Floats = load_arrays(initial_model(plan), model)(self.inputs).numpy().astype(np.float64)
        return scores


def _part(home: NodeHome, world: World, plan: StudyPlan, entry: RosterEntry, prepared: Prepared) -> _Part:
    frame, holdout = prepared.frame, home.keyed("holdout")
    recorded = target_matrix(frame, plan)
    table = pd.DataFrame({
        "partner": entry.name, "unseen": False,
        "held_out": [holdout.value(unit) < plan.holdout_share for unit in frame["unit_key"]],
        **{f"recorded_{task.value}": recorded[:, column] for column, task in enumerate(plan.tasks)}})
    if isinstance(world, SyntheticWorld):
        joined = frame.join(truth_table(world, entry.name, secret=home.person_secret()), on="record_id")
        masks = slices(joined)
        told = {f"true_{task.value}": joined[f"true_{task.value}"].astype(float) for task in plan.tasks}
        groups = {name: mask for name, mask in masks.items() if name.startswith((_HARD, _LANGUAGE))}
        extra = pd.DataFrame({"unseen": masks["template_unseen"], **told, **groups})
        table = pd.concat([table.drop(columns="unseen"), extra.reset_index(drop=True)], axis=1)
    return _Part(
        inputs=torch.from_numpy(prepared.inputs(np.arange(len(frame)))),
        prior=np.tile(np.array(partner_prior(plan, entry)), (len(frame), 1)),
        lexicon=_lexicon(home, plan, frame["record_id"]), table=table)


def _lexicon(home: NodeHome, plan: StudyPlan, wanted: pd.Series[str]) -> Floats:
    """Scores of the word lists, `(records, T)`: texts as they are stored, which only a simulation may look into."""
    texts = pd.concat(list(usable_frames(home, plan)), ignore_index=True).set_index("record_id")["text"]
    return np.array([[lexicon_score(task, text) for task in plan.tasks] for text in texts.loc[wanted]]).reshape(
        len(wanted), len(plan.tasks))


def _judged(tasks: tuple[Task, ...], table: pd.DataFrame, groups: Mapping[str, Mask]) -> dict[tuple[str, Task], Judged]:
    partner: npt.NDArray[np.str_] = table["partner"].to_numpy(dtype=np.str_)
    return {
        (basis, task): Judged(
            truth=table[f"{prefix}_{task.value}"].to_numpy(dtype=np.float64), partner=partner, groups=groups,
            held_out=table["held_out"].to_numpy(dtype=bool), unseen=table["unseen"].to_numpy(dtype=bool))
        for basis, prefix in (("truth", "true"), ("recorded", "recorded")) for task in tasks
        if f"{prefix}_{task.value}" in table}
