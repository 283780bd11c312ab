"""Uploads that are there: lists, one as it happens, steering."""
