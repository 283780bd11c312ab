"""Tells a chat when a dataset is complete or refused: a consumer, and the pattern for others."""
