"""What can go wrong with a private server, each with a sentence that says what to do.

ServerError
├── MissingProgramError         a program that the server needs is not installed
├── ServerStartError   the program ran and never answered, or ended
└── ServerToolError a tool of the server (rabbitmqctl, ssh-keygen, …) answered with an error
"""

from datauploader.errors import DataUploaderError


class ServerError(DataUploaderError):
    """Stand above every error of the private servers."""


class MissingProgramError(ServerError):
    """Say which program is missing and what installs it."""

    def __init__(self, program: str, install: str) -> None:
        super().__init__(f"'{program}' is not on this machine. Install it with: {install}")
        self.program = program
        self.install = install


class ServerStartError(ServerError):
    """Say that a server did not answer in time, with the end of its log."""


class ServerToolError(ServerError):
    """Say which command of a server failed, and what it printed."""
