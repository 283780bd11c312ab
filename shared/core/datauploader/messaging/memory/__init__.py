"""The engine for one process: the same rules as the broker's, kept in memory."""
