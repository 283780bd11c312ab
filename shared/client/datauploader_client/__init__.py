"""The gateway's interface for Python programs, and the command line."""
