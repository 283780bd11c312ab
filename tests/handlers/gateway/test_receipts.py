"""Receipts over HTTP: they say what was proven and never more, and the files they name can be checked with them."""

import hashlib
import html
import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from rocrate.rocrate import ROCrate

from datauploader.contracts import (
    CataloguedFile,
    DatasetAnnotated,
    DatasetCompleted,
    Destination,
    EventData,
    FailedFile,
    FileCatalogued,
    FileFailed,
    FileLeftOut,
    FileReady,
    FileStored,
    FileVersion,
    LeftOutFile,
    StoredFile,
    UploadCancelled,
    UploadOpened,
    UploadOutgrown,
    UploadScanned,
    UploadSealed,
)
from datauploader.contracts.paths import FilePath
from datauploader.contracts.uploads import manifest_digest
from datauploader_testing.waiting import eventually

THERE = Destination(remote="archive", location="100/scan1")


def versions(contents: dict[bytes, bytes]) -> list[FileVersion]:
    """Describe files with these contents."""
    return [
        FileVersion.of(name, size=len(data), mtime_ns=1, sha256=hashlib.sha256(data).hexdigest(), revision=1)
        for name, data in contents.items()
    ]


def ready(upload: str, files: list[FileVersion]) -> EventData:
    """Announce versions."""
    return FileReady(upload_id=upload, root="/data/scan1", destination=THERE, files=tuple(files))


def stored(upload: str, files: list[FileVersion], state: str = "verified", method: str = "backend sha256") -> EventData:
    """Say that versions are stored."""
    kept = tuple(StoredFile(file=f, object=f.path, state=state, method=method) for f in files)
    return FileStored(upload_id=upload, destination=THERE, files=kept)


def catalogued(upload: str, files: list[FileVersion], state: str = "verified") -> EventData:
    """Say that versions are datafiles."""
    known = tuple(CataloguedFile(file=f, state=state) for f in files)
    return FileCatalogued(upload_id=upload, dataset_id="d1", files=known)


def sealed(upload: str, files: list[FileVersion], left_out: int = 0) -> EventData:
    """Seal with these versions."""
    digest = manifest_digest((f.raw, f.sha256) for f in files)
    size = sum(f.size for f in files)
    return UploadSealed(upload_id=upload, files=len(files), bytes=size, left_out=left_out, manifest_sha256=digest)


def completed(upload: str, files: list[FileVersion]) -> EventData:
    """Complete the dataset with these versions."""
    digest = manifest_digest((f.raw, f.sha256) for f in files)
    return DatasetCompleted(
        upload_id=upload, dataset_id="d1", files=len(files), bytes=sum(f.size for f in files), manifest_sha256=digest,
        url="https://vuo/d1", doi="10.5072/d1",
    )  # fmt: skip


def whole_life(upload: str, files: list[FileVersion]) -> list[EventData]:
    """Return what happens to an upload that goes well."""
    return [
        UploadOpened(upload_id=upload), ready(upload, files), sealed(upload, files), stored(upload, files),
        catalogued(upload, files), completed(upload, files),
    ]  # fmt: skip


class Desk:
    """Somebody who asks for an upload and its receipt."""

    def __init__(self, facility: Any, wish: dict[str, Any]) -> None:
        self.facility, self.client = facility, facility.client("anna")
        self.id: str = self.client.post("/api/v1/uploads", json=wish).json()["id"]

    def hear(self, *said: EventData) -> "Desk":
        """Let these events reach the gateway, in this order."""
        last = [self.facility.say(data) for data in said][-1]
        when = last.time.isoformat(timespec="microseconds").replace("+00:00", "Z")
        eventually(lambda: self.client.get(f"/api/v1/uploads/{self.id}").json()["updated"] >= when)
        return self

    def get(self, rest: str = "", **params: str) -> httpx.Response:
        """Ask for a receipt."""
        return self.client.get(f"/api/v1/uploads/{self.id}/receipt{rest}", params=params)


@pytest.fixture
def desk(facility: Any, scene: Any) -> Desk:
    """Ask for an upload."""
    return Desk(facility, scene.wish(dataset={"name": "scan1", "parameters": [{"name": "energy", "value": 8.0}]}))


def run(command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command as somebody would type it."""
    return subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, check=False)


CONTENTS = {b"a.tif": b"one", b"b/c d.nxs": b"two", "δείγμα.dat".encode(): b"three", b"b-1": b"four"}


def test_a_complete_dataset_has_a_complete_receipt(desk: Desk) -> None:
    """Every file with its digest and how it was verified; three digests of the manifest that agree."""
    files = versions(CONTENTS)
    answer = desk.hear(*whole_life(desk.id, files)).get()
    receipt = answer.json()
    assert (receipt["complete"], receipt["doubts"]) == (True, [])
    sealed = f"{receipt['sealed'][:10]} {receipt['sealed'][11:16]} UTC"
    assert receipt["says"] == (
        f"The dataset is complete as it was sealed on {sealed}: 4 files stored, verified and in the catalogue."
    )
    assert receipt["notes"] == []
    assert {f["path"]: f["sha256"] for f in receipt["file_list"]} == {f.path: f.sha256 for f in files}
    assert {f["proof"] for f in receipt["file_list"]} == {"verified"}
    assert receipt["verified_by"] == [{"method": "backend sha256", "files": 4, "bytes": 15}]
    manifest = receipt["manifest"]
    assert manifest["sealed"] == manifest["completed"] == manifest["computed"] != ""
    assert (receipt["dataset"]["doi"], receipt["dataset"]["url"]) == ("10.5072/d1", "https://vuo/d1")
    short = desk.get(files="false").json()
    assert short == {k: v for k, v in receipt.items() if not k.endswith("_list")} | {"made": short["made"]}


def test_the_manifest_is_checked_by_sha256sum_and_gives_the_digest_of_the_seal(desk: Desk, tmp_path: Path) -> None:
    """In the dataset's folder, with the very commands that the receipt names."""
    files = versions(CONTENTS)
    desk.hear(*whole_life(desk.id, files))
    folder = tmp_path / "scan1"
    for name, data in CONTENTS.items():
        path = folder / name.decode()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / "manifest-sha256.txt").write_bytes(desk.get("/manifest-sha256.txt").content)
    receipt = desk.get(files="false").json()
    check, digest = (run(command, folder) for command in receipt["check"])
    assert (check.returncode, check.stdout.count(": OK")) == (0, 4), check.stderr
    assert digest.stdout.split()[0] == receipt["manifest"]["sealed"]
    (folder / "a.tif").write_bytes(b"One")
    assert run(receipt["check"][0], folder).returncode == 1


@pytest.mark.attack("S22")
def test_hostile_names_are_one_line_each(desk: Desk) -> None:
    """Line breaks and percent signs are encoded as RFC 8493 says, other bytes as the storage has them."""
    names = [
        b"two\nlines",
        b"\r",
        b"100%",
        b"\xff.tif",
        b"-rf",
        b"*[]{} ",
        b"back\\slash",
        b"%0A",
        "\u202e.tif".encode(),
    ]
    files = versions(dict.fromkeys(names, b"x"))
    desk.hear(*whole_life(desk.id, files))
    lines = desk.get("/manifest-sha256.txt").content.decode().split("\n")
    digest = hashlib.sha256(b"x").hexdigest()
    assert {line.removeprefix(f"{digest}  ") for line in lines[:-1]} == {
        "two%0Alines", "%0D", "100%25", "\\xff.tif", "-rf", "*[]{} ", "back\\slash", "%250A", "\u202e.tif",
    }  # fmt: skip
    assert len(lines) == len(names) + 1
    receipt = desk.get().json()
    assert (receipt["complete"], receipt["manifest"]["plain_names"], len(receipt["check"])) == (True, False, 1)


def test_the_crate_is_read_by_the_library_and_names_every_file(desk: Desk, tmp_path: Path) -> None:
    """Root, license, people and files are found, with the digests, whatever the names."""
    contents = CONTENTS | {b"a#1?.tif": b"5", b"two\nlines": b"6", b"x:y": b"7", b"ro-crate-metadata.json": b"8"}
    files = versions(contents)
    desk.hear(*whole_life(desk.id, files))
    answer = desk.get("/ro-crate-metadata.json")
    assert answer.headers["content-type"].startswith("application/ld+json")
    (tmp_path / "ro-crate-metadata.json").write_bytes(answer.content)
    for name, data in contents.items():
        path = tmp_path / name.decode()
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            path.write_bytes(data)
    crate = ROCrate(tmp_path)
    root = crate.root_dataset
    assert (root["name"], root["license"]["name"]) == ("scan1", "Data policy of the facility")
    assert root["contributor"]["name"] == "Anna Rossi"
    assert [p["value"] for p in root["variableMeasured"]] == [8.0]
    assert {e["name"]: e["sha256"] for e in root["hasPart"]} == {f.path: f.sha256 for f in files}
    document = json.loads(answer.content)
    ids = [entity["@id"] for entity in document["@graph"]]
    assert len(ids) == len(set(ids)), "an identifier stands for two things"


def test_receipt_and_crate_show_the_latest_description(desk: Desk) -> None:
    """A scientist who has corrected a sample afterwards finds the correction in what goes with the data."""
    desk.hear(*whole_life(desk.id, versions({b"a": b"1"})))
    place, sample = f"/api/v1/uploads/{desk.id}/dataset", {"name": "sample", "value": "LaB6", "units": ""}
    said = {"description": "a standard", "parameters": [{"name": "energy", "value": ""}, sample]}
    word = desk.client.patch(place, json=said).json()
    receipt = desk.get().json()
    assert (receipt["dataset"]["description"], receipt["dataset"]["parameters"]) == ("a standard", [sample])
    assert receipt["notes"] == ["The description of the dataset as it is shown here is not in the catalogue yet."]
    assert receipt["complete"]
    entities = {entity["@id"]: entity for entity in desk.get("/ro-crate-metadata.json").json()["@graph"]}
    assert (entities["./"]["description"], entities["#parameter-1"]["value"]) == ("a standard", "LaB6")
    answer = DatasetAnnotated(upload_id=desk.id, dataset_id="d1", word=word["word"], said=word["time"])
    assert desk.hear(answer).get().json()["notes"] == []
    refused = answer.model_copy(update={"word": "later", "said": datetime.now(UTC), "refusal": "It is closed."})
    assert "as it is shown here: It is closed." in desk.hear(refused).get().json()["notes"][0]


def test_before_the_dataset_is_complete_there_is_no_manifest(desk: Desk) -> None:
    """409 with what is missing; the receipt in JSON is there, and says that it is not final."""
    files = versions(CONTENTS)
    desk.hear(*whole_life(desk.id, files)[:-2], catalogued(desk.id, files[:3]))
    for name in ("/manifest-sha256.txt", "/ro-crate-metadata.json"):
        answer = desk.get(name)
        assert (answer.status_code, answer.json()["type"][-12:]) == (409, "not-complete")
        assert "In the catalogue: 3 of 4 files." in answer.json()["detail"]
    receipt = desk.get().json()
    assert (receipt["complete"], receipt["check"]) == (False, [])
    assert receipt["says"].startswith("This receipt is not final.")
    assert (receipt["files"]["verified"]["files"], receipt["files"]["stored"]["files"]) == (3, 1)


def test_what_was_not_verified_or_not_uploaded_is_named_as_such(desk: Desk) -> None:
    """Unverified files are counted apart, and failed ones and what was left out are listed with the reason."""
    good, blind, bad = versions({b"good": b"1", b"blind": b"2", b"bad": b"3"})
    left = LeftOutFile(path="notes.tmp", reason="excluded", detail="matches *.tmp")
    word = FailedFile(file=bad, reason="conflict", detail="another file is there", hint="Rename it.", final=True)
    desk.hear(
        UploadOpened(upload_id=desk.id), ready(desk.id, [good, blind, bad]),
        FileLeftOut(upload_id=desk.id, files=(left,)), FileFailed(upload_id=desk.id, files=(word,)),
        stored(desk.id, [good]), stored(desk.id, [blind], "unverified", "not verified"),
        sealed(desk.id, [good, blind, bad], 1), catalogued(desk.id, [good]), catalogued(desk.id, [blind], "unverified"),
    )  # fmt: skip
    receipt = desk.get().json()
    assert receipt["doubts"] == ["In the catalogue: 2 of 3 files.", "1 file failed."]
    told = {f["path"]: (f["state"], f["proof"], f["verified_by"], f["detail"]) for f in receipt["file_list"]}
    assert told == {
        "good": ("catalogued", "verified", ["backend sha256"], ""),
        "blind": ("catalogued", "unverified", [], ""),
        "bad": ("failed", None, [], "another file is there"),
    }
    assert receipt["left_out_list"] == [
        {"path": "notes.tmp", "path_b64": None, "reason": "excluded", "detail": "matches *.tmp"}
    ]
    assert {k: v["files"] for k, v in receipt["files"].items() if k != "left_out"} == {
        "verified": 1, "unverified": 1, "stored": 0, "failed": 1, "underway": 0,
    }  # fmt: skip


def test_a_complete_dataset_with_unverified_files_says_so_in_its_first_sentence(desk: Desk) -> None:
    """Complete is not verified."""
    good, blind = versions({b"good": b"1", b"blind": b"2"})
    desk.hear(
        UploadOpened(upload_id=desk.id), ready(desk.id, [good, blind]), stored(desk.id, [good]),
        stored(desk.id, [blind], "unverified", "not verified"), sealed(desk.id, [good, blind]),
        catalogued(desk.id, [good]), catalogued(desk.id, [blind], "unverified"), completed(desk.id, [good, blind]),
    )  # fmt: skip
    receipt = desk.get().json()
    assert receipt["complete"]
    assert "1 of them was not verified" in receipt["says"]
    (said,) = [e for e in desk.get("/ro-crate-metadata.json").json()["@graph"] if e["@id"] == "blind"]
    assert said["description"].startswith("Not verified")


@pytest.mark.parametrize("what", ["fewer files", "other digests", "a newer version", "one file more", "sealed anew"])
def test_a_receipt_is_not_final_when_the_gateway_knows_other_files_than_the_catalogue(desk: Desk, what: str) -> None:
    """The catalogue's word alone is not enough: what the receipt lists must be what was completed."""
    files = versions(CONTENTS)
    listed = {"fewer files": files[:3], "other digests": [*files[:3], *versions({b"b-1": b"FOUR"})]}.get(what, files)
    desk.hear(
        UploadOpened(upload_id=desk.id), ready(desk.id, listed), stored(desk.id, listed), sealed(desk.id, files),
        catalogued(desk.id, listed), completed(desk.id, files),
    )  # fmt: skip
    if what == "a newer version":
        newer = [files[0].model_copy(update={"revision": 2})]
        desk.hear(ready(desk.id, newer))
    if what == "one file more":
        desk.hear(ready(desk.id, versions({b"late": b"5"})))
    if what == "sealed anew":
        desk.hear(sealed(desk.id, files[:2]))
    receipt = desk.get().json()
    assert (receipt["complete"], bool(receipt["doubts"])) == (False, True)
    assert desk.get("/manifest-sha256.txt").status_code == 409


def test_a_cancelled_upload_has_a_receipt_of_what_is_stored(desk: Desk) -> None:
    """What is stored stays stored, and can be proven."""
    files = versions(CONTENTS)
    desk.hear(*whole_life(desk.id, files)[:2], stored(desk.id, files[:1]), UploadCancelled(upload_id=desk.id))
    receipt = desk.get().json()
    assert receipt["doubts"] == ["The upload was cancelled. Stored files are kept; no dataset was completed."]
    assert receipt["files"]["stored"]["files"] == 1


@pytest.mark.attack("S8")
def test_nobody_gets_the_receipt_of_another(desk: Desk, facility: Any) -> None:
    """404, as for every route of an upload."""
    other = facility.client("bruno")
    for name in ("", "/manifest-sha256.txt", "/ro-crate-metadata.json"):
        assert other.get(f"/api/v1/uploads/{desk.id}/receipt{name}").status_code == 404


def words(answer: httpx.Response) -> str:
    """Return what a reader sees of a page."""
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    body = re.sub(r"<head>.*?</head>|<[^>]+>", " ", answer.text, flags=re.DOTALL)
    return " ".join(html.unescape(body).split())


def test_the_page_shows_what_the_receipt_says(desk: Desk) -> None:
    """Sentence, people, catalogue, DOI, digests, commands, downloads, files."""
    files = versions(CONTENTS | {b"<img src=x>\x1b[2J.tif": b"5"})
    desk.hear(*whole_life(desk.id, files))
    answer = desk.client.get(f"/uploads/{desk.id}/receipt")
    said = words(answer)
    assert "The dataset is complete as it was sealed" in said
    assert "5 files stored, verified and in the catalogue." in said
    assert all(text in said for text in ("Anna Rossi", "https://vuo/d1", "10.5072/d1", "sha256sum -c", files[0].sha256))
    assert r"<img src=x>\x1b[2J.tif" in said
    assert "<img src=x>" not in answer.text
    assert 'href="https://doi.org/10.5072/d1"' in answer.text
    for address in re.findall(r'href="(/api/v1/[^"]+)" download', answer.text):
        assert desk.client.get(address).status_code == 200


def test_the_page_of_an_upload_under_way_is_marked_and_offers_no_manifest(desk: Desk) -> None:
    """What is proven so far, what failed and what was left out, in words."""
    good, bad = versions({b"good": b"1", b"bad": b"2"})
    word = FailedFile(file=bad, reason="conflict", detail="another file is there", hint="", final=True)
    left = LeftOutFile(path="notes.tmp", reason="excluded", detail="")
    desk.hear(
        ready(desk.id, [good, bad]), stored(desk.id, [good], "unverified", "not verified"),
        FileFailed(upload_id=desk.id, files=(word,)), FileLeftOut(upload_id=desk.id, files=(left,)),
    )  # fmt: skip
    answer = desk.client.get(f"/uploads/{desk.id}/receipt")
    said = words(answer)
    assert "This receipt is not final." in said
    assert all(text in said for text in ("stored, not verified", "Another file is there.", "notes.tmp Excluded."))
    assert "/receipt/manifest-sha256.txt" not in answer.text


def test_many_files_are_shown_page_by_page(desk: Desk) -> None:
    """Every file once, in order of the paths; the whole page without htmx, the table alone with it."""
    files = versions({b"%03d.tif" % n: b"%d" % n for n in range(230)})
    desk.hear(*whole_life(desk.id, files))
    seen: list[str] = []
    address: str | None = f"/uploads/{desk.id}/receipt"
    while address:
        answer = desk.client.get(address)
        seen += re.findall(r"<bdi>(\d{3}\.tif)</bdi>", answer.text)
        found = re.search(r'href="([^"]+\?after=[^"]+)"', answer.text)
        address = html.unescape(found[1]) if found else None
    assert seen == [f.path for f in files]
    part = desk.client.get(f"/uploads/{desk.id}/receipt", params={"after": "x"}, headers={"HX-Request": "true"})
    assert part.status_code == 422


def test_the_page_switches_mail_off_and_on(open_facility: Any, scene: Any) -> None:
    """A plain form, for who asked for the upload alone."""
    mail = {"host": "127.0.0.1", "port": 9, "security": "none", "sender": "a@b.eu", "address": "{user}@b.eu"}
    desk = Desk(open_facility(mail=mail), scene.wish())
    page = f"/uploads/{desk.id}/receipt"
    assert "Mail about this upload is sent to 7@b.eu." in words(desk.client.get(page))
    answer = desk.client.post(f"/uploads/{desk.id}/mail", data={"on": "false"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{page}#mail")
    assert "Mail about this upload is turned off." in words(desk.client.get(page))
    other = desk.facility.client("otto")
    assert "Mail about" not in words(other.get(page))
    assert other.post(f"/uploads/{desk.id}/mail", data={"on": "true"}).status_code == 403


def outgrown(upload: str, *names: str) -> EventData:
    """Say that these files came after the dataset was complete."""
    first = tuple(FilePath(path=name) for name in names)
    return UploadOutgrown(upload_id=upload, files=len(names), bytes=5, first=first, looked_at=datetime.now(UTC))


@pytest.mark.fault("F56")
def test_what_came_after_completion_is_a_note_and_no_doubt(desk: Desk) -> None:
    """What was sealed stays proven; the receipt says beside it that the folder has more, on the page as well."""
    desk.hear(*whole_life(desk.id, versions(CONTENTS)), outgrown(desk.id, "scan_log.txt"))
    receipt = desk.get(files="false").json()
    assert (receipt["complete"], receipt["doubts"]) == (True, [])
    (note,) = receipt["notes"]
    assert note.startswith("1 file in the folder was added or changed after that")
    assert "scan_log.txt" in note
    assert html.escape(note) in desk.client.get(f"/uploads/{desk.id}/receipt").text
    assert desk.client.get(f"/api/v1/uploads/{desk.id}").json()["later"]["first"] == ["scan_log.txt"]


@pytest.mark.fault("F56")
def test_the_page_never_calls_a_computer_safe_whose_folder_has_more(desk: Desk) -> None:
    """It speaks of what was sealed and when; after a later look it names what came, and offers to upload it."""
    desk.hear(*whole_life(desk.id, versions(CONTENTS)))
    said = desk.client.get(f"/uploads/{desk.id}").text
    assert "the 4 files that the dataset had when it was sealed are stored and catalogued" in said
    assert "everything" not in said.lower()
    desk.hear(outgrown(desk.id, "scan_log.txt"))
    said = desk.client.get(f"/uploads/{desk.id}").text
    assert "safe to switch off this computer" not in said
    assert "1 file added or changed later" in said
    assert "scan_log.txt" in said
    assert f'href="/new?from={desk.id}"' in said
    desk.hear(outgrown(desk.id))
    assert "safe to switch off this computer" in desk.client.get(f"/uploads/{desk.id}").text


@pytest.mark.fault("F56")
def test_what_the_seal_says_of_open_files_and_what_was_kept_stand_in_the_record(desk: Desk) -> None:
    """A file that a program still had open was taken as it was; one that could not be removed is named."""
    files = versions(CONTENTS)
    note = "Still open in another program when the dataset was sealed: a.tif; it was uploaded as it was then."
    kept = "b-1 was kept on this station, because another program has it open for writing."
    life = [
        one.model_copy(update={"notes": (note,)}) if isinstance(one, UploadSealed) else one
        for one in whole_life(desk.id, files)
    ]
    told = UploadScanned(upload_id=desk.id, files=4, bytes=15, settling=0, left_out=0, troubles=(kept,))
    desk.hear(*life, told)
    assert desk.get(files="false").json()["notes"] == [note, kept]
    said = html.unescape(desk.client.get(f"/uploads/{desk.id}").text)
    assert note in said
    assert kept in said
