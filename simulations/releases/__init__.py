"""Releases simulated many times over, with the truth at hand: what their intervals and gates are worth."""
