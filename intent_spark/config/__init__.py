"""Typed configuration: read from YAML, unknown keys refused, errors that name file and key."""
