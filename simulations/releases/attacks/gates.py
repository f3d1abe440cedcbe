"""The gates of a release, each on the code as it is and on its mutants: what was found, and whether it had to be.

(a) final values, (b) differencing, (c) reconstruction, (d) a classifier, (e) coverage of intervals: privacy.md 6. And
(f) margins: of what is withheld to protect partners. The tests run them small, `python -m simulations.releases.attacks`
at length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from federation.errors import InputError
from federation.plan import StudyPlan
from federation.plan_parts import Aggregation
from federation.randomness import RandomStream
from simulations.releases.attacks import classifier, coverage, differencing, floating, margins, reconstruction
from simulations.releases.attacks.bounds import Bound
from simulations.releases.attacks.equations import Contents
from simulations.releases.attacks.pairs import Pair, pairs
from simulations.releases.attacks.people import Counter, counter
from simulations.releases.attacks.worlds import attack_plan, background, claims, content_of, quick

AS_IT_IS = "the code as it is"
_FOLLOWED = 4
"""Contents that are made again from their own whole numbers."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is tried.

    Attributes:
        releases: for differencing, of each data set.
        neighbours: pairs for differencing; all if empty.
        values: contents for final values, of each data set.
        contents: for the classifier, of each data set.
        pairs: for the classifier; all if empty.
        people: worlds for reconstruction.
        studied, forgotten: releases for coverage, as it is and of mutants.
        worlds: for margins.
    """

    releases: int
    neighbours: Sequence[str]
    values: int
    contents: int
    pairs: Sequence[str]
    people: Sequence[tuple[int, ...]]
    studied: int
    forgotten: int
    worlds: int


SMALL = Size(releases=100_000, neighbours=("somebody in every table",), values=40, contents=32, studied=60,
             forgotten=25, worlds=60, people=(reconstruction.PEOPLE,), pairs=(
    "the only person of a federation without people", "everything", "at the threshold of signals",
    "in a protected region", "a record id that is taken"))
LARGE = Size(releases=1_000_000, neighbours=(), values=400, contents=200, pairs=(), studied=1000, forgotten=100,
             worlds=1000, people=(reconstruction.PEOPLE, (3000, 60, 700, 30), (100, 90, 80, 40), (20, 15, 10, 5)))


@dataclass(frozen=True, kw_only=True)
class Line:
    """One run of a gate: on which build, what was found, and whether that is as it must be."""

    gate: str
    build: str
    found: str
    passed: bool


@dataclass(frozen=True)
class Lab:
    """What all gates work with; everything in it is made once."""

    counter: Counter
    plan: StudyPlan
    seed: int
    _pairs: list[Pair] = field(default_factory=list)

    @cached_property
    def claims(self) -> dict[float, float]:
        return claims(self.plan)

    @property
    def claimed(self) -> float:
        """Epsilon of the tables at the plan's delta."""
        return self.plan.privacy.statistics_epsilon

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        halves = [attack_plan(releases_per_person=2, release_of_year=release) for release in (1, 2)]
        return tuple(pairs(self.plan, self.counter, (halves[0], halves[1])))

    def stream(self, *context: str) -> RandomStream:
        return RandomStream.derived(self.seed.to_bytes(8, "big"), *context)


@contextmanager
def lab(seed: int) -> Iterator[Lab]:
    """A lab in a folder of its own, for as long as it is needed."""
    plan = attack_plan()
    with counter(plan) as node, quick():
        yield Lab(node, plan, seed)


def final_values(lab: Lab, size: Size) -> Iterator[Line]:
    """(a) The floating-point event, on noisy sums and on final values."""
    vectors = next(pair for pair in lab.pairs if pair.name == "everything").vectors(lab.counter)
    builds: tuple[tuple[floating.Noisy, str, int], ...] = (
        (floating.whole, AS_IT_IS, size.values), (floating.even, "noise on even numbers", size.values),
        (floating.normal, "normal noise on float counts", _FOLLOWED))
    for noisy, build, contents in builds:
        trace = floating.trace(noisy, lab.plan, releases=400, stream=lab.stream("trace"), delta=lab.plan.privacy.delta,
                               claimed=lab.claimed)
        sides = floating.final_values(lab.plan, vectors, noisy, releases=contents, seed=lab.seed)
        unfounded = sum(bool(floating.unfounded(lab.plan, content)) for content in sides[0][:_FOLLOWED])
        _, apart = floating.values_apart(*sides, delta=lab.plan.privacy.delta, claimed=lab.claimed)
        caught = trace.broken or apart.broken or unfounded > 0
        yield Line(gate="final values", build=build, passed=caught != (build == AS_IT_IS),
                   found=f"trace {_said(trace)}; values apart {_said(apart)}; contents that do not follow from whole "
                         f"numbers: {unfounded} of {_FOLLOWED}")


def refused_values(lab: Lab, _: Size) -> Iterator[Line]:
    """(a) No content is made of anything but whole numbers."""
    values = background(lab.plan)
    refused = 0
    impossible: list[Any] = [values.astype(float), values * float("nan"), values[:-1], values.astype("int32")]
    for bad in impossible:
        try:
            content_of(lab.plan, bad)
        except InputError:
            refused += 1
    yield Line(gate="final values", build=AS_IT_IS, found=f"refused {refused} of 4 impossible vectors",
               passed=refused == 4)


def differences(lab: Lab, size: Size) -> Iterator[Line]:
    """(b) Differencing of neighbouring data sets, counted by the partner's own code."""
    for leak in (None, *differencing.LEAKS):
        bounds = differencing.differencing(
            lab.plan, lab.counter, lab.claims, releases=size.releases, seed=lab.seed, leak=leak,
            only=("somebody in every table",) if leak else size.neighbours)
        yield from (Line(gate="differencing", build=leak.name if leak else AS_IT_IS, found=f"{name}: {_said(bound)}",
                         passed=bound.broken == (leak is not None)) for name, bound in bounds.items())


def differences_in_secure_sums(lab: Lab, size: Size) -> Iterator[Line]:
    """(b) The same where only a sum is seen, to which each partner adds a share of the noise."""
    plan = attack_plan(aggregation=Aggregation.SECURE)
    bounds = differencing.differencing(plan, lab.counter, claims(plan), releases=size.releases, seed=lab.seed,
                                       only=("somebody in every table",))
    yield from (Line(gate="differencing", build=AS_IT_IS, found=f"{name}, secure sum: {_said(bound)}",
                     passed=not bound.broken) for name, bound in bounds.items())


def reconstructions(lab: Lab, size: Size) -> Iterator[Line]:
    """(c) Equations and linear programs over everything that is published."""
    contents = Contents(lab.plan)
    for people in size.people:
        found = reconstruction.reconstruct(contents, seed=lab.seed, people=people)
        yield Line(gate="reconstruction", build=AS_IT_IS, passed=not found.anything, found=_recovered(found))
    for name, publish in reconstruction.LEAKS.items():
        if equations := reconstruction.leans_on_withheld(contents, seed=lab.seed, publish=publish):
            yield Line(gate="reconstruction", build=name, passed=True, found=f"{equations} equations about withheld "
                       "measurements")
        else:
            found = reconstruction.reconstruct(contents, seed=lab.seed, publish=publish)
            yield Line(gate="reconstruction", build=name, passed=found.anything, found=_recovered(found))


def guesses(lab: Lab, size: Size) -> Iterator[Line]:
    """(d) A classifier of final contents."""
    chosen = [pair for pair in lab.pairs if not size.pairs or pair.name in size.pairs]
    for name, guess in classifier.classify(chosen, lab.counter, lab.claimed, releases=size.contents,
                                           seed=lab.seed).items():
        yield Line(gate="classifier", build=AS_IT_IS, found=f"{name}: {_guessed(guess)}",
                   passed=not guess.bound.broken)
    for build, (leak, where) in classifier.LEAKS.items():
        pair = [pair for pair in lab.pairs if pair.name == where]
        guess = classifier.classify(pair, lab.counter, lab.claimed, releases=size.contents, seed=lab.seed,
                                    leak=leak)[where]
        yield Line(gate="classifier", build=build, found=f"{where}: {_guessed(guess)}", passed=guess.bound.broken)


def intervals(lab: Lab, size: Size) -> Iterator[Line]:
    """(e) Intervals hold the truth as often as they say."""
    plan = coverage.coverage_plan()
    held = coverage.shares_held(plan, releases=size.studied, seed=lab.seed)
    missed = coverage.misses(held, size.studied)
    yield Line(gate="coverage", build=AS_IT_IS, found=_held(held), passed=not missed)
    for name, leak in coverage.LEAKS.items():
        held = coverage.shares_held(plan, releases=size.forgotten, seed=lab.seed, leak=leak)
        missed = coverage.misses(held, size.forgotten)
        yield Line(gate="coverage", build=name, found=_held(missed or held), passed=bool(missed))


def differences_of_places(lab: Lab, size: Size) -> Iterator[Line]:
    """(f) Places less their parts."""
    for name, leak in {AS_IT_IS: nullcontext, **margins.LEAKS}.items():
        found = margins.worked_out(worlds=size.worlds, seed=lab.seed, leak=leak)
        yield Line(gate="margins", build=name, passed=(found > 0) != (name == AS_IT_IS),
                   found=f"a partner's figures worked out in {found} of {size.worlds} worlds")


Gate = Callable[[Lab, Size], Iterator[Line]]
GATES: Mapping[str, Sequence[Gate]] = {
    "final values": (final_values, refused_values), "differencing": (differences, differences_in_secure_sums),
    "reconstruction": (reconstructions,), "classifier": (guesses,), "coverage": (intervals,),
    "margins": (differences_of_places,)}


def _said(bound: Bound) -> str:
    return f"ε ≥ {bound.lower:.3f} at δ = {bound.delta:g}, claimed {bound.claimed:.3f}"


def _guessed(guess: classifier.Guess) -> str:
    return f"{guess.accuracy:.0%} right, {_said(guess.bound)}"


def _recovered(found: reconstruction.Recovered) -> str:
    return (f"of {found.withheld} withheld measurements: {found.equations} equations about them, {found.measurements} "
            f"recovered; true counts recovered: {found.truths}; bounded to one number: {found.bounded}"
            + (f", narrowest range {found.narrowest:,.0f}" if found.narrowest < float("inf") else ""))


def _held(found: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:.1%}" for name, share in found.items())
