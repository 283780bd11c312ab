"""Decisions of the catalog service that need no clock, no network and no disk."""
