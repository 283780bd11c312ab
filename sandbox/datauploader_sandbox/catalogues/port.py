"""What every catalogue of the sandbox can do, and how a double of one is made to fail."""

from abc import ABC, abstractmethod
from typing import Any, Protocol

import httpx

ANNA = "sandbox-session-anna"
"""Her session at each system that has sessions, and her password at the gateway where there are none."""
HINT = f"the name anna.moretti and the password {ANNA}"
State = dict[str, Any]


class SandboxCatalogue(Protocol):
    """A catalogue that knows the people and experiments of the sandbox."""

    url: str
    """Where it is, for the services, and its page for people; "" where it has neither."""
    sign_in_hint: str
    """How a person signs in at the gateway."""

    def tables(self, url: str) -> dict[str, Any]:
        """Return the configuration of the services that use it at this address."""

    def credentials(self, session: str) -> dict[str, str]:
        """Return what the gateway is sent by the person whose session (or password) this is."""

    def state(self) -> State:
        """Return its datasets, in one form whatever the system: also `duplicates`, what was refused as twins."""

    def stop(self) -> None:
        """End it."""


class Switches(ABC):
    """Lets a double fail and shows what it holds, in the words of the port whatever the system."""

    _timeout_s = 30.0

    def __init__(self, url: str) -> None:
        """Use the double at this address."""
        self.url = url

    @abstractmethod
    def state(self) -> State:
        """Return `datasets`, and in `duplicates` what was refused as a twin."""

    def fail(self, operation: str, kind: str, times: int = 1, match: str = "", **more: Any) -> None:
        """Plan that calls fail.

        Args:
            operation: what they are for, such as `create_dataset`.
            kind: `unavailable`, `timeout`, `slow`, `lost`, `unreadable` or `refused`.
            times: how many; -1 for all of them.
            match: which ones: a value that they hold.
            more: fields of the double's own plans, such as `skip` and `seconds`.
        """
        plan = self._plan(operation, kind, match) | {"times": times} | more
        httpx.post(f"{self.url}/_double/faults", json=plan, timeout=self._timeout_s).raise_for_status()

    def fired(self) -> list[int]:
        """Return how often each planned fault has struck."""
        return [plan["fired"] for plan in self._get("faults")]

    def end_faults(self) -> None:
        """Be well again."""
        httpx.delete(f"{self.url}/_double/faults", timeout=self._timeout_s).raise_for_status()

    @abstractmethod
    def _plan(self, operation: str, kind: str, match: str) -> State:
        """Write down as the double's own plan that calls of an operation fail."""

    def _get(self, switch: str) -> Any:
        return httpx.get(f"{self.url}/_double/{switch}", timeout=self._timeout_s).json()
