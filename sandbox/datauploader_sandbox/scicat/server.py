"""Runs the double: in this process until it is told to stop, or beside it in a thread."""

from datauploader_sandbox.doubles.server import DoubleServer, serve_until_signal
from datauploader_sandbox.scicat.app import create
from datauploader_sandbox.scicat.seed import ScicatSeed, default_seed
from datauploader_sandbox.scicat.store import Store


def serve(host: str = "127.0.0.1", port: int = 0, *, api: str = "v4") -> None:
    """Serve until SIGTERM or SIGINT, and print the address first."""
    serve_until_signal(create(Store(default_seed()), api), host, port)


class ScicatDouble(DoubleServer):
    """The double in a thread of this process."""

    def __init__(self, *, port: int = 0, seed: ScicatSeed | None = None, api: str = "v4") -> None:
        super().__init__(create(Store(seed or default_seed()), api), "scicat", "127.0.0.1", port)
