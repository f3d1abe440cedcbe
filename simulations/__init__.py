"""Federations that run on one machine: invented or public data, attacks on them, audits and benchmarks.

Nothing in `federation`, `clients` or `server` imports this package. What it prints carries the label of the world it
ran on, so that an invented result cannot be taken for a finding.
"""
