"""The closed vocabularies of a record and of a release.

Sources: HTCDS 2.0 (IOM) for exploitation forms and deciding organisations; ILO indicators of forced labour (2012) and
ILO/EC operational indicators (2009) for the tags and their strength. Values are stable ASCII codes.
"""

from __future__ import annotations

from enum import StrEnum


class Task(StrEnum):
    """What the model learns. The two are never merged into one score."""

    RECRUITMENT = "recruitment"
    DISTRESS = "distress"


class PartnerKind(StrEnum):
    PLATFORM = "platform"
    NGO = "ngo"
    AGENCY = "agency"


class ActorKind(StrEnum):
    """Whose privacy unit a record belongs to."""

    AUTHOR = "author"
    SUBJECT = "subject"
    REPORTER = "reporter"
    UNKNOWN = "unknown"


class Channel(StrEnum):
    PUBLIC_POST = "public_post"
    JOB_ADVERT = "job_advert"
    CLASSIFIED_AD = "classified_ad"
    MESSAGE_REPORTED = "message_reported"
    CASE_NARRATIVE = "case_narrative"
    HELPLINE_CALL = "helpline_call"
    HELPLINE_CHAT = "helpline_chat"
    REPORT_FORM = "report_form"


class TextRedaction(StrEnum):
    NONE = "none"
    RULES = "rules"
    RULES_AND_HUMAN = "rules+human"


class RegionRole(StrEnum):
    ORIGIN = "origin"
    TRANSIT = "transit"
    DESTINATION = "destination"
    OBSERVED = "observed"


class AreaLevel(StrEnum):
    """How coarse a place is; nothing is finer than a region."""

    REGION = "region"
    SUPER_REGION = "super_region"
    COUNTRY = "country"


class Family(StrEnum):
    """The tables that a partner counts. Each has noise of its own."""

    REGIONS = "regions"
    """By region and role: people reviewed, and flagged for each task."""
    SUPER_REGIONS = "super_regions"
    COUNTRIES = "countries"
    CONFUSION = "confusion"
    """Labelled people who did not train, by task, label and flag: how often the model errs."""
    INDICATORS = "indicators"
    """By place, role, task, and flagged or not: people, and those with each indicator."""
    CORRIDORS = "corridors"
    """By pair of origin and destination, both from one record: people reviewed, and flagged for each task."""
    DOMINANCE = "dominance"
    """By region, role and partner: people counted there. Tells whether one partner makes up a cell; never published."""
    SERIES = "series"
    """By place and role, over all releases of a series: people new in one of them, and flagged for each task."""
    SCORES = "scores"
    """Labelled people who train, by task, label and how high the model scores them: what a score means. Not published.
    """


class Exploitation(StrEnum):
    LABOUR = "labour"
    SEXUAL = "sexual"
    CRIMINALITY = "criminality"
    SERVITUDE = "servitude"
    BEGGING = "begging"
    MARRIAGE = "marriage"
    OTHER = "other"
    UNKNOWN = "unknown"


class ConsentBasis(StrEnum):
    CONSENT = "consent"
    PUBLIC_INTEREST = "public_interest"
    LEGAL_OBLIGATION = "legal_obligation"
    VITAL_INTEREST = "vital_interest"
    LEGITIMATE_INTEREST = "legitimate_interest"
    NOT_PERSONAL = "not_personal"


class LabelValue(StrEnum):
    """Only `positive` and `negative` train the model; a missing label is not a negative one."""

    POSITIVE = "positive"
    NEGATIVE = "negative"
    UNRELATED = "unrelated"
    GENERAL_INFORMATION = "general_information"
    UNVERIFIED = "unverified"


class Provenance(StrEnum):
    HUMAN_EXPERT = "human_expert"
    HUMAN_CROWD = "human_crowd"
    CASE_OUTCOME = "case_outcome"
    USER_REPORT = "user_report"
    WEAK = "weak"
    MODEL = "model"


class DecidingOrganisation(StrEnum):
    """HTCDS `vic_TraffickingStatusDecisionMakingOrg`."""

    POLICE = "Police"
    NGO = "NGO"
    COURT_OR_PROSECUTION = "CourtOrProsecution"
    NON_POLICE_GOVERNMENTAL = "NonPoliceGovernmentalOrganization"
    OTHER = "Other"


class Indicator(StrEnum):
    """Thirteen tags a reader can see in a text, and one computed from repetition. None of them proves anything."""

    DECEPTIVE_OFFER = "deceptive_offer"
    VAGUE_ROLE = "vague_role"
    UPFRONT_COST_DEBT = "upfront_cost_debt"
    ARRANGED_TRAVEL_HOUSING = "arranged_travel_housing"
    DOCUMENT_CONTROL = "document_control"
    PRIVATE_CHANNEL_MOVE = "private_channel_move"
    PRESSURE_SECRECY = "pressure_secrecy"
    PROFILE_TARGETING = "profile_targeting"
    VULNERABILITY_APPEAL = "vulnerability_appeal"
    CONTROL_ISOLATION = "control_isolation"
    THREAT_VIOLENCE = "threat_violence"
    WAGE_OVERWORK = "wage_overwork"
    DISTRESS_HELP = "distress_help"
    TEMPLATED_CAMPAIGN = "templated_campaign"
