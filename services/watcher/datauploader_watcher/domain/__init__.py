"""Decisions of the watcher, free of clock, disk and threads."""
