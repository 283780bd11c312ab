"""What transfer does when it hears something: it writes down what is to be moved."""

from datauploader.contracts import AuditRequested, Event, FileReady, UploadControlled, receipts
from datauploader.messaging import Dispatcher, UnitOfWork
from datauploader_transfer.audits import PendingAudits
from datauploader_transfer.ledger import JobTable, UploadRoutes
from datauploader_transfer.remote_breaker import RemoteCircuitBreaker


def register(dispatcher: Dispatcher, breaker: RemoteCircuitBreaker) -> None:
    """Register a handler for every event of transfer's queues."""
    dispatcher.on(FileReady, ready, redeliver=True)
    dispatcher.on(AuditRequested, wanted, redeliver=True)
    dispatcher.on(UploadControlled, lambda unit, event: controlled(unit, event, breaker))


def ready(unit: UnitOfWork, event: Event[FileReady]) -> None:
    """Versions are finished; the receipts of those that are stored already are sent once more."""
    known = JobTable(unit.db).add_ready(event)
    for receipt, identity in receipts.of_stored(event.data.upload_id, event.data.destination, known):
        unit.follow(receipt, id=identity)


def wanted(unit: UnitOfWork, event: Event[AuditRequested]) -> None:
    """What lies on the storage is to be compared; whoever asks for it once more is told the same once more."""
    if (report := PendingAudits(unit.db).add_audit(event)) is not None:
        unit.publish(report)


def controlled(unit: UnitOfWork, event: Event[UploadControlled], breaker: RemoteCircuitBreaker) -> None:
    """A person pauses, resumes, cancels or retries an upload; a retry does not wait for its storage's pause to end."""
    upload_id = event.data.upload_id
    if event.data.action == "retry":
        PendingAudits(unit.db).requeue_lacking(upload_id)
        JobTable(unit.db).retry_jobs(upload_id, [file.raw for file in event.data.files])
        if (remote := UploadRoutes(unit.db).remote_of(upload_id)) is not None:
            breaker.close_circuit(remote)
    else:
        UploadRoutes(unit.db).steer_upload(upload_id, event.data.action, event.time, event.order)
