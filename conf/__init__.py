"""Hydra's configuration groups. They are composed in the launcher only; what travels is the signed plan."""
