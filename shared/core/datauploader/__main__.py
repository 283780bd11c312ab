"""`python -m datauploader`: the command line, where its program is not on the path."""

import sys
from importlib.metadata import entry_points

if __name__ == "__main__":
    for program in entry_points(group="console_scripts", name="datauploader"):
        sys.exit(program.load()())
    sys.exit("the command line is not installed here; install it with: pip install ceric-datauploader-client")
