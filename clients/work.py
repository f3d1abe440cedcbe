"""The work behind the answers that touch records: a round, a table, and a partner's part of a sum.

Work of one message is kept for the next, in a process that lives longer than one message. Nothing here decides whether
an answer is allowed or what it costs: `clients.app` and `clients.secure` do, and call this behind the account.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clients.counting import noisy_tables
from clients.door import Inquiry
from clients.features import Prepared, prepare
from clients.people import Population, training_people
from clients.store import RecordStore
from clients.threads import use_threads
from clients.training import StepRule, gradient_share, train_round
from federation.errors import Refusal, RefusalCode
from federation.messages import Arrays, check_arrays, request_sha256
from federation.model import MultiTaskHead, initial_model, load_arrays, model_arrays
from federation.privacy.guarantee import partner_noise
from federation.randomness import RandomStream
from federation.statistics import IntArray


@dataclass
class _Work:
    records: Prepared | None = None
    people: Population | None = None


_works: dict[Path, tuple[object, _Work]] = {}
"""By home, the newest work alone: what was erased or has run out must not stay in memory."""


def _kept(inquiry: Inquiry) -> _Work:
    path = inquiry.home.store_path
    generation = -1
    if path.is_file():
        with RecordStore(path) as store:
            generation = store.generation()
    # The rules say which records take part, and the day which of them may still be kept.
    state = inquiry.plan.sha256, generation, inquiry.policy, date.today()
    if _works.get(inquiry.home.path, (None,))[0] != state:
        _works[inquiry.home.path] = state, _Work()
    return _works[inquiry.home.path][1]


def prepared_records(inquiry: Inquiry) -> Prepared:
    """The partner's records that take part, with their features."""
    kept = _kept(inquiry)
    if kept.records is None:
        kept.records = prepare(inquiry.home, inquiry.plan, policy=inquiry.policy)
    return kept.records


def training_population(inquiry: Inquiry) -> Population:
    """The partner's training people."""
    kept = _kept(inquiry)
    if kept.people is None:
        kept.people = training_people(inquiry.home, inquiry.plan, inquiry.entry, prepared_records(inquiry))
    return kept.people


def asked_model(inquiry: Inquiry) -> MultiTaskHead:
    """The model in the request.

    Raises:
        Refusal: `bad_request`, if there is none or it is not one of the plan.
    """
    if inquiry.request.arrays is None:
        raise Refusal(RefusalCode.BAD_REQUEST, "no model in the request")
    try:
        return load_arrays(initial_model(inquiry.plan), inquiry.request.arrays)
    except ValueError as error:
        raise Refusal(RefusalCode.BAD_REQUEST, str(error)) from None


def noise_stream(inquiry: Inquiry, *context: str) -> RandomStream | None:
    """A rehearsal's stream, different for each stage and each model asked about; None means the operating system."""
    return inquiry.home.noise_stream(inquiry.plan.sha256, request_sha256(inquiry.request), *context)


def trained(inquiry: Inquiry, model: MultiTaskHead) -> Arrays:
    """One round of local steps from `model`, with all the noise that the plan promises."""
    number = inquiry.request.round_number
    people = training_population(inquiry)
    use_threads(inquiry.home.settings.threads)
    stream = noise_stream(inquiry, "train", str(number)) or RandomStream.from_os()
    train_round(model, people, StepRule.of(inquiry.plan.training, inquiry.entry.slots), stream=stream)
    # Not finite here would be for reasons of noise and public constants alone: a person cannot cause it.
    return check_arrays(model_arrays(model), model_arrays(model))


def gradient_part(inquiry: Inquiry, model: MultiTaskHead) -> npt.NDArray[np.int64]:
    """What this partner puts into a round's sum of gradients, with its share of the noise."""
    number, plan = inquiry.request.round_number, inquiry.plan
    people = training_population(inquiry)
    use_threads(inquiry.home.settings.threads)
    stream = noise_stream(inquiry, "train", str(number)) or RandomStream.from_os()
    return gradient_share(model, people, StepRule.of(plan.training, inquiry.entry.slots),
                          noise_scale=partner_noise(plan).training, stream=stream)


def tables(inquiry: Inquiry, model: MultiTaskHead) -> IntArray:
    """The tables under `model`, with the noise, or the share of it, that the plan has this partner add."""
    use_threads(inquiry.home.settings.threads)
    return noisy_tables(inquiry.home, inquiry.plan, inquiry.entry, prepared_records(inquiry), model,
                        stream=noise_stream(inquiry, "table"))
