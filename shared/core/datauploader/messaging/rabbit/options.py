"""The engine's intervals and bounds in one place, so that a test can shorten them without touching the code."""

from dataclasses import dataclass

from datauploader.messaging.topology import RETRY_DELAYS_S


@dataclass(frozen=True, slots=True)
class Tuning:
    """How long the engine waits, and how much it holds; seconds unless the name says otherwise."""

    window: int = 1000
    """Published events that may be unconfirmed at once."""
    patience_s: float = 2.0
    """How long something may wait for the connection before it fails."""
    confirm_s: float = 20.0
    """How long the broker may take to confirm a message; after that it is not known to have it."""
    presence_s: float = 10.0
    """How long a queue that was seen is believed to be there."""
    heal_s: float = 60.0
    """How often a consumer declares its queue and bindings again."""
    backoff_first_s: float = 0.2
    backoff_most_s: float = 15.0
    stable_s: float = 60.0
    """How long a connection must have lasted for the next wait to be short again."""
    refused_s: float = 30.0
    """How often to ask again after the broker said no: an administrator may have mended it."""
    owned_s: float = 10.0
    """How long a queue stays with the state of its last consumer after that one has gone."""
    retry_delays_s: tuple[float, ...] = RETRY_DELAYS_S
