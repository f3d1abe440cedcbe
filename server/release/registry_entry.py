"""`privacy.json`: this release as an entry of the public registry of deployments of differential privacy.

The fields are those of the OpenDP deployments registry (registry.opendp.org; Ghazi, Nanayakkara and Vadhan 2025,
arXiv:2509.13509), tiers 1 to 3. Beside the entry stand the thresholds of the gate as numbers, and the names of the
fields that the coordinator has to fill in, since nothing in a plan says them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from federation.plan import StudyPlan
from federation.plan_parts import Aggregation
from federation.privacy.guarantee import ADJACENCY, UNIT
from federation.privacy.units import up

Content = Mapping[str, Any]
TO_FILL_IN: Final = ("deployment.basic.data_curators.0.data_curator_name",
                     "deployment.basic.data_curators.0.data_curator_type", "deployment.administrative.registry_authors")
_MEASURES = ("Sums are exact integers and noise is discrete, so no digit of a floating-point number tells anything. "
             "Tables are noised by OpenDP's sampler; composition is dp-accounting's.")


def privacy_json(content: Content, plan: StudyPlan) -> bytes:
    """The entry as UTF-8; equal input gives equal bytes."""
    document = {
        "layout": "OpenDP deployments registry, tier 3", "label": content["label"], "synthetic": content["synthetic"],
        "regions_drawn": content["regions_drawn"], "rehearsal": content["privacy"]["rehearsal"],
        "entry": {"url_slug": f"{content['study']}-{content['period']['end']}",
                  "deployment": _deployment(content, plan)},
        "to_fill_in": list(TO_FILL_IN), "gate": content["gate"], "privacy": content["privacy"],
        "responsible_use": content["responsible_use"],
    }
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _deployment(content: Content, plan: StudyPlan) -> dict[str, Any]:
    countries = [area["name"] for area in content["areas"] if area["level"] == "country"]
    return {
        "basic": {
            "name": f"{content['label']}: {content['study']}, {content['period']['start']} to "
                    f"{content['period']['end']}",
            "data_curators": [{"data_curator_name": "", "data_curator_type": ""}],
            "description": "Regional rates of signals of " + " and ".join(content["tasks"]) + " in the records of "
                           f"{sum(content['coverage']['partners'].values())} partner organisations, with intervals.",
            "intended_use": content["purpose"], "data_product_type": "Summary statistics",
            "data_product_region": ", ".join(countries) + (" (invented)" if content["synthetic"] else ""),
            "publication_date": content["released_on"]},
        "dp_variant": {
            "variant_name": "Approximate DP",
            "data_domain": "Records of people at each partner organisation, in public numbers of slots: each slot "
                           "holds one person with all of their records there, or nobody.",
            "unprotected_quantities": "None. The list of cells, the places, who takes part, what each partner declares "
                                      "to cover and every parameter are public and do not come from records."},
        "privacy_loss": _privacy_loss(content, plan),
        "deployment_model": _model(content, plan),
        "implementation": _implementation(content),
        "administrative": {"status": "Draft", "registry_authors": [], "tier": 3},
    }


def _privacy_loss(content: Content, plan: StudyPlan) -> dict[str, Any]:
    privacy = content["privacy"]
    training, statistics = privacy["parts"]
    several = ", ".join(f"{each['partners']} partners {up(each['epsilon'])}"
                        for each in privacy["same_person_at_partners"])
    return {
        "privacy_unit": privacy["privacy_unit"],
        "privacy_unit_details": f"Unit: {UNIT.in_words}. Adjacency: {privacy['adjacency']} ({ADJACENCY.in_words}). A "
                                f"person counts in at most {statistics['max_roles_per_person']} of "
                                f"{len(plan.statistics.roles)} roles, and in one region of each.",
        "privacy_parameters": {"epsilon": privacy["total_epsilon"], "delta": privacy["delta"]},
        "privacy_parameters_details": f"Composed of training (epsilon {up(training['epsilon'])}) and statistics "
                                      f"(epsilon {up(statistics['epsilon'])}) at the same delta. The same person with "
                                      f"records at several partners: {several}.",
    }


def _model(content: Content, plan: StudyPlan) -> dict[str, Any]:
    often, local = content["privacy"]["appearances"], Aggregation.LOCAL
    parts = (("model updates", plan.training.aggregation), ("tables", plan.statistics.aggregation))
    return {
        "model_name": "Federated",
        "model_name_details": "; ".join(
            f"{name}: " + ("each partner adds all of the noise before they leave (local to the partner)" if how is local
                           else "summed under secure aggregation, noise in the sum") for name, how in parts),
        "trust_assumptions": content["privacy"]["trust"],
        "actors": "Each partner holds its own records and is trusted with them. The coordinator sees what the model "
                  "above lets it see. Readers see the release.",
        "release_type": "Many releases" if often["releases_a_year"] > 1 else "One release",
        "release_type_details": f"{often['releases_a_year']} releases a year, of which this is number "
                                f"{often['release_of_year']}. The tables count a person in at most "
                                f"{often['releases_per_person']} of them, which costs that person epsilon "
                                f"{up(often['year_epsilon'])} at delta {content['privacy']['delta']:g} in a year.",
        "data_source_type": "Dynamic",
        "access_type": "Non-interactive",
    }


def _implementation(content: Content) -> dict[str, Any]:
    training, statistics = content["privacy"]["parts"]
    scales = ", ".join(f"{each['family']} {each['noise_scale']:g} (a person moves {each['entries']} entries by 1)"
                       for each in statistics["families"])
    gate = content["gate"]
    thresholds = ", ".join(f"{limit} ({family})" for family, limit in sorted(gate["thresholds"].items()))
    return {
        "preprocessing_and_hyperparameter_tuning":
            "Every parameter is fixed in a signed plan before any record is read. The plan does not say how its "
            "parameters were chosen.",
        "mechanisms":
            f"Training: {training['mechanism']}; noise multiplier {training['noise_multiplier']:g}, clip norm "
            f"{training['l2_clip_norm']:g}, sampling probability {training['sampling_probability']:g}, "
            f"{training['steps']} steps. Statistics: {statistics['mechanism']}; scales: {scales}. {_MEASURES}",
        "composition": content["privacy"]["accounting"],
        "post_processing":
            f"Thresholds on noisy counts: {thresholds}, from {gate['threshold_in_words']} with minimum_count = "
            f"{gate['minimum_count']} and false_publication = {gate['false_publication']:g}; correction for the "
            "model's errors; least squares over levels of places where all are shown; intervals, bands, trends.",
        "justification":
            f"A number that stands for fewer than {gate['minimum_count']} people passes its threshold with probability "
            f"{gate['false_publication']:g} at most. Thresholds are for readers and add nothing to the guarantee.",
        "utility": f"{content['suppression']['shown']} of {content['suppression']['cells']} rates are shown, each with "
                   "its interval.",
        "additional_information": f"Plan {content['plan_sha256']}, model {content['model_sha256']}.",
    }
