"""Runs the double: in this process until it is told to stop, or beside it in a thread."""

from pathlib import Path

from datauploader_sandbox.doubles.server import DoubleServer, serve_until_signal
from datauploader_sandbox.vuo.app import create
from datauploader_sandbox.vuo.seed import SECRET, Seed, default_seed
from datauploader_sandbox.vuo.store import Store


def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    state: Path | None = None,
    secret: str = SECRET,
    seed: Seed | None = None,
    widths: dict[str, int] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, and print the address first."""
    store = Store(state, seed or default_seed())
    serve_until_signal(create(store, secret, widths), host, port)
    store.close()


class VuoDouble(DoubleServer):
    """The double in a thread of this process; what was stored in a file stays when it is stopped."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        state: Path | None = None,
        secret: str = SECRET,
        seed: Seed | None = None,
        widths: dict[str, int] | None = None,
    ) -> None:
        self.secret = secret
        self.seed = seed or default_seed()
        self._store = Store(state, self.seed)
        super().__init__(create(self._store, secret, widths), "vuo", host, port)

    def stop(self) -> None:
        """Stop serving, and close the store."""
        super().stop()
        self._store.close()
