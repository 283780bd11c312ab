"""`python -m datauploader_sandbox.vuo`: the double as a process of its own."""

import os
from pathlib import Path

from datauploader_sandbox.doubles.server import command_line
from datauploader_sandbox.vuo import SECRET, default_seed, serve


def main() -> None:
    """Read the options and serve."""
    parser = command_line("VUO")
    parser.add_argument("--state", type=Path, help="SQLite file; without it everything is forgotten at the end")
    parser.add_argument("--base-dir", default="/facility/store", help="where the investigations' data belong")
    parser.add_argument(
        "--width", action="append", default=[], metavar="COLUMN=BYTES", type=_width,
        help="how wide a column is, such as datasets.name=200; others take everything",
    )  # fmt: skip
    options = parser.parse_args()
    secret = os.environ.get("VUO_DOUBLE_SECRET", SECRET)
    seed = default_seed(options.base_dir)
    serve(options.host, options.port, state=options.state, secret=secret, seed=seed, widths=dict(options.width))


def _width(text: str) -> tuple[str, int]:
    column, _, size = text.partition("=")
    return column, int(size)


if __name__ == "__main__":
    main()
