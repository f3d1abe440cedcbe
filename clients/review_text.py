"""A review in words, for somebody who runs a helpline and not a cluster.

Order: who asks, what for, on whom, at what price, what leaves and what does not, the partner's rules, how to decide.
Every figure of privacy is rounded up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from shlex import quote
from textwrap import wrap

from clients.approvals import Decision
from clients.review import Review
from clients.review_counts import how_counts_leave, what_is_counted
from clients.review_sums import condition, how_it_leaves, keys_to_confirm, what_sums_rest_on
from clients.review_updates import how_updates_are_combined
from clients.wording import counted, either, listed
from federation.plan import StudyPlan
from federation.privacy.units import most_recognised, up
from federation.taxonomy import PartnerKind

_WIDTH = 100
_KINDS = {PartnerKind.PLATFORM: ("platform", "platforms"), PartnerKind.NGO: ("NGO", "NGOs"),
          PartnerKind.AGENCY: ("agency", "agencies")}
_WRONGLY = 0.01
_GLOSSES = {
    "minimum_partners": "; partners that must answer",
    "distributed_noise": "; parts whose noise is in the sum of all partners alone",
    "least_colluders": "; partners that may work with the coordinator",
    "least_noise_multiplier": "; noise of a training step, in clip norms",
    "least_l2_clip_norm": "; clip norm: the most that one person can move a training step",
    "least_table_noise_scale": "; noise in each number of the table that has least, in people"}


def as_text(review: Review, *, plan_path: str, home_path: str) -> str:
    """The whole review, ending with the commands for a decision about `plan_path` at `home_path`."""
    plan = review.plan
    sections = (
        (f"Study {plan.study} ({plan.label})", _opening(plan)),
        ("Who asks", _who(review)),
        ("What will be computed", _what(plan)),
        ("On whom (these numbers are exact, for your eyes, and stay here)", _whom(review)),
        ("What it costs each of these people", _cost(review)),
        ("What remains in the account", _account(review)),
        ("What leaves this house", _leaves(plan, review.partner)),
        ("What never leaves", _stays()),
        ("Not covered", _not_covered(review)),
        ("Your rules", _rules(review, home_path)),
        ("How to decide", _decide(review, plan_path, home_path)),
    )
    return "\n\n".join("\n".join([title, *(line for text in lines for line in _indented(text))])
                       for title, lines in sections)


def _indented(text: str) -> list[str]:
    # Hyphens and long words stay whole: commands and hashes are copied from here.
    if text.startswith("$ "):
        return [f"    {text[2:]}"]
    return wrap(text, width=_WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False,
                break_on_hyphens=False)


def _opening(plan: StudyPlan) -> Iterator[str]:
    yield plan.purpose
    if plan.regions_drawn:
        yield "The regions of its records were drawn at random, so nothing it publishes describes a place."
    if plan.rehearsal:
        yield ("This is a rehearsal: its noise can be repeated and protects nobody. It is only for invented or public "
               "records.")


def _who(review: Review) -> Iterator[str]:
    plan, signed = review.plan, review.signed
    yield (f"The coordinator whose key you pinned (coordinator_key in node.yaml), {signed.public_key[:16]}…; the "
           "signature fits the plan.")
    kinds = [entry.kind for entry in plan.roster]
    told = ", ".join(counted(kinds.count(kind), *_KINDS[kind]) for kind in PartnerKind if kind in kinds)
    you = f"you as {review.partner}" if plan.partner(review.partner) else f"and {review.partner} is not one of them"
    yield (f"{counted(len(plan.roster), 'partner takes', 'partners take')} part ({told}), {you}. At least "
           f"{plan.conduct.quorum} must answer each time, or the study stops.")
    yield f"By name: {', '.join(entry.name for entry in plan.roster)}."
    yield f"Plan {signed.sha256}"


def _what(plan: StudyPlan) -> Iterator[str]:
    training = plan.training
    yield (f"Learning: a model that tells {listed(plan.tasks)} from other texts, in "
           f"{counted(training.rounds, 'round', 'rounds')} of {counted(training.local_steps, 'step', 'steps')}, with "
           f"at most {training.max_records_per_person} records of each person. Texts are turned into numbers on this "
           f"machine by {plan.encoder.name} {plan.encoder.version}.")
    if plan.model.start is not None:
        yield "The model starts from weights in the plan, which come from no record of yours."
    yield from what_is_counted(plan)
    yield (f"Publishing: rates by region with their uncertainty, no earlier than {plan.release.embargo_days} days "
           f"after the period. Numbers that are meant to stand for fewer than {plan.release.minimum_count} people are "
           f"withheld. {plan.release.signatures} of {len(plan.release.signers)} named people must sign first.")


def _whom(review: Review) -> Iterator[str]:
    own = review.own
    if own is None:
        yield f"Nobody yet: {review.own_problem}"
        return
    plan, table = review.plan, review.plan.statistics
    yield (f"{counted(own.people, 'person', 'people')} here. {counted(own.training_people, 'trains', 'train')} the "
           f"model, with {counted(own.training_records, 'record', 'records')}.")
    held = (f"held out to measure the model (about {plan.holdout_share:.0%} of people, chosen by lot; they are never "
            "trained on)")
    unlabelled = f"none of their records is labelled positive or negative for {either(plan.tasks)}"
    yield from _left_out(own.held_out_people, "train", held)
    yield from _left_out(own.unlabelled_people, "train", unlabelled)
    yield f"{counted(own.counted_people, 'person counts', 'people count')} in the tables."
    placeless = f"none of their records is of the period and has a region of the plan as {either(table.roles)}"
    if table.appearances.releases_per_person < table.appearances.releases_a_year:
        placeless += ", or this study is not one of those that they count in"
    yield from _left_out(own.people - own.counted_people, "count", placeless)
    if own.withheld:
        yield (f"{counted(own.withheld, 'record takes', 'records take')} no part: retention has ended by the end of "
               "the study's period or by today, or the record is marked exclude_training.")
    if own.unattached:
        yield (f"{counted(own.unattached, 'record has', 'records have')} no person id and your rules leave such out "
               "(records_without_person_id: refuse).")
    if own.own_units:
        yield (f"{counted(own.own_units, 'record has', 'records have')} no person id and your rules take each as a "
               "person of its own (records_without_person_id: own_unit): somebody behind several is protected less.")
    if own.unreadable:
        yield f"{counted(own.unreadable, 'record is', 'records are')} in languages that the encoder does not read."


def _left_out(people: int, of: str, why: str) -> Iterator[str]:
    if people:
        yield f"{counted(people, 'person does', 'people do')} not {of}: {why}."


def _cost(review: Review) -> Iterator[str]:
    cost = review.cost
    yield (f"Learning ε = {up(cost.training)}, counting ε = {up(cost.statistics)}, together ε = {up(cost.total)}, each "
           f"at δ = {cost.delta:g}. Lower is safer.")
    right = math.ceil(100 * most_recognised(cost.total, cost.delta, wrongly=_WRONGLY) - 1e-9)
    yield from condition(review.plan)
    yield ("That means: somebody who sees everything that leaves here, knows everybody else in your records, and "
           "guesses whether one person is in them, being wrong about 1 in 100 people who are not, is right about at "
           f"most {right} in 100 who are.")
    several = ", ".join(f"{k} partners ε = {up(epsilon)}" for k, epsilon in cost.at_partners)
    yield f"For a person with records at several of the partners: {several}."


def _account(review: Review) -> Iterator[str]:
    ceilings, outlook = review.ceilings, review.outlook
    if outlook is None:
        yield (f"No account is open yet: it opens when the first study begins. Your ceilings: ε = {ceilings.study:g} a "
               f"study, {ceilings.year:g} a year, {ceilings.total:g} ever, at δ = {ceilings.delta:g}.")
        return
    if outlook.begun:
        lost = f", {outlook.unanswered:,} without a reply" if outlook.unanswered else ""
        yield (f"This study has begun: {counted(outlook.answered, 'request was', 'requests were')} answered{lost}. ε = "
               f"{up(outlook.study_spent)} is spent on it and stays spent, whatever you decide now.")
    for span, before, after, ceiling in (("This year", outlook.year_before, outlook.year_after, ceilings.year),
                                         ("Ever", outlook.total_before, outlook.total_after, ceilings.total)):
        yield (f"{span}: ε = {up(before)} spent so far, {up(after)} with this study, ceiling {ceiling:g} (at δ = "
               f"{ceilings.delta:g}).")
    if outlook.problem:
        yield f"NOT ENOUGH: the node will refuse. {outlook.problem}"


def _leaves(plan: StudyPlan, partner: str) -> Iterator[str]:
    rounds = plan.training.rounds
    yield (f"{counted(rounds, 'model update', 'model updates')}, one in each round, of {plan.model_size:,} numbers. "
           + how_it_leaves(plan.training.aggregation, "an update"))
    yield from how_updates_are_combined(plan, partner)
    yield from how_counts_leave(plan)
    if plan.secure_aggregation is not None:
        yield what_sums_rest_on(plan)
    yield "Your partner's name and, where this node declines, one of a few fixed words."


def _stays() -> Iterator[str]:
    yield "Records, texts, person ids and their pseudonyms, labels, and which records or people the model flags."
    yield ("The exact number of your records or people: learning uses your public number of slots instead (the round "
           "number in node.yaml that your people fit into), and every count in the tables carries noise.")


def _not_covered(review: Review) -> Iterator[str]:
    yield ("People who are only mentioned in somebody else's records; what you publish yourself; the time that this "
           "node takes to answer.")
    if review.plan.rehearsal:
        yield "And as this is a rehearsal, nobody at all."


def _rules(review: Review, home_path: str) -> Iterator[str]:
    yield from keys_to_confirm(review.unknown, home_path)
    yield from (f"BROKEN  {obstacle}" for obstacle in review.obstacles)
    for finding in sorted(review.findings, key=lambda finding: finding.met):
        if finding.met:
            gloss = _GLOSSES.get(finding.rule, "")
            yield f"kept    {finding.rule}: {finding.asked} (allowed: {finding.allowed}){gloss}"
        else:
            yield (f"BROKEN  {finding.rule}: {finding.asked} (allowed: {finding.allowed}). What to do: "
                   f"{finding.remedy}.")


def _decide(review: Review, plan_path: str, home_path: str) -> Iterator[str]:
    earlier, where = review.earlier, f"{quote(plan_path)} --home {quote(home_path)}"
    holds = None if earlier is None or review.price_changed else earlier.decision
    decline = f"$ leelight partner decline {where}"
    if earlier is not None:
        yield (f"On {earlier.decided_at:%Y-%m-%d} this plan was {earlier.decision.value} here, at ε = "
               f"{up(earlier.price.total)} at δ = {earlier.price.delta:g}.")
        if review.price_changed:
            yield "Its price has changed since, so that decision no longer holds."
    if not review.can_be_approved:
        yield "This plan cannot run here, because of what is marked BROKEN above."
        if holds is not Decision.DECLINED:
            yield "To decline it:"
            yield decline
    elif holds is Decision.APPROVED:
        yield "This node takes part when the coordinator asks. To withdraw the approval (what is spent stays spent):"
        yield decline
    else:
        yield "Nothing runs here until you approve. To approve:"
        yield f"$ leelight partner approve {where}"
        if holds is None:
            yield "To decline, for now or for good:"
            yield decline
