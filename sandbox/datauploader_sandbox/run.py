"""One upload in a facility in a box: asked for, steered, awaited, and judged by the oracle at the end."""

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from datauploader.contracts.rest.uploads import Upload
from datauploader.contracts.uploads import Action
from datauploader.errors import GatewayUnreachable
from datauploader_client.gateway_client import GatewayClient
from datauploader_sandbox.detector.ledger import Ledger
from datauploader_sandbox.facility import STATION, Facility
from datauploader_sandbox.oracle import Evidence, Verdict, judge, read_catalogue, read_directory, read_ledger
from datauploader_sandbox.oracle.evidence import Receipt
from datauploader_testing.waiting import eventually

SETTLED_S = 120.0
"""Within which everything must be well again after a fault."""


class Run:
    """One upload in a running facility."""

    def __init__(self, facility: Facility, ledger: Path) -> None:
        """Sign in; the generator of the files writes its ledger at `ledger`."""
        self.facility, self.ledger = facility, ledger
        self.token = facility.sign_in()

    def sign_out(self) -> None:
        """Give the token back: a person may have fifty."""
        address = f"{self.facility.url}/api/v1/tokens/current"
        httpx.delete(address, headers={"Authorization": f"Bearer {self.token}"}, timeout=30)

    def request(self, dataset: str = "run", mode: str = "sync", **more: Any) -> str:
        """Ask for an upload of the watched folder, as often as a service is still starting; return its id."""

        def ask() -> str:
            try:
                return self.request_once(dataset, mode, **more)
            except GatewayUnreachable:
                return ""

        return eventually(ask, within_s=30, every_s=0.5, what="the upload is taken")

    def request_once(self, dataset: str = "run", mode: str = "sync", **more: Any) -> str:
        """Ask for an upload of the watched folder; return its id, which is the same however often it is asked for.

        Raises:
            GatewayUnreachable: the gateway, or a service that it needs, does not answer.
        """
        wanted = {
            "investigation": "20260101",
            "dataset": {"name": dataset},
            "station": ".".join(STATION),
            "path": str(self.facility.watched.resolve()),
            "mode": mode,
            "quiet_period_s": 1.0,
            **more,
        }
        with GatewayClient(self.facility.url, self.token) as gateway:
            return gateway.request_upload(wanted, key=dataset).id

    def wrote(self, name: str) -> None:
        """Enter into the ledger what a file of the watched folder holds now."""
        with Ledger(self.ledger, self.facility.watched) as ledger:
            ledger.wrote(self.facility.watched / name)

    def control(self, upload_id: str, action: Action) -> None:
        """Steer the upload."""
        with GatewayClient(self.facility.url, self.token) as gateway:
            gateway.control(upload_id, action)

    def status(self, upload_id: str) -> Upload:
        """Return what the gateway says of an upload now."""
        with GatewayClient(self.facility.url, self.token) as gateway:
            return gateway.upload(upload_id)

    def until(
        self, upload_id: str, holds: Callable[[Upload], object], what: str, within_s: float = SETTLED_S
    ) -> Upload:
        """Wait until something holds of an upload."""

        def look() -> bool:
            seen.append(gateway.upload(upload_id))
            return bool(holds(seen[-1]))

        seen: deque[Upload] = deque(maxlen=1)
        with GatewayClient(self.facility.url, self.token) as gateway:
            try:
                eventually(look, within_s=within_s, every_s=0.1)
            except AssertionError:
                raise AssertionError(f"not within {within_s:g} s: {what}; at last {seen[-1]!r}") from None
        return seen[-1]

    def opened(self, upload_id: str) -> None:
        """Wait until the station has taken an upload up."""
        self.until(upload_id, lambda status: status.state == "open", "the upload is open")

    def completed(self, upload_id: str, within_s: float = SETTLED_S) -> Upload:
        """Wait until the dataset is complete."""
        return self.until(upload_id, lambda status: status.state == "completed", "the dataset is complete", within_s)

    def files(self, upload_id: str) -> Iterator[dict[str, Any]]:
        """Yield what the gateway says about each file."""
        after = None
        with GatewayClient(self.facility.url, self.token) as gateway:
            while True:
                page = gateway.files(upload_id, after=after)
                for file in page.items:
                    yield file.model_dump()
                after = page.next
                if after is None:
                    return

    def receipt(self, upload_id: str) -> dict[str, Any]:
        """Return the gateway's receipt: what a person has in hand in the end."""
        address = f"{self.facility.url}/api/v1/uploads/{upload_id}/receipt"
        answer = httpx.get(address, headers={"Authorization": f"Bearer {self.token}"}, timeout=60)
        receipt: dict[str, Any] = answer.raise_for_status().json()
        return receipt

    def verified(self, upload_id: str) -> int:
        """Count the files of which people are told now that their stored bytes were verified."""
        return sum(file["proof"] == "verified" for file in self.files(upload_id))

    def troubled(self, upload_id: str, reason: str, within_s: float = 60.0) -> dict[str, Any]:
        """Wait until people are shown a file with this reason; return what is said about it."""

        def found() -> dict[str, Any] | None:
            seen[:] = self.files(upload_id)
            return next((file for file in seen if file["reason"] == reason), None)

        seen: list[dict[str, Any]] = []
        try:
            file = eventually(found, within_s=within_s)
        except AssertionError:
            raise AssertionError(f"no file is shown with reason {reason} within {within_s:g} s: {seen[:3]}") from None
        assert file is not None
        return file

    def catalogue(self) -> dict[str, Any]:
        """Return the datasets that the catalogue holds."""
        return self.facility.catalogue.state()

    def stored(self) -> int:
        """Count the objects on the storage."""
        return sum(path.is_file() for path in self.facility.storage.rglob("*"))

    def catalogued(self, dataset: str = "run") -> int:
        """Count the datafiles of a dataset."""
        found = [one for one in self.catalogue()["datasets"] if one["name"] == dataset]
        return sum(len(one["datafiles"]) for one in found)

    def parameters(self, dataset: str, name: str, *, at_least: int = 1) -> list[Any]:
        """Wait for so many values of a parameter of the dataset's files, as harvesters report them."""

        def values() -> list[Any]:
            state = self.catalogue()
            found = [p for d in state["datasets"] if d["name"] == dataset for p in d["parameters"]]
            named = [p["value"] for p in found if p["name"].rsplit("/", 1)[-1] == name]
            return named if len(named) >= at_least else []

        return eventually(values, within_s=60, what=f"{at_least} values of {name}")

    def verdict(
        self, dataset: str = "run", receipts: Sequence[Receipt] = (), broken: Sequence[str] = ()
    ) -> Verdict:  # fmt: skip
        """Let the oracle compare what was written with what is stored, catalogued and, by receipts, said."""
        (stored,) = (path for path in self.facility.storage.rglob(dataset) if path.is_dir())
        evidence = Evidence(
            ledger=read_ledger(self.ledger),
            stored=read_directory(stored),
            catalogue=read_catalogue(self.catalogue(), dataset),
            receipts=receipts,
            kept={content.sha256 for content in read_directory(self.facility.watched).values()},
            broken=broken,
        )
        assert evidence.ledger, "the generator wrote nothing, so this run proves nothing"
        return judge(evidence)

    def judge(self, dataset: str = "run") -> None:
        """Have the oracle find nothing amiss, and the dataset complete in the catalogue."""
        verdict = self.verdict(dataset)
        assert verdict.holds, json.dumps({name: getattr(verdict, name) for name in verdict.counts}, indent=1)
        state = self.catalogue()
        assert [found["complete"] for found in state["datasets"] if found["name"] == dataset] == [True]
