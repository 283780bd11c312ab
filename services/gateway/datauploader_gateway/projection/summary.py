"""What people are told about an upload, and about descriptions: pure, made from registers and counts."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import Field

from datauploader.contracts import DatasetEnsured, DatasetRefused, MovingFile, Person, UploadControlled, UploadRejected
from datauploader.contracts.rest.audits import Audit
from datauploader.contracts.rest.descriptions import Description
from datauploader.contracts.rest.uploads import Amount, Counts, Later, Upload, UploadState
from datauploader.contracts.uploads import RestlessFile
from datauploader_gateway.projection.audited import audits_of, finding
from datauploader_gateway.projection.fold import Register

OVER: tuple[UploadState, ...] = ("completed", "cancelled", "rejected")


Registers = Mapping[str, Register]


class Summary(Upload):
    """An upload as its registers say it; the moment at which its speed was reported never leaves the gateway."""

    speed_said: str = Field(default="", exclude=True)


STALE_S = 10.0
"""A speed that was said longer ago says nothing about now."""


def as_of(upload: Summary, now: datetime, silent_since: str | None) -> Upload:
    """Take back what was true a while ago, the speed, and note since when the station is silent."""
    changes: dict[str, Any] = {}
    if (
        upload.speed
        and upload.speed_said
        and (now - datetime.fromisoformat(upload.speed_said)).total_seconds() > STALE_S
    ):
        changes |= {"speed": 0.0, "seconds_left": None, "moving": ()}
    if silent_since and not upload.over and not upload.sealed:
        changes |= {"station_silent_since": silent_since, "speed": 0.0, "seconds_left": None, "moving": ()}
    return upload.model_copy(update=changes) if changes else upload


def summarise(upload_id: str, registers: Registers, numbers: Mapping[str, int]) -> Summary | None:
    """Build what is told about an upload; None while nobody is known to have asked for it."""
    request = registers.get("request")
    if request is None:
        return None
    asked, state, counts = request.data, state_of(registers), _counts(registers, numbers)
    speed = registers["speed"].data if "speed" in registers and state not in OVER else {}
    audits, auditing = audits_of(_said(registers, "audits")), _is_auditing(registers)
    differs = _difference(state, registers, audits)
    pause = registers.get("pause")
    paused = pause is not None and pause.kind == UploadControlled.name and pause.data["action"] == "pause"
    waits = _waits_for_person(state, registers, counts) or bool(differs and state == "sealed" and not auditing)
    return Summary(
        id=upload_id,
        state=state,
        over=state in OVER,
        needs_person=waits,
        paused=paused and state not in OVER,
        closing="close" in registers,
        mode=asked["mode"],
        investigation=asked["investigation"],
        dataset=asked["dataset"]["name"],
        dataset_id=_said(registers, "completed", "dataset").get("dataset_id", ""),
        dataset_url=_said(registers, "completed", "dataset").get("url", ""),
        doi=_said(registers, "completed").get("doi", ""),
        station=request.station,
        path=asked["root"],
        sources=tuple(asked["sources"]),
        remote=asked["destination"]["remote"],
        location=asked["destination"]["location"],
        requested_by=Person.model_validate(asked["requested_by"]),
        created=request.time,
        updated=registers["last"].time,
        sealed=registers["seal"].time if "seal" in registers else None,
        ended=_ended(registers, state),
        counts=counts,
        left_out=max(numbers.get("left_out.files", 0), _said(registers, "seal", "scan").get("left_out", 0)),
        looked="seal" in registers or ("scan" in registers and not registers["scan"].data.get("looking", False)),
        restless=tuple(RestlessFile.model_validate(file) for file in _restless(registers, state)),
        settling=0 if state in ("sealed", *OVER) else _said(registers, "scan").get("settling", 0),
        waiting=speed.get("waiting", 0),
        speed=0.0 if waits else speed.get("bytes_per_s", 0.0),
        speed_said=registers["speed"].time if "speed" in registers else "",
        seconds_left=None if waits else _seconds_left(counts, speed.get("bytes_per_s", 0.0), state),
        moving=tuple(MovingFile.model_validate(file) for file in speed.get("moving", ())),
        manifest_sha256=_said(registers, "seal").get("manifest_sha256", ""),
        audited=audits[0] if audits else None,
        auditing=auditing,
        delayed=state not in OVER and bool(_said(registers, "delay").get("detail")),
        troubles=tuple(
            dict.fromkeys(
                (
                    *_troubles(registers, state, counts),
                    *_audit_troubles(state, audits, differs, auditing=auditing),
                )
            )
        ),
        notes=tuple(_notes(registers, numbers)),
        later=_later(registers),
    )


def _restless(registers: Registers, state: UploadState) -> Sequence[Any]:
    """Return what was named last as being written on; after a seal only what was said since."""
    scan, seal = registers.get("scan"), registers.get("seal")
    if scan is None or state in OVER or (seal is not None and scan.order < seal.order):
        return ()
    found: Sequence[Any] = scan.data.get("restless", ())
    return found


def _notes(registers: Registers, numbers: Mapping[str, int]) -> list[str]:
    """Return what was said at the seal, and what the station has said since the dataset was complete."""
    notes = list(_said(registers, "seal").get("notes", []))
    if detail := _said(registers, "metadata").get("detail", ""):
        notes.append(f"The catalogue did not accept all metadata of the dataset. {detail}")
    unread = max(0, numbers.get("metadata_unread.files", 0))
    for files, what in ((unread, "read"), (numbers.get("metadata_lacks.files", 0) - unread, "accepted")):
        if files > 0:
            notes.append(f"Metadata of {files:,} file{'s' * (files != 1)} not {what}; the list of files shows why.")
    scan, completed = registers.get("scan"), registers.get("completed")
    if scan is not None and completed is not None and scan.time > completed.time:
        notes += scan.data.get("troubles", [])
    return notes


def _later(registers: Registers) -> Later | None:
    said = _said(registers, "later")
    if "completed" not in registers or not said.get("files"):
        return None
    first = tuple(file["path"] for file in said["first"])
    return Later(files=said["files"], bytes=said["bytes"], first=first, at=said["looked_at"])


def _said(registers: Registers, *names: str) -> Mapping[str, Any]:
    """Return what the first of these registers that was ever set says."""
    return next((registers[name].data for name in names if name in registers), {})


def state_of(registers: Registers) -> UploadState:
    """Say how far an upload is, from what was said of its life."""
    if "completed" in registers:
        return "completed"
    if "cancelled" in registers:
        return "cancelled"
    if _kind(registers, "life") == UploadRejected.name:
        return "rejected"
    if _kind(registers, "dataset") == DatasetRefused.name:
        return "refused"
    if "seal" in registers:
        return "sealed"
    return "open" if "life" in registers or "scan" in registers else "requested"


def _kind(registers: Registers, name: str) -> str:
    return registers[name].kind if name in registers else ""


def _ended(registers: Registers, state: UploadState) -> str | None:
    register = {"completed": "completed", "cancelled": "cancelled", "rejected": "life"}.get(state)
    return registers[register].time if register else None


def _counts(registers: Registers, numbers: Mapping[str, int]) -> Counts:
    said = _said(registers, "seal", "scan")
    amounts = {
        # what a former release did not count, and is taken away now, leaves less than nothing
        word: Amount(files=max(0, numbers.get(f"{word}.files", 0)), bytes=max(0, numbers.get(f"{word}.bytes", 0)))
        for word in Counts.model_fields
    }
    ready = amounts["ready"]
    found = Amount(files=max(said.get("files", 0), ready.files), bytes=max(said.get("bytes", 0), ready.bytes))
    return Counts.model_validate(amounts | {"found": found})


def _waits_for_person(state: UploadState, registers: Registers, counts: Counts) -> bool:
    if state == "refused":
        return True
    if state == "open" and _said(registers, "scan").get("question"):
        return "close" not in registers  # that is an answer
    if _restless(registers, state):
        return True
    if state == "sealed" and _said(registers, "delay").get("needs_person"):
        return True
    if state != "sealed" or not counts.failed.files:
        return False
    return counts.stored.files + counts.failed.files >= int(registers["seal"].data["files"])


def _is_auditing(registers: Registers) -> bool:
    """Tell whether an audit was asked for and has had no last word."""
    if "audit" not in registers:
        return False
    reports = _said(registers, "audits").get("items", ())
    return not any(one["audit"] == registers["audit"].data["audit"] and one["final"] for one in reports)


def _difference(state: UploadState, registers: Registers, audits: list[Audit]) -> Audit | None:
    """Return the latest look at exactly the manifest that counts, where that found a difference."""
    manifest = _said(registers, "completed", "seal").get("manifest_sha256")
    if state not in ("sealed", "completed") or not manifest:
        return None
    looks = (audit for audit in audits if not audit.trouble and audit.manifest_sha256 == manifest)
    latest = next(looks, None)
    return latest if latest is not None and not latest.well else None


def _audit_troubles(state: UploadState, audits: list[Audit], differs: Audit | None, *, auditing: bool) -> list[str]:
    if differs is not None and (state == "completed" or not auditing):
        return [finding(differs, over=state == "completed")]
    return [audits[0].says] if audits and audits[0].trouble and (state == "sealed" or auditing) else []


def _seconds_left(counts: Counts, speed: float, state: UploadState) -> float | None:
    left = counts.found.bytes - counts.stored.bytes
    if state in OVER or speed <= 0 or left <= 0:
        return None
    return round(left / speed, 1)


def _troubles(registers: Registers, state: UploadState, counts: Counts) -> list[str]:
    found: list[str] = []
    if state == "rejected":
        found.append(_sentence(registers["life"].data))
    if _kind(registers, "dataset") == DatasetRefused.name and state != "completed":
        found.append(_sentence(registers["dataset"].data))
    if state in OVER:
        return found
    if state != "sealed" or _restless(registers, state):
        scan = _said(registers, "scan")
        found += [*([scan["question"]] if scan.get("question") else []), *scan.get("troubles", [])]
    if trouble := _said(registers, "speed").get("trouble"):
        found.append(trouble)
    if delay := _delay(_said(registers, "delay")):
        found.append(delay)
    if number := counts.failed.files:
        words = [registers[name] for name in ("failure", "refusal") if name in registers]
        latest = max(words, key=lambda one: one.order).data if words else {}
        found.append(f"{number} file{'s' * (number != 1)} failed: {_sentence(latest)}")
    elif number := counts.retrying.files:
        sentence = _sentence(_said(registers, "retrying", "failure"))
        found.append(f"{number} file{'s' * (number != 1)} being retried: {sentence}")
    return found


def _delay(said: Mapping[str, Any]) -> str:
    """Say since when the catalogue has not taken something, why, and when it is tried again; "" where it has."""
    if not said.get("detail") or not said.get("since"):
        return ""
    since = f"{datetime.fromisoformat(said['since']).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    minutes = max(1, round(float(said["retry_s"]) / 60))
    again = f"It is retried {'every minute' if minutes == 1 else f'in {minutes} minutes'}."
    if said.get("needs_person"):
        again = (
            "It is retried automatically, at growing intervals. Ask the user office. When the cause is "
            "fixed, press Retry."
        )
    return _sentence({"detail": f"The catalogue has not accepted this since {since}: {said['detail']}", "hint": again})


def _sentence(said: Mapping[str, Any]) -> str:
    detail, hint = said.get("detail", ""), said.get("hint", "")
    return f"{detail}{'' if detail.endswith(('.', '!', '?')) else '.'} {hint}" if detail and hint else detail or hint


def of_dataset(registers: Registers) -> Description | None:
    """Return what is said about the dataset of an upload; None while nobody is known to have asked for it."""
    request, described = registers.get("request"), registers.get("described")
    if request is None:
        return None
    if described is not None:
        return _of_word(described, registers.get("annotated"))
    asked: Mapping[str, Any] = request.data
    there = "completed" in registers or ("dataset" in registers and registers["dataset"].kind == DatasetEnsured.name)
    return Description.model_validate(
        {**asked["dataset"], "by": asked["requested_by"], "time": request.time}
        | {"state": "catalogued" if there else "waiting"}
    )


def of_investigation(registers: Registers, catalogued: str) -> Description:
    """Return what is said about an investigation of which the catalogue says `catalogued`."""
    described = registers.get("described")
    if described is None:
        return Description(description=catalogued)
    found = _of_word(described, registers.get("annotated"))
    if found.state == "catalogued":  # it may have been corrected there since
        return found.model_copy(update={"description": catalogued})
    return found


def _of_word(described: Register, annotated: Register | None) -> Description:
    answered = annotated is not None and (
        annotated.event_id == described.event_id or annotated.order >= described.order
    )
    refusal = str(annotated.data["refusal"]) if annotated is not None and answered else ""
    return Description.model_validate(
        {
            "description": described.data["description"],
            "parameters": described.data.get("parameters", ()),
            "state": "refused" if refusal else "catalogued" if answered else "waiting",
            "refusal": refusal,
            "word": described.event_id,
            "by": described.data["requested_by"],
            "time": described.time,
        }
    )
