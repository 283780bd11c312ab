"""What transfer does when it hears something: it writes down what is to be moved."""

from datauploader.contracts import AuditRequested, Event, FileReady, UploadControlled, receipts
from datauploader.messaging import Dispatcher, UnitOfWork
from datauploader_transfer import audits, ledger
from datauploader_transfer.remote_breaker import RemoteCircuitBreaker


def register(dispatcher: Dispatcher, breaker: RemoteCircuitBreaker) -> None:
    """Register a handler for every event of transfer's queues."""
    dispatcher.on(FileReady, ready, redeliver=True)
    dispatcher.on(AuditRequested, wanted, redeliver=True)
    dispatcher.on(UploadControlled, lambda unit, event: controlled(unit, event, breaker))


def ready(unit: UnitOfWork, event: Event[FileReady]) -> None:
    """Versions are finished; the receipts of those that are stored already are sent once more."""
    known = ledger.add_ready(unit.db, event)
    for receipt, identity in receipts.of_stored(event.data.upload_id, event.data.destination, known):
        unit.follow(receipt, id=identity)


def wanted(unit: UnitOfWork, event: Event[AuditRequested]) -> None:
    """What lies on the storage is to be compared; whoever asks for it once more is told the same once more."""
    if (report := audits.add_audit(unit.db, event)) is not None:
        unit.publish(report)


def controlled(unit: UnitOfWork, event: Event[UploadControlled], breaker: RemoteCircuitBreaker) -> None:
    """A person pauses, resumes, cancels or retries an upload; a retry does not wait for its storage's pause to end."""
    upload_id = event.data.upload_id
    if event.data.action == "retry":
        audits.requeue_lacking(unit.db, upload_id)
        ledger.retry_jobs(unit.db, upload_id, [file.raw for file in event.data.files])
        if (remote := ledger.remote_of(unit.db, upload_id)) is not None:
            breaker.close_circuit(remote)
    else:
        ledger.steer_upload(unit.db, upload_id, event.data.action, event.time, event.order)
