"""Uploads without a person."""
