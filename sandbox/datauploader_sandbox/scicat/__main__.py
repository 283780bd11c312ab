"""`python -m datauploader_sandbox.scicat`: the double as a process of its own."""

from datauploader_sandbox.doubles.server import command_line
from datauploader_sandbox.scicat import serve


def main() -> None:
    """Read the options and serve."""
    parser = command_line("SciCat")
    parser.add_argument("--api", choices=["v3", "v4"], default="v4", help="the newest interface that it offers")
    options = parser.parse_args()
    serve(options.host, options.port, api=options.api)


if __name__ == "__main__":
    main()
