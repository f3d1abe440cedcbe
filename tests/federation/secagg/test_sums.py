"""Exact sums whoever vanishes when, and no sum at all beyond the limits."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import InputError
from federation.identity import SigningKey
from federation.secagg import Aborted, Collector, Participant, SessionSpec, Stage
from tests.federation.secagg.runs import make_spec, names, run, vectors_for

STAGES = st.sampled_from([*[None] * 6, *Stage])


@settings(max_examples=40)
@given(st.integers(3, 9) | st.integers(3, 30), st.data())
def test_the_sum_is_exact_or_there_is_none(count: int, data: st.DataObject) -> None:
    colluders = data.draw(st.integers(0, count // 3))
    threshold = (count + colluders) // 2 + 1
    spec = make_spec(count, colluders=colluders, quorum=data.draw(st.integers(threshold, count)),
                     length=data.draw(st.sampled_from([1, 2, 7, 130])),
                     bound=data.draw(st.sampled_from([1, 1000, (2**31 - 1) // count, 2**31, (2**63 - 1) // count])))
    vectors = vectors_for(spec, seed=data.draw(st.integers(0, 99)))
    drawn = {name: data.draw(STAGES) for name in spec.names}
    lost = {name: stage for name, stage in drawn.items() if stage is not None}
    left = {stage: [name for name in spec.names if name not in lost or list(Stage).index(lost[name]) > place]
            for place, stage in enumerate(Stage)}
    needed = {stage: spec.threshold if stage in (Stage.SURVIVORS, Stage.UNMASK) else spec.quorum for stage in Stage}
    failing = next((stage for stage in Stage if len(left[stage]) < needed[stage]), None)
    if failing is None:
        total = run(spec, vectors, lost, reload=data.draw(st.booleans()))
        assert total.survivors == tuple(left[Stage.MASKED])
        expected = [sum(int(vectors[name][place]) for name in total.survivors) for place in range(spec.length)]
        assert total.values.tolist() == expected
        assert total.values.dtype == np.int64
        return
    with pytest.raises(Aborted) as caught:
        run(spec, vectors, lost)
    aborted = caught.value
    assert (aborted.stage, aborted.answered, aborted.needed) == (failing, len(left[failing]), needed[failing])
    assert aborted.problem == "too few partners answered"
    assert aborted.remedy in str(aborted)


@pytest.mark.parametrize("stage", Stage)
def test_one_partner_too_few_stops_each_stage(stage: Stage) -> None:
    spec = make_spec(7)
    vectors, silent = vectors_for(spec), names(7)[:7 - spec.threshold]
    assert run(spec, vectors, dict.fromkeys(silent, stage)).values.size == spec.length
    with pytest.raises(Aborted, match=rf"stage {stage}: too few partners answered \(3 good answers, 4 needed\)"):
        run(spec, vectors, dict.fromkeys((*silent, "p06"), stage))


def test_the_ring_is_left_by_no_sum_within_the_bound() -> None:
    spec = make_spec(3, bound=(2**31 - 1) // 3)
    assert spec.ring.bits == 32
    total = run(spec, {name: np.full(6, spec.bound) for name in spec.names})
    assert total.values.tolist() == [3 * spec.bound] * 6


def test_the_longest_names_fit_into_every_message_and_state() -> None:
    long = {f"{number}".ljust(63, "x"): SigningKey.generate() for number in range(4)}
    spec = changed(roster=tuple((name, key.public) for name, key in long.items()), quorum=3)
    begun = {name: Participant.begin(spec, name, key) for name, key in long.items()}
    collector = Collector(spec)

    def stored(name: str) -> Participant:
        return Participant.from_bytes(begun[name][0].to_bytes(), spec, name, long[name])

    key_list = collector.keys(message for _, message in begun.values())
    partners = {name: stored(name) for name in long}
    deliveries = collector.shares([partner.shares(key_list) for partner in partners.values()])
    survivors = collector.masked([partner.masked(deliveries[name], np.ones(6, np.int64))
                                  for name, partner in partners.items()])
    request = collector.survivors([partner.survivors(survivors) for partner in partners.values()])
    assert collector.unmask([partner.unmask(request) for partner in partners.values()]).values.tolist() == [4] * 6


def changed(**changes: object) -> SessionSpec:
    good = make_spec(5)
    return SessionSpec(**({name: getattr(good, name) for name in good.__dataclass_fields__} | changes))


@pytest.mark.parametrize(("changes", "message"), [
    ({"plan_sha256": "xy"}, "plan_sha256.*64 hexadecimal"),
    ({"purpose": "A table"}, "purpose.*slug"),
    ({"round_number": -1}, "round_number: is -1"),
    ({"attempt": True}, "attempt"),
    ({"length": 0}, "length: is 0"),
    ({"length": 2**24 + 1}, "length.*16777216"),
    ({"bound": 0}, "bound"),
    ({"bound": 1.5}, "bound: is 1.5"),
    ({"bound": 2**62}, "bound.*coarser"),
    ({"roster": make_spec(5).roster[:2]}, "roster: is 2 partners.*3 to"),
    ({"roster": (*make_spec(5).roster[:3], make_spec(5).roster[0])}, "name is listed twice"),
    ({"roster": (*make_spec(5).roster[:3], ("x", make_spec(5).roster[0][1]))}, "public key is listed twice"),
    ({"roster": (*make_spec(5).roster[:3], ("x y", "ab" * 32))}, "'x y' is not a slug"),
    ({"roster": (*make_spec(5).roster[:3], ("x", "AB" * 32))}, "'x' is not a slug"),
    ({"quorum": 6}, "quorum: is 6.*1 to 5"),
    ({"quorum": 2}, "quorum: is 2 of 5.*at least 3"),
    ({"quorum": 3, "colluders": 1}, "quorum: is 3 of 5 partners with 1 colluders.*at least 4"),
    ({"quorum": 5, "colluders": 5}, "colluders: is 5.*0 to 4"),
    ({"colluders": -1}, "colluders: is -1"),
])
def test_each_rule_of_a_session_names_itself(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        changed(**changes)


@given(st.integers(3, 40), st.data())
def test_two_lists_with_enough_signatures_share_an_honest_partner(count: int, data: st.DataObject) -> None:
    colluders = data.draw(st.integers(0, count - 1))
    spec = make_spec(count, colluders=colluders, quorum=count)
    # Two sets of that size, as far apart as can be, and every colluder in both.
    assert 2 * spec.threshold - count > colluders
    assert spec.threshold <= spec.quorum


def test_every_fact_is_in_the_session_id() -> None:
    specs = [make_spec(5), changed(plan_sha256="cd" * 32), changed(purpose="train"), changed(round_number=2),
             changed(attempt=1), changed(length=7), changed(bound=1001), changed(quorum=4), changed(roster=(
                 *make_spec(5).roster[:4], ("p04", SigningKey.generate().public))), make_spec(6, quorum=4),
             changed(quorum=4, colluders=1)]
    assert len({spec.session_id for spec in specs}) == len(specs)
    shuffled = changed(roster=tuple(reversed(make_spec(5).roster)))
    assert shuffled.session_id == specs[0].session_id


def test_only_who_is_in_the_roster_begins() -> None:
    for name in ("p00", "stranger"):
        with pytest.raises(InputError, match=f"does not have {name}"):
            Participant.begin(make_spec(5), name, SigningKey.generate())


@pytest.mark.parametrize("vector", [np.zeros(5, np.int64), np.full(6, 1001), np.zeros(6)])
def test_a_vector_that_does_not_fit_the_session_never_leaves(vector: np.ndarray) -> None:
    spec = make_spec(5)
    with pytest.raises(InputError, match="vector"):
        run(spec, dict.fromkeys(names(5), vector))


def test_it_stands_without_torch_flower_and_opacus() -> None:
    code = ("import sys, pkgutil, importlib, federation.secagg as s\n"
            "for m in pkgutil.iter_modules(s.__path__): importlib.import_module('federation.secagg.' + m.name)\n"
            "print(sorted({'torch', 'flwr', 'opacus'} & {m.split('.')[0] for m in sys.modules}))")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
