"""`python -m datauploader_sandbox.icat`: the double as a process of its own."""

import argparse

from datauploader_sandbox.icat import serve


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(prog="icat-double", description="A stand-in for ICAT, for trials only.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one and prints it")
    options = parser.parse_args()
    serve(options.host, options.port)


if __name__ == "__main__":
    main()
