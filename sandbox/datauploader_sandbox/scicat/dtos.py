"""Which fields SciCat takes, and how it says what is wrong with others; read in the DTOs of scicat-backend-next."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

Fields = dict[str, str]
"""Name and kind; a kind that ends in `!` is of a field that must be there."""
_EMAIL = re.compile(r"[^@\s;]+@[^@\s;]+\.[^@\s;]+")

OWNABLE: Fields = {"ownerGroup": "text!", "accessGroups": "texts", "instrumentGroup": "text"}
_DATASET: Fields = {
    **OWNABLE,
    **dict.fromkeys(("orcidOfOwner", "validationStatus", "description", "classification", "license"), "text"),
    **dict.fromkeys(("scientificMetadataSchema", "comment", "runNumber", "dataFormat", "jobLogData"), "text"),
    **dict.fromkeys(("keywords", "sharedWith", "inputDatasets", "usedSoftware"), "texts"),
    **dict.fromkeys(("size", "packedSize", "numberOfFiles", "numberOfFilesArchived"), "int"),
    **dict.fromkeys(("scientificMetadata", "jobParameters", "datasetlifecycle"), "object"),
    **dict.fromkeys(("isPublished", "scientificMetadataValid"), "flag"),
    **dict.fromkeys(("techniques", "relationships"), "list"),
    **dict.fromkeys(("startTime", "endTime"), "date"),
    "contactEmail": "emails!", "sourceFolder": "filled!", "creationTime": "date!", "ownerEmail": "email",
    "sourceFolderHost": "text", "dataQualityMetrics": "number",
}  # fmt: skip
DATASET_V3: Fields = {
    **_DATASET, "owner": "text!", "principalInvestigator": "text!", "creationLocation": "text!", "datasetName": "text",
    "proposalId": "text", "sampleId": "text", "instrumentId": "text", "investigator": "text",
}  # fmt: skip
DATASET_V4: Fields = {
    **_DATASET, "owner": "text", "datasetName": "text!", "creationLocation": "text",
    **dict.fromkeys(("principalInvestigators", "proposalIds", "sampleIds", "instrumentIds"), "texts"),
}  # fmt: skip
NEW_DATASET: Fields = {"pid": "text", "type": "text!", "version": "text"}
LIFECYCLE: Fields = {
    **dict.fromkeys(("archivable", "retrievable", "publishable", "isOnCentralDisk", "retrieveIntegrityCheck"), "flag"),
    **dict.fromkeys(("dateOfDiskPurging", "archiveRetentionTime", "dateOfPublishing", "publishedOn"), "date"),
    **dict.fromkeys(("archiveStatusMessage", "retrieveStatusMessage", "exportedTo", "storageLocation"), "text"),
    **dict.fromkeys(("archiveReturnMessage", "retrieveReturnMessage"), "any"),
}
BLOCK: Fields = {
    **OWNABLE, "ownerGroup": "text", "size": "int!", "chkAlg": "filled", "dataFileList": "files!",
    "isPublished": "flag",
}  # fmt: skip
_FILE: Fields = {
    "path": "text!", "size": "number!", "time": "date!", **dict.fromkeys(("chk", "uid", "gid", "perm", "type"), "text")
}  # fmt: skip
_PERIOD: Fields = {"instrument": "text!", "start": "date!", "end": "date!", "comment": "text"}
PROPOSAL: Fields = {
    **OWNABLE, "pi_email": "email", "email": "email!", "title": "text!", "startTime": "date", "endTime": "date",
    **dict.fromkeys(("pi_firstname", "pi_lastname", "firstname", "lastname", "abstract", "type"), "text"),
    "parentProposalId": "text", "metadata": "object", "MeasurementPeriodList": "periods", "instrumentIds": "texts",
}  # fmt: skip


def problems(body: dict[str, Any], fields: Fields, *, partial: bool = False) -> list[str]:
    """Return what class-validator would say; a partial body may leave out everything."""
    found = [f"property {name} should not exist" for name in body if name not in fields]
    for name, kind in fields.items():
        value = body.get(name)
        if value is None and (partial or not kind.endswith("!")):
            continue
        holds, words = _KINDS[kind.removesuffix("!")]
        if not holds(value):
            found.append(words.format(name))
    return found


def instant(text: str) -> str:
    """Write a time as the database gives it back: in UTC, to the millisecond."""
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(datetime.fromisoformat(value))
    except ValueError:
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_int(value: Any) -> bool:
    return _is_number(value) and value == int(value)


def _are_emails(value: Any) -> bool:
    return isinstance(value, str) and all(_EMAIL.fullmatch(one.strip()) for one in value.split(";"))


def _each(fields: Fields, *, filled: bool) -> Callable[[Any], bool]:
    def hold(value: Any) -> bool:
        each = isinstance(value, list) and all(isinstance(one, dict) and not problems(one, fields) for one in value)
        return each and (bool(value) or not filled)

    return hold


_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "any": (lambda _: True, ""),
    "text": (lambda value: isinstance(value, str), "{} must be a string"),
    "filled": (lambda value: isinstance(value, str) and bool(value), "{} should not be empty"),
    "texts": (
        lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
        "each value in {} must be a string",
    ),
    "int": (_is_int, "{} must be an integer number"),
    "number": (_is_number, "{} must be a number conforming to the specified constraints"),
    "flag": (lambda value: isinstance(value, bool), "{} must be a boolean value"),
    "object": (lambda value: isinstance(value, dict), "{} must be an object"),
    "list": (lambda value: isinstance(value, list), "{} must be an array"),
    "date": (_is_date, "{} must be a valid ISO 8601 date string"),
    "email": (lambda value: _are_emails(value) and ";" not in value, "{} must be an email"),
    "emails": (_are_emails, "Expected an email or a list of semicolon separated emails in {}"),
    "files": (_each(_FILE, filled=True), "{} should not be empty, nor hold fields that are unknown or missing"),
    "periods": (_each(_PERIOD, filled=False), "{} holds fields that are unknown or missing"),
}
