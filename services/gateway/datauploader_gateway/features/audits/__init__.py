"""Comparisons of a storage with the manifest."""
