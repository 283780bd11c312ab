"""A transfer service that finds every storage as it should be, for tests of those who wait for its audits."""

from collections.abc import Callable
from datetime import UTC, datetime

from datauploader.contracts import AuditReported, AuditRequested, Event
from datauploader.messaging.port import Bus, Delivery


def report_of(request: AuditRequested, **more: object) -> AuditReported:
    """Build the report that everything lies there, or one that says otherwise."""
    said: dict[str, object] = {
        "upload_id": request.upload_id, "audit": request.audit, "looked": datetime.now(UTC), "files": request.files,
        "objects": request.files, "manifest_sha256": request.manifest_sha256, "accepted": request.accept,
        "requested_by": request.requested_by,
    }  # fmt: skip
    return AuditReported.model_validate(said | more)


def auditor(bus: Bus) -> Callable[[Delivery], None]:
    """Make a handler for a transfer queue that answers every audit and lets everything else go."""

    def handle(delivery: Delivery) -> None:
        request = delivery.event
        if isinstance(request.data, AuditRequested):
            report: Event[AuditReported] = request.follow(report_of(request.data), service="transfer")  # type: ignore[assignment] # it follows with what it is given
            bus.publish(report)

    return handle
