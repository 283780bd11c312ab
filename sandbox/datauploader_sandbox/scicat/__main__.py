"""`python -m datauploader_sandbox.scicat`: the double as a process of its own."""

import argparse

from datauploader_sandbox.scicat import serve


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(prog="scicat-double", description="A stand-in for SciCat, for trials only.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one and prints it")
    parser.add_argument("--api", choices=["v3", "v4"], default="v4", help="the newest interface that it offers")
    options = parser.parse_args()
    serve(options.host, options.port, api=options.api)


if __name__ == "__main__":
    main()
