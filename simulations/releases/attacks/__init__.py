"""Attacks on releases: what somebody can learn of one person, or of a withheld number, from all that is published.

Each attack is run on the code that makes real releases and must find nothing beyond what is claimed; and it is run on
mutants of that code, each with one mistake that real systems have made, and must find every one of them. An attack that
lets a mutant pass says nothing about the code that it was written for.
"""
