"""Free loopback ports that stay free: a server that was killed must find its port again when it restarts."""

import random
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"
FIRST_PORT = 10_000
EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_handed_out: set[int] = set()
_draw = random.SystemRandom()
"""Whose numbers nobody sets: Hypothesis seeds those of the module alike in every process that runs beside another."""


def free_port() -> int:
    """Pick a random port that nobody listens on, below those that the system gives to outgoing connections.

    A port of the ephemeral range may become the source port of any connection while its server is down.
    """
    last = _first_ephemeral_port() - 1
    for _ in range(1000):
        port = _draw.randint(FIRST_PORT, last)
        if port not in _handed_out and _can_bind(port):
            _handed_out.add(port)
            return port
    raise OSError(f"no free port between {FIRST_PORT} and {last} on {LOOPBACK}")


def accepts_connections(port: int) -> bool:
    """Say whether something listens on a loopback port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=2):
            return True
    except OSError:
        return False


def _first_ephemeral_port() -> int:
    try:
        first = int(EPHEMERAL_RANGE.read_text().split()[0])
    except OSError:
        first = 49_152  # IANA's range, where the system does not say its own
    return max(first, FIRST_PORT + 1000)


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
