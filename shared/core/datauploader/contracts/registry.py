"""The list of everything that can be said; a kind of event that is not here does not exist."""

from datauploader.contracts.audits import AuditReported, AuditRequested
from datauploader.contracts.datasets import DatasetCompleted, DatasetDelayed, DatasetEnsured, DatasetRefused
from datauploader.contracts.descriptions import (
    DatasetAnnotated,
    DatasetDescribed,
    InvestigationAnnotated,
    InvestigationDescribed,
)
from datauploader.contracts.files import (
    DatasetPartlyRefused,
    FileCatalogued,
    FileFailed,
    FileLeftOut,
    FileReady,
    FileReleased,
    FileStored,
)
from datauploader.contracts.metadata import MetadataExtracted
from datauploader.contracts.model import EventData
from datauploader.contracts.stations import StationReported
from datauploader.contracts.transfers import TransferProgressed
from datauploader.contracts.uploads import (
    UploadCancelled,
    UploadControlled,
    UploadOpened,
    UploadOutgrown,
    UploadRejected,
    UploadRequested,
    UploadScanned,
    UploadSealed,
)
from datauploader.errors import UnknownEvent

TYPE_PREFIX = "eu.ceric.datauploader."

EVENTS: tuple[type[EventData], ...] = (
    UploadRequested,
    UploadControlled,
    UploadOpened,
    UploadRejected,
    UploadScanned,
    UploadSealed,
    UploadOutgrown,
    UploadCancelled,
    FileReady,
    FileStored,
    FileFailed,
    FileCatalogued,
    FileLeftOut,
    FileReleased,
    TransferProgressed,
    DatasetEnsured,
    DatasetRefused,
    DatasetPartlyRefused,
    DatasetDelayed,
    DatasetCompleted,
    DatasetDescribed,
    DatasetAnnotated,
    InvestigationDescribed,
    InvestigationAnnotated,
    MetadataExtracted,
    AuditRequested,
    AuditReported,
    StationReported,
)


def topic(kind: type[EventData]) -> str:
    """Return the last three words of the routing key: `<noun>.<verb>.v<major>`."""
    return f"{kind.name}.v{kind.major}"


def type_name(kind: type[EventData]) -> str:
    """Return the CloudEvents `type`."""
    return TYPE_PREFIX + topic(kind)


_BY_TYPE = {type_name(kind): kind for kind in EVENTS}


def kind_of(cloud_type: str) -> type[EventData]:
    """Find the model for a CloudEvents `type`.

    Raises:
        UnknownEvent: no such event, or not in this version.
    """
    try:
        return _BY_TYPE[cloud_type]
    except KeyError:
        raise UnknownEvent(
            f"this release does not know the event type {cloud_type[:120]!r}; "
            "a newer service may have sent it: update this one, then replay the message"
        ) from None
