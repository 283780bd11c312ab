"""Nothing that is said is larger than what is heard: lists are cut by bytes, and the largest item still fits."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datauploader.contracts import (
    DatasetPartlyRefused,
    DatasetSpec,
    Destination,
    ExtractedFile,
    FailedFile,
    FileCatalogued,
    FileFailed,
    FileLeftOut,
    FileReady,
    FileReleased,
    FileVersion,
    LeftOutFile,
    MetadataExtracted,
    Parameter,
    Person,
    Picture,
    RefusedFile,
    StationReported,
    StoredFile,
    UploadControlled,
    UploadRequested,
    UploadScanned,
    decode,
    encode,
    receipts,
)
from datauploader.contracts.batching import ENVELOPE, bounded, split
from datauploader.contracts.envelope import LARGEST, LARGEST_ACCEPTED, Event
from datauploader.contracts.files import LONGEST_MS
from datauploader.contracts.names import display, escape, pack
from datauploader.contracts.paths import FilePath
from datauploader.contracts.pictures import LARGEST_PICTURE, MOST_PICTURES
from datauploader.contracts.registry import EVENTS
from datauploader_catalog.receipts import of_registered
from datauploader_testing import builders

LOCATION = "/".join(("é" * 100,) * 10)
"""A folder on the storage of 2,000 bytes."""
WORST = (b"\x01" * 254 + b"\xff/") * 16
"""4,096 bytes of a path: a control character takes six bytes in JSON, one byte that is no UTF-8 asks for base64."""
FULL = tuple(
    bytes(part).rstrip(b"/") for part in (WORST[:-2], b"\xff" * 4090, b"\x01" * 4090, b"a" * 4090, b'\\"' * 2045)
)
WINDOWS = ("語" * 200 + "/").encode() * 163
"""Some 32,767 characters of three bytes, as long as Windows lets a path be."""
DESTINATION = Destination(remote="archive", location=LOCATION)


def versions(raws) -> list[FileVersion]:
    """Return a version of each path."""
    return [
        FileVersion.of(raw, size=2**62, mtime_ns=2**62, sha256="f" * 64, md5="f" * 32, sha1="f" * 40, revision=2**40)
        for raw in raws
    ]


def everything(raws) -> list:
    """Return all that can be said of these paths, by every list in an event, as it is cut."""
    files = versions(raws)
    stored = [
        StoredFile(file=one, object=f"{LOCATION}/{escape(one.raw)}", state="verified", method="read back")
        for one in files
    ]
    failed = [
        FailedFile(file=one, reason="conflict", detail="\x01" * 2000, hint="\U0001f600" * 2000, final=True)
        for one in files
    ]
    untaken = [RefusedFile(file=one, what="datafile", detail="\x01" * 2000, hint="\x01" * 2000) for one in files]
    omitted = [
        LeftOutFile(path=display(raw), path_b64=pack(raw), reason="excluded", detail="\x01" * 2000) for raw in raws
    ]
    jpeg = b"\xff\xd8\xff\xc0\0\x0b\x08\1\0\1\0" + bytes(LARGEST_PICTURE - 13) + b"\xff\xd9"
    pictures = [Picture.of(jpeg, "\x01" * 120)] * MOST_PICTURES
    found = [Parameter(name="\x01" * 200, value="\x01" * 4000, units="\x01" * 60) for _ in range(50)]
    up = builders.UPLOAD

    def ready(some: tuple[FileVersion, ...]) -> FileReady:
        return FileReady(
            upload_id=up, root="/" + "\x01" * 4000, destination=DESTINATION, continues=("u" * 64,) * 50, files=some,
            seen_ms=(LONGEST_MS,) * len(some),
        )  # fmt: skip

    def extracted(some: tuple[Parameter, ...]) -> MetadataExtracted:
        one = ExtractedFile(file=files[0], parameters=some, problem="\x01" * 2000)
        return MetadataExtracted(upload_id=up, harvester="nexus", files=(one,))

    def pictured(some: tuple[Picture, ...]) -> MetadataExtracted:
        one = ExtractedFile(file=files[0], pictures=some, problem="\x01" * 2000)
        return MetadataExtracted(upload_id=up, harvester="nexus", files=(one,))

    def retried(some: tuple[FilePath, ...]) -> UploadControlled:
        return UploadControlled(upload_id=up, action="retry", requested_by=Person(id="anna"), files=some)

    known = ((one.to_json().decode(), one.state) for one in stored)
    return [
        *split(files, ready, beside_each=len(f"{LONGEST_MS},")),
        *(fact for fact, _ in receipts.of_stored(up, DESTINATION, stored, proof_ms=LONGEST_MS)),
        *(FileCatalogued.from_json(fact.to_json()) for fact, _ in of_registered(up, "42", known)),
        *split(failed, lambda some: FileFailed(upload_id=up, files=some)),
        *split(omitted, lambda some: FileLeftOut(upload_id=up, files=some)),
        *split(files, lambda some: FileReleased(upload_id=up, files=some)),
        *split([FilePath(path=one.path, path_b64=one.path_b64) for one in files], retried),
        *split(found, extracted),
        *split(pictures, pictured),
        *split(untaken, lambda some: DatasetPartlyRefused(upload_id=up, dataset_id="42", files=some)),
    ]


def length(fact) -> int:
    """Return the bytes of an event with the longest envelope."""
    return len(
        encode(Event(data=fact, station=LONGEST_STATION, service="s" * 63, id="i" * 200, correlation_id="c" * 200))
    )


LONGEST_STATION = builders.station(".".join(("f" * 63,) * 3))


def test_the_envelope_takes_what_is_kept_free_for_it() -> None:
    """The longest ids and words there may be."""
    fact = builders.file_ready(builders.file_version())
    assert length(fact) - len(fact.model_dump_json(exclude_none=True)) <= ENVELOPE


@pytest.mark.parametrize("raw", [*FULL, WINDOWS[:-1]], ids=["mixed", "raw", "control", "plain", "quoted", "windows"])
def test_the_longest_path_alone_is_heard(raw: bytes) -> None:
    """Whatever its bytes are, in each kind of event: below the limit beyond which nobody reads."""
    for fact in everything([raw]):
        assert length(fact) <= LARGEST_ACCEPTED
        assert decode(encode(builders.event(fact))).data == fact


@pytest.mark.parametrize("raw", FULL[1:4])
def test_many_of_the_longest_paths_are_cut(raw: bytes) -> None:
    """Nothing above 64 KiB with more than one item in it, and nothing is left out."""
    facts = everything([b"%04d/" % number + raw[:4000] for number in range(60)])
    for fact in facts:
        read = fact.files[0] if isinstance(fact, MetadataExtracted) else None
        items = read.parameters or read.pictures if read else fact.files
        assert length(fact) <= LARGEST or len(items) == 1
    for kind in {type(fact) for fact in facts} - {MetadataExtracted}:
        assert sum(len(fact.files) for fact in facts if type(fact) is kind) == 60


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.binary(min_size=1, max_size=250).filter(lambda b: b"/" not in b and b"\0" not in b and b.strip(b".")),
        min_size=1,
        max_size=300,
    )
)
def test_every_list_is_whole_in_order_and_fits(names: list[bytes]) -> None:
    """Names of any bytes may take six times their length in JSON; ids of receipts are those of the first time."""
    facts = everything(names)
    for fact in facts:
        assert length(fact) <= LARGEST
    ready = [file.raw for fact in facts if isinstance(fact, FileReady) for file in fact.files]
    assert ready == names
    assert [fact.model_dump_json() for fact in everything(names)] == [fact.model_dump_json() for fact in facts]


def test_a_receipt_has_the_same_id_each_time() -> None:
    """Split or not: it is made of what is in it."""
    stored = [
        StoredFile(file=one, object=one.path, state="verified", method="read back")
        for one in versions([b"%04d" % number + b"a" * 1000 for number in range(100)])
    ]
    first, again = (list(receipts.of_stored(builders.UPLOAD, DESTINATION, stored)) for _ in range(2))
    assert len(first) > 2
    assert [identity for _, identity in first] == [identity for _, identity in again]
    assert len({identity for _, identity in first}) == len(first)


def test_a_report_with_a_thousand_troubles_says_how_many_more_there_are() -> None:
    """Its list is bounded, and no trouble is hidden in silence."""
    troubles = bounded(f"{number} {'x' * 3000}" for number in range(1000))
    assert len(troubles) < 10
    assert troubles[-1].startswith(f"And {1000 - len(troubles) + 1} more")
    report = StationReported(service="watcher", version="1", host="h", state="ok", troubles=troubles, interval_s=1)
    scanned = UploadScanned(upload_id=builders.UPLOAD, files=1, bytes=1, settling=0, left_out=0, troubles=troubles)
    assert max(length(report), length(scanned)) <= LARGEST
    assert bounded(["all is told"]) == ("all is told",)


def test_every_kind_with_a_list_is_among_those_that_are_cut() -> None:
    """A kind that is new, and has a list of files, must be thought of here."""
    listed = {kind for kind in EVENTS if "files" in kind.model_fields and "tuple" in str(kind.model_fields["files"])}
    assert {type(fact) for fact in everything([b"a"])} == listed


def test_a_request_of_a_thousand_folders_is_heard() -> None:
    """The one list that cannot be cut: a request is one event; the gateway refuses what is above the limit."""
    request = UploadRequested(
        upload_id=builders.UPLOAD, investigation="1", dataset=DatasetSpec(name="d"), root="/data",
        sources=tuple(f"{number:04}{'a' * 200}" for number in range(1000)), mode="batch", destination=DESTINATION,
        requested_by=Person(id="anna"),
    )  # fmt: skip
    assert LARGEST < length(request) < LARGEST_ACCEPTED
