"""Mappings that come with the program: one YAML file for each layout."""
