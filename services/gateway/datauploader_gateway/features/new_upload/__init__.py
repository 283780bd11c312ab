"""Putting an upload together: choose, fill in, try, begin."""
