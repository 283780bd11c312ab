"""Starts a command for each complete dataset: a consumer whose work takes long."""
