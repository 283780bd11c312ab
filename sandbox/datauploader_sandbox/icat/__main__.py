"""`python -m datauploader_sandbox.icat`: the double as a process of its own."""

from datauploader_sandbox.doubles.server import command_line
from datauploader_sandbox.icat import serve


def main() -> None:
    """Read the options and serve."""
    options = command_line("ICAT").parse_args()
    serve(options.host, options.port)


if __name__ == "__main__":
    main()
