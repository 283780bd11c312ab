"""Runs the double: as a process of its own, or in a thread of a test."""

from fastapi import FastAPI

from datauploader_sandbox.doubles.server import DoubleServer, serve_until_signal
from datauploader_sandbox.icat.app import Icat, create
from datauploader_sandbox.icat.seed import Seed, default_seed
from datauploader_sandbox.icat.soap import add_soap


def serve(host: str, port: int) -> None:
    """Serve until a signal comes, and print the address first."""
    serve_until_signal(_app(default_seed()), host, port)


class IcatDouble(DoubleServer):
    """The double in a thread of this process."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, seed: Seed | None = None) -> None:
        self.seed = seed or default_seed()
        super().__init__(_app(self.seed), "icat", host, port)


def _app(seed: Seed) -> FastAPI:
    icat = Icat(seed)
    app = create(icat)
    add_soap(app, icat)
    return app
