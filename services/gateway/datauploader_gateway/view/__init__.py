"""The status view: every event folded into Redis, read back for pages, programs and live streams."""
