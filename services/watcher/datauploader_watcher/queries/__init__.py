"""Answers to questions about the disk of this station, before there is an upload."""
