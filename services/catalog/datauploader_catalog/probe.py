"""Asks the catalogue now and then how it is, so that one that is away is told of before there is work for it."""

import structlog

from datauploader.plugins.catalogue.errors import CatalogError, NotTrusted
from datauploader.plugins.catalogue.port import Catalogue
from datauploader.reliability.backoff import Backoff
from datauploader.reliability.worker import PeriodicTask
from datauploader_catalog.objections import RARE_S

log = structlog.get_logger()

PROBE_S = 60.0
"""How often the catalogue is asked while it answers."""
_AGAIN = Backoff(first_s=PROBE_S, longest_s=120.0)


class CatalogueProbe(PeriodicTask):
    """A health check of the catalogue, in a thread of its own: what it finds is a check of the service."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Prepare; the first question comes a while after `start`, so that a service can start without a catalogue."""
        super().__init__("catalogue.probe", PROBE_S)
        self._catalogue, self._failures = catalogue, 0
        self.problem = ""
        """Why the catalogue cannot be used, "" where it can or has not been asked yet."""
        self.is_trusted = True
        """Whether it lets the service in, as far as is known; who asks only whether it answers does not see that."""

    def take_turn(self) -> float:
        """Ask once; more rarely while that fails."""
        try:
            self._catalogue.probe_catalogue()
        except CatalogError as error:
            self.is_trusted = not isinstance(error, NotTrusted)
            return self._failed(str(error), error.retry_after)
        except Exception as error:  # the boundary of the thread: an adapter of others may raise what it likes
            log.exception("catalogue_probe_stumbled")
            name = type(error).__name__
            return self._failed(f"an unexpected error ({name}) when the catalogue was asked; see the catalog's log")
        if self.problem:
            log.info("catalogue_answers_again")
        self._failures, self.problem, self.is_trusted = 0, "", True
        return PROBE_S

    def _failed(self, why: str, retry_after: float | None = None) -> float:
        self._failures += 1
        pause_s = min(_AGAIN.wait_s(self._failures, retry_after), RARE_S)
        if why != self.problem:
            log.warning("catalogue_probe_failed", problem=why, retry_in_s=pause_s)
        self.problem = why
        return pause_s
