"""A service that is made to die at a named point of a run, and what happens around that."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from datauploader.errors import GatewayUnreachable, RequestRefused
from datauploader_sandbox.detector import Detector, Plan
from datauploader_sandbox.oracle import read_ledger
from datauploader_testing.waiting import eventually

from .conftest import Case

SOON_S = 60.0
"""Within which a point must be reached, and a service that was started again be at work."""
T = TypeVar("T")


class Dying:
    """One dataset in a running facility, and the service that dies on the way to it."""

    def __init__(self, run: Case, dataset: str, service: str, point: str) -> None:
        """Choose who dies, and where: the name of a point, with `:3` for its third pass."""
        self.run, self.dataset, self.service, self.point = run, dataset, service, point
        self.folder = run.facility.watched / dataset
        self.upload = ""
        self._closed = self._died = False
        self._begun = self._deaths = 0
        self._environment: dict[str, str] = {}

    def arm(self, **environment: str) -> None:
        """Start the service anew, so that it will die at the point; return when it is at work, or dead already."""
        if self.run.services.runs(self.service):
            self.run.services.kill(self.service)
        self._begun, self._deaths = self._count("service_started"), self._count("crash_point_reached")
        self._environment = environment
        self.run.services.start(self.service, DATAUPLOADER_CRASH_AT=self.point, **environment)
        eventually(
            lambda: not self.run.services.runs(self.service) or self._count("service_started") > self._begun,
            within_s=SOON_S,
            every_s=0.1,
            what=f"{self.service} works",
        )

    def request(self, **more: Any) -> None:
        """Ask for the upload, however often it takes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = str(self.folder.resolve())
        self.upload = self.insist(lambda: self.run.request_once(self.dataset, path=path, kind="folder", **more))

    def write(self) -> None:
        """Write one scan as an instrument does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        Detector(self.folder, self.run.ledger, Plan(scans=1, frames=3, seconds_per_frame=0.02)).run()

    def close(self) -> None:
        """Close the upload, however often it takes."""
        try:
            self.insist(lambda: self.run.control(self.upload, "close"))
        except RequestRefused:
            assert self._died, "the upload was over before anybody closed it"
        self._closed = True

    def insist(self, call: Callable[[], T]) -> T:
        """Repeat a call of the gateway until it is there; what it needs and has died is started again.

        A catalog that dies at its first message may have been given one of an earlier run.
        """

        def attempt() -> list[T]:
            try:
                return [call()]
            except GatewayUnreachable:
                needed = self.service in ("gateway", "catalog")
                if needed and not self._died and not self.run.services.runs(self.service):
                    self.revive()
                return []

        return eventually(attempt, within_s=SOON_S, every_s=0.2, what="the gateway takes it")[0]

    def revive(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """See the service dead at the point, by SIGKILL, do something, and start it again as usual."""
        if self._died:
            return
        code = self.run.services.ended(self.service, SOON_S)
        words = self.run.services.log(self.service)[-2000:]
        assert code == -signal.SIGKILL, f"{self.service} ended with exit code {code}: {words}"
        assert self._count("crash_point_reached") > self._deaths, f"it was not at {self.point}: {words}"
        self._died = True
        meanwhile()
        self.run.services.start(self.service, **self._environment)
        self.run.heal()

    def judge(self, *, close: bool = True) -> None:
        """Wait until everything is well, have the oracle judge, and see that nothing was left for people to do."""
        self.run.facility.wait()
        if close and not self._closed:
            self.close()
        self.run.recover(self.upload, datasets=(self.dataset,), close=False)
        files = self.written()
        self.run.until(self.upload, lambda status: status.counts.catalogued.files == files, "all are told", SOON_S)
        assert not self.run.parked()

    def judge_unseen(self) -> None:
        """Do the same for a dataset that nobody who is signed in here asked for."""
        eventually(self._complete, within_s=120, every_s=0.2, what=f"{self.dataset} is complete in the catalogue")
        self.run.recover(datasets=(self.dataset,))
        assert not self.run.parked()

    def _complete(self) -> bool:
        return [d["complete"] for d in self.run.catalogue()["datasets"] if d["name"] == self.dataset] == [True]

    def written(self) -> int:
        """Count the files that must be stored."""
        return len(read_ledger(self.run.ledger))

    def remaining(self) -> list[Path]:
        """List the local files that are still there."""
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def _count(self, word: str) -> int:
        return int(self.run.services.log(self.service).count(word))
