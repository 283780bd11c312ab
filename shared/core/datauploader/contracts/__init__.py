"""What DataUploader's services say to each other: the envelope and one module for each noun."""

from datauploader.contracts.address import Station
from datauploader.contracts.audits import AuditReported, AuditRequested
from datauploader.contracts.datasets import (
    DatasetCompleted,
    DatasetDelayed,
    DatasetEnsured,
    DatasetRefused,
    DatasetSpec,
    Parameter,
)
from datauploader.contracts.descriptions import (
    DatasetAnnotated,
    DatasetDescribed,
    InvestigationAnnotated,
    InvestigationDescribed,
)
from datauploader.contracts.envelope import Event, decode, encode
from datauploader.contracts.files import (
    CataloguedFile,
    DatasetPartlyRefused,
    FailedFile,
    FileCatalogued,
    FileFailed,
    FileLeftOut,
    FileReady,
    FileReleased,
    FileStored,
    FileVersion,
    LeftOutFile,
    RefusedFile,
    StoredFile,
)
from datauploader.contracts.metadata import ExtractedFile, MetadataExtracted
from datauploader.contracts.model import EventData
from datauploader.contracts.pictures import Picture
from datauploader.contracts.stations import StationReported
from datauploader.contracts.transfers import MovingFile, TransferProgressed
from datauploader.contracts.uploads import (
    Destination,
    Person,
    UploadCancelled,
    UploadControlled,
    UploadOpened,
    UploadOutgrown,
    UploadRejected,
    UploadRequested,
    UploadScanned,
    UploadSealed,
)

__all__ = [
    "AuditReported",
    "AuditRequested",
    "CataloguedFile",
    "DatasetAnnotated",
    "DatasetCompleted",
    "DatasetDelayed",
    "DatasetDescribed",
    "DatasetEnsured",
    "DatasetPartlyRefused",
    "DatasetRefused",
    "DatasetSpec",
    "Destination",
    "Event",
    "EventData",
    "ExtractedFile",
    "FailedFile",
    "FileCatalogued",
    "FileFailed",
    "FileLeftOut",
    "FileReady",
    "FileReleased",
    "FileStored",
    "FileVersion",
    "InvestigationAnnotated",
    "InvestigationDescribed",
    "LeftOutFile",
    "MetadataExtracted",
    "MovingFile",
    "Parameter",
    "Person",
    "Picture",
    "RefusedFile",
    "Station",
    "StationReported",
    "StoredFile",
    "TransferProgressed",
    "UploadCancelled",
    "UploadControlled",
    "UploadOpened",
    "UploadOutgrown",
    "UploadRejected",
    "UploadRequested",
    "UploadScanned",
    "UploadSealed",
    "decode",
    "encode",
]
