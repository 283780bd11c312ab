"""Somebody who remembers what the services claimed while a run went on; a consumer like any third party's."""

from types import TracebackType
from typing import Self

from datauploader.contracts import FileStored
from datauploader.contracts.registry import topic
from datauploader.messaging import Delivery, connect
from datauploader.messaging.topology import harvester_queue
from datauploader_sandbox.oracle.evidence import Receipt


class Witness:
    """Keeps every claim about a stored file, in the order in which it was made."""

    def __init__(self, broker: str) -> None:
        """Listen at the broker with this address, from `__enter__` to `__exit__`."""
        self._bus = connect(broker, name="witness")
        self._claims: list[tuple[str, Receipt]] = []
        self._heard: set[str] = set()

    @property
    def claims(self) -> tuple[Receipt, ...]:
        """What was claimed so far; an event that is delivered again claims nothing new."""
        return tuple(receipt for _, receipt in self._claims)

    def of(self, *upload_ids: str) -> tuple[Receipt, ...]:
        """What was claimed of these uploads so far."""
        return tuple(receipt for upload_id, receipt in self._claims if upload_id in upload_ids)

    def __enter__(self) -> Self:
        queue = harvester_queue("witness", [f"*.*.*.{topic(FileStored)}"])
        self._consumer = self._bus.consume(queue, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.stop(2)
        self._bus.close(2)

    def _hear(self, delivery: Delivery) -> None:
        event = delivery.event
        assert isinstance(event.data, FileStored)
        if event.id not in self._heard:
            self._heard.add(event.id)
            self._claims.extend(
                (event.data.upload_id, Receipt(stored.file.raw, stored.file.sha256, stored.state == "verified"))
                for stored in event.data.files
            )
