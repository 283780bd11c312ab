"""The command line: one file for each group of commands."""

from datauploader_client.cli.app import main

__all__ = ["main"]
