"""Draws small pictures of what is in stored files, so that people see at a glance what they have uploaded."""
