"""From a drawn record to the row that lies at the partner: what it knows, what it labelled, and where it erred."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, timedelta

from federation.taxonomy import ConsentBasis, Indicator, LabelValue, PartnerKind, Provenance, RegionRole, Task
from simulations.world.draws import Draws
from simulations.world.profiles import Places, Profile
from simulations.world.signals import Signals

STAMP = "SYNTHETIC"
_TAGS = tuple(tag for tag in Indicator if tag is not Indicator.TEMPLATED_CAMPAIGN)
_MARKS = tuple(f"indicator_{tag.value}" for tag in _TAGS)
_UNMARKED = dict.fromkeys(_MARKS, "")
_CLEAR = dict.fromkeys(_MARKS, "0")
_LABELS = tuple((task, f"label_{task.value}", f"label_{task.value}_provenance") for task in Task)
COLUMNS = ("record_id", "person", "actor_kind", "channel", "text", "language", "observed_at", "retention_until",
           *(f"region_{role.value}" for role in RegionRole), "country_only",
           *(column for _, *columns in _LABELS for column in columns), "weak_labels", "consent_basis", "synthetic",
           *_MARKS)
_BAD = ("unknown region", "no retention", "retention expired", "empty text")
_OTHER = (LabelValue.UNRELATED.value, LabelValue.GENERAL_INFORMATION.value, LabelValue.UNVERIFIED.value)
_POSITIVE, _NEGATIVE = LabelValue.POSITIVE.value, LabelValue.NEGATIVE.value
_CONSENT = {PartnerKind.PLATFORM: ConsentBasis.LEGITIMATE_INTEREST, PartnerKind.NGO: ConsentBasis.CONSENT,
            PartnerKind.AGENCY: ConsentBasis.PUBLIC_INTEREST}
_PROVENANCE = {PartnerKind.PLATFORM: (Provenance.USER_REPORT.value, Provenance.HUMAN_CROWD.value),
               PartnerKind.NGO: (Provenance.HUMAN_EXPERT.value, Provenance.CASE_OUTCOME.value),
               PartnerKind.AGENCY: (Provenance.HUMAN_EXPERT.value, Provenance.USER_REPORT.value)}
# Votes are what the record schema has for weak labels; training does not read them.
_VOTES = {vote: json.dumps([{"fn": "invented-rules", "vote": vote, "version": "1"}]) for vote in (1, -1)}


class RowMaker:
    """What one partner writes down.

    Args:
        start: first day of the quarter.
        days: in it.
        redefined: whether the narrower definition of a positive is in force.
    """

    def __init__(self, found: Profile, draws: Draws, *, start: date, days: int, redefined: bool) -> None:
        self._profile, self._kind, self._draws = found, found.kind, draws
        keep = timedelta(days=found.parameters.retention_days)
        dates = [start + timedelta(days=i) for i in range(days)]
        self._dates = [(day.isoformat(), (day + keep).isoformat()) for day in dates]
        self._tasks = found.partner.declared_prevalence
        self._provenance = _PROVENANCE[found.partner.kind]
        self._fixed = {"consent_basis": _CONSENT[found.partner.kind].value, "synthetic": STAMP}
        found_again = found.parameters.time.definition_factor if redefined else 1.0
        self._found = (1.0 - self._kind.missed) * found_again
        self._countries = {region: region.split("-")[0] for region in found.parameters.regions}

    def make(self, *, person: str, actor: str, channel: str, text: str, language: str, day: int, places: Places,
             transit: str, truth: Mapping[Task, bool], signals: Signals, held_out: bool) -> dict[str, str]:
        """The values of `COLUMNS`, in their order.

        Args:
            day: of the quarter, from 0.
            held_out: whether nobody may label it.
        """
        draws, kind = self._draws, self._kind
        observed_at, retention_until = self._dates[day]
        labels, labelled = self._labels(truth, held_out)
        return {
            "record_id": draws.uuid(), "person": person, "actor_kind": actor, "channel": channel, "text": text,
            "language": language if draws.random() < kind.language_given else "",
            "observed_at": observed_at, "retention_until": retention_until, **self._places(places, transit), **labels,
            "weak_labels": "" if labelled or held_out else self._vote(truth), **self._fixed,
            **(self._marks(signals) if labelled else _UNMARKED)}

    def spoil(self, row: dict[str, str]) -> str:
        """Make a row one that ingestion must reject, and say why."""
        reason = self._draws.pick(_BAD)
        if reason == "unknown region":
            row["region_observed"] = "ZY-99"  # neither in ISO 3166-2 nor in the user-assigned range
        elif reason == "no retention":
            row["retention_until"] = ""
        elif reason == "retention expired":
            row["retention_until"] = row["observed_at"]
        else:
            row["text"] = ""
        return reason

    def _places(self, places: Places, transit: str) -> dict[str, str]:
        draws, kind = self._draws, self._kind
        known = draws.random()  # one number for both ends: they are known together more often than by chance
        origin = places[RegionRole.ORIGIN] if known < kind.knows_origin else ""
        destination = places[RegionRole.DESTINATION] if (
            known < kind.knows_both
            or kind.knows_origin <= known < kind.knows_origin + kind.knows_destination - kind.knows_both) else ""
        observed = places[RegionRole.OBSERVED] if draws.random() < kind.knows_observed else ""
        transit = transit if draws.random() < kind.knows_transit else ""
        country = "" if origin or transit or destination or observed else self._countries[places[RegionRole.OBSERVED]]
        return {"region_origin": origin, "region_transit": transit, "region_destination": destination,
                "region_observed": observed, "country_only": country}

    def _labels(self, truth: Mapping[Task, bool], held_out: bool) -> tuple[dict[str, str], bool]:
        """The columns of the labels, and whether anybody looked at the record."""
        draws, labels, labelled = self._draws, dict[str, str](), False
        missing = draws.random() < self._kind.unlabelled
        provenance = draws.pick(self._provenance)
        for task, column, source in _LABELS:
            value = self._label(truth[task], missing) if task in self._tasks and not held_out else ""
            labels[column] = value
            labels[source] = provenance if value else ""
            labelled = labelled or value != ""
        return labels, labelled

    def _label(self, truth: bool, missing: bool) -> str:
        draws, kind = self._draws, self._kind
        if missing:  # where a call could not be verified, some call-takers say so and others leave it empty
            return LabelValue.UNVERIFIED.value if draws.random() < kind.other_answers else ""
        if draws.random() < (self._found if truth else kind.false_alarm):
            return _POSITIVE
        if not truth and draws.random() < kind.other_answers:
            return draws.pick(_OTHER)
        return _NEGATIVE

    def _vote(self, truth: Mapping[Task, bool]) -> str:
        """What the partner's own labelling function says of recruitment, if anything."""
        p, draws = self._profile.parameters, self._draws
        if not self._profile.platform or draws.random() >= p.weak_coverage:
            return ""
        says = p.weak_recall if truth[Task.RECRUITMENT] else self._profile.weak_false
        return _VOTES[1 if draws.random() < says else -1]

    @staticmethod
    def _marks(signals: Signals) -> dict[str, str]:
        """Whoever labels a record also notes what it shows; nobody looks for repetition, which no one text shows."""
        return _CLEAR | {f"indicator_{tag.value}": "1" for tag in signals.indicators}
