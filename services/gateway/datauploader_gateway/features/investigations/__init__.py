"""Investigations of a person."""
