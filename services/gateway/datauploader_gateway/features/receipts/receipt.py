"""A receipt: what was uploaded, by whom, where it is, and how much of that is proven. It never says more than that."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from datauploader.contracts import Parameter, Person
from datauploader.contracts.rest.audits import Audit
from datauploader.contracts.rest.descriptions import Description
from datauploader.contracts.rest.uploads import Amount, Upload
from datauploader_gateway.features.receipts.survey import Survey
from datauploader_gateway.projection.audited import finding
from datauploader_gateway.projection.fold import Register, stamp
from datauploader_gateway.projection.summary import of_dataset


class Manifest(BaseModel):
    """The digest that stands for all files at once, from three sides."""

    sealed: str = Field(description="As the station said it when it sealed the upload; empty: not yet.")
    completed: str = Field(description="As the catalog service said it when the dataset was complete.")
    computed: str = Field(description="Computed now from the files in the catalogue.")
    files: int = Field(description="Files that the computed digest covers.")
    bytes: int
    formula: str = "SHA-256 over `<sha256>  <path>` and a zero byte for every file, in order of the paths' bytes"
    plain_names: bool = Field(description="The manifest file writes every name byte for byte.")


class Way(BaseModel):
    """How many files were verified in one way."""

    method: str
    files: int
    bytes: int


class Proven(BaseModel):
    """The files by what is known of them; each file is counted once."""

    verified: Amount = Field(description="In the catalogue, and the stored bytes have the digest of the source.")
    unverified: Amount = Field(description="In the catalogue; the stored bytes were not compared.")
    stored: Amount = Field(description="On the storage, but not in the catalogue.")
    failed: Amount
    underway: Amount = Field(description="Neither stored nor given up.")
    left_out: int


class DatasetNamed(BaseModel):
    """The dataset as people describe it now, and as the catalogue knows it."""

    name: str
    type: str
    description: str
    parameters: tuple[Parameter, ...]
    id: str
    url: str
    doi: str


class Receipt(BaseModel):
    """Everything but the list of the files."""

    version: Literal[1] = 1
    complete: bool = Field(description="The dataset is complete, and every check agrees.")
    says: str = Field(description="The same in a sentence.")
    doubts: tuple[str, ...] = Field(description="Why it is not complete, a sentence each.")
    notes: tuple[str, ...] = Field(default=(), description="To be known, but no doubt about what was sealed.")
    made: str
    upload: str
    state: str
    investigation: str
    dataset: DatasetNamed
    requested_by: Person
    station: str
    path: str
    mode: str
    remote: str
    location: str
    requested: str
    sealed: str | None
    completed: str | None
    files: Proven
    verified_by: tuple[Way, ...]
    manifest: Manifest
    audited: Audit | None = Field(default=None, description="The latest comparison of the storage with the manifest.")
    check: tuple[str, ...] = Field(description="Commands for the dataset's folder that repeat the check.")


def write(upload: Upload, registers: Mapping[str, Register], found: Survey) -> Receipt:
    """Say what is proven, and whether that is all."""
    doubts = tuple(_doubts(upload, registers, found))
    files = _proven(upload, found)
    completed = registers.get("completed")
    covered = found.amount(state="catalogued")
    check: tuple[str, ...] = ()
    if not doubts:
        whole = "tr '\\n' '\\0' < manifest-sha256.txt | sha256sum"
        check = ("sha256sum -c manifest-sha256.txt", *(() if found.encoded else (whole,)))
    said = of_dataset(registers) or Description()
    return Receipt(
        complete=not doubts,
        says=_sentence(files, doubts, upload.sealed),
        doubts=doubts,
        notes=tuple(_notes(upload, said)),
        made=stamp(datetime.now(UTC)),
        upload=upload.id,
        dataset=DatasetNamed(
            name=upload.dataset,
            type=registers["request"].data["dataset"].get("type", ""),
            description=said.description,
            parameters=tuple(one for one in said.parameters if one.value != ""),  # emptied: not said
            id=upload.dataset_id,
            url=upload.dataset_url,
            doi=upload.doi,
        ),
        requested=upload.created,
        completed=completed.time if completed else None,
        files=files,
        verified_by=tuple(Way(method=way, **amount.model_dump()) for way, amount in found.ways().items()),
        manifest=Manifest(
            sealed=_said(registers, "seal").get("manifest_sha256", ""),
            completed=_said(registers, "completed").get("manifest_sha256", ""),
            computed=found.sha256,
            files=covered.files,
            bytes=covered.bytes,
            plain_names=not found.encoded,
        ),
        check=check,
        **upload.model_dump(include=_CARRIED),
    )


_CARRIED = {
    "audited", "state", "investigation", "requested_by", "station", "path", "mode", "remote", "location", "sealed",
}  # fmt: skip


def _proven(upload: Upload, found: Survey) -> Proven:
    stored = [found.amount(state=state) for state in ("verified", "unverified")]
    underway = [found.amount(state=state) for state in ("ready", "retrying")]
    return Proven(
        verified=found.amount(state="catalogued", proof="verified"),
        unverified=found.amount(state="catalogued", proof="unverified"),
        stored=_sum(stored),
        failed=found.amount(state="failed"),
        underway=_sum(underway),
        left_out=upload.left_out,
    )


def _sum(amounts: list[Amount]) -> Amount:
    return Amount(files=sum(a.files for a in amounts), bytes=sum(a.bytes for a in amounts))


def _said(registers: Mapping[str, Register], name: str) -> Mapping[str, Any]:
    return registers[name].data if name in registers else {}


def _doubts(upload: Upload, registers: Mapping[str, Register], found: Survey) -> list[str]:
    """List what speaks against calling the dataset complete; in doubt a receipt says so."""
    completed, seal = _said(registers, "completed"), _said(registers, "seal")
    known = found.amount(state="catalogued")
    if not completed:
        failed, wanted = found.amount(state="failed").files, _files(upload.counts.found.files)
        state = _STATES.get(upload.state, f"In the catalogue: {known.files:,} of {wanted}.")
        return [state, f"{_files(failed)} failed."] if failed else [state]
    doubts = []
    if seal and seal["manifest_sha256"] != completed["manifest_sha256"]:
        doubts.append("The station's latest manifest differs from the one that the dataset was completed with.")
    if (known.files, known.bytes) != (completed["files"], completed["bytes"]) or found.without_digest:
        doubts.append(
            f"The dataset has {completed['files']} files with {completed['bytes']} bytes; the gateway has complete "
            f"data of {known.files - found.without_digest} with {known.bytes} bytes. The event log may not go "
            f"back far enough."
        )
    elif found.sha256 != completed["manifest_sha256"]:
        doubts.append("The checksums of the files differ from the manifest that the dataset was completed with.")
    audit = upload.audited
    if (
        audit is not None
        and not audit.trouble
        and audit.manifest_sha256 == completed["manifest_sha256"]
        and not audit.well
    ):
        doubts.append(f"The storage was compared on {audit.looked[:10]}: {finding(audit, over=True)}")
    if others := found.total - known.files:
        doubts.append(f"{_files(others)} more {'is' if others == 1 else 'are'} not in the catalogue.")
    return doubts


def _notes(upload: Upload, said: Description) -> list[str]:
    """List what the reader must know beside what is proven."""
    notes = list(upload.notes)
    if said.word and said.state == "refused":
        notes.append(f"The catalogue has refused the description of the dataset as it is shown here: {said.refusal}")
    elif said.word and said.state == "waiting":
        notes.append("The description of the dataset as it is shown here is not in the catalogue yet.")
    if upload.later is None:
        return notes
    names = ", ".join(upload.later.first) + (", …" if upload.later.files > len(upload.later.first) else "")
    were, are = ("was", "is") if upload.later.files == 1 else ("were", "are")
    came = f"{_files(upload.later.files)} in the folder {were} added or changed after that"
    seen = _minute(upload.later.at)
    return [*notes, f"{came} and {are} not covered by this receipt (seen {seen}): {names}."]


_STATES = {
    "requested": "The station has not started the upload yet.",
    "open": "The upload is open: files may still be added or change.",
    "cancelled": "The upload was cancelled. Stored files are kept; no dataset was completed.",
    "rejected": "The station could not carry out the upload.",
    "refused": "The catalogue refused the dataset. Stored files are kept.",
}


def _sentence(files: Proven, doubts: tuple[str, ...], sealed: str | None) -> str:
    total = files.verified.files + files.unverified.files
    if doubts:
        return f"This receipt is not final. {' '.join(doubts)}"
    if not total:
        return "The dataset is complete and empty: 0 files were found, and a person closed the upload."
    whole = f"The dataset is complete as it was sealed{f' on {_minute(sealed)}' if sealed else ''}"
    if files.unverified.files:
        return (
            f"{whole}, with {_files(total)}, but {files.unverified.files} of them "
            f"{'was' if files.unverified.files == 1 else 'were'} not verified: the stored bytes have not been "
            "compared with the bytes that the station read."
        )
    return f"{whole}: {_files(total)} stored, verified and in the catalogue."


def _minute(time: str) -> str:
    return f"{time[:10]} {time[11:16]} UTC"


def _files(number: int) -> str:
    return f"{number:,} file{'' if number == 1 else 's'}"
