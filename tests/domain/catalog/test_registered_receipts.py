"""Receipts of registered files are written without reading them, and say what the contract says."""

import json

from datauploader.contracts import CataloguedFile, FileCatalogued, FileVersion, StoredFile, decode, encode
from datauploader.contracts.envelope import LARGEST
from datauploader_catalog.receipts import of_registered
from datauploader_testing.builders import event, file_version

UPLOAD = "upload-0001"


def stored(file: FileVersion, name: str = "1/run1/a") -> StoredFile:
    """Say that a version is on the storage."""
    return StoredFile(file=file, object=name, state="unverified", method='by "hand"')


def version(name: bytes, number: int) -> FileVersion:
    """Make a version with all that can be said of one."""
    return FileVersion.of(
        name, size=number, mtime_ns=-number, sha256="a" * 64, md5="b" * 32, sha1="c" * 40 if number else None,
        revision=number, as_is=number == 2,
    )  # fmt: skip


def receipts(*files: StoredFile) -> list[tuple[FileCatalogued, str]]:
    """Write the receipts of what the ledger holds."""
    return list(of_registered(UPLOAD, 'of "J. Müller"', [(one.to_json().decode(), one.state) for one in files]))


def read(body: bytes) -> FileCatalogued:
    """Read an event as others do."""
    data = decode(body).data
    assert isinstance(data, FileCatalogued)
    return data


def test_a_receipt_has_the_bytes_that_the_contract_writes() -> None:
    """So readers take them in one step, whatever the file is called; quotes in a name are not taken for JSON's own."""
    names = [b"a.h5", b'b","object":"c/d', "ü\\n\x7f".encode(), b"\xff/\x01", b'{"file":']
    files = [version(name, number) for number, name in enumerate(names)]
    ((receipt, identity),) = receipts(*(stored(file) for file in files))
    known = tuple(CataloguedFile(file=file, state="unverified") for file in files)
    wanted = FileCatalogued(upload_id=UPLOAD, dataset_id='of "J. Müller"', files=known)
    assert receipt.to_json() == wanted.to_json()
    assert read(encode(event(receipt))) == wanted
    assert identity == receipts(*(stored(file, "2/other") for file in files))[0][1]


def test_as_many_receipts_are_written_as_their_bytes_need() -> None:
    """Each fits into an event, and together they name every file once, in order."""
    files = [file_version(f"{number:04}{'ä' * 90}.h5") for number in range(600)]
    written = receipts(*(stored(file) for file in files))
    bodies = [encode(event(receipt)) for receipt, _ in written]
    assert max(map(len, bodies)) <= LARGEST
    assert len(bodies) < 6
    assert [one.file for body in bodies for one in read(body).files] == files
    assert len({identity for _, identity in written}) == len(written)


def test_what_was_written_in_another_way_is_read() -> None:
    """A ledger may hold what another release has written."""
    file = file_version("a.h5")
    document = json.dumps(json.loads(stored(file).to_json()), sort_keys=True, indent=1)
    ((receipt, _),) = of_registered(UPLOAD, "7", [(document, "verified")])
    assert read(encode(event(receipt))) == FileCatalogued(
        upload_id=UPLOAD, dataset_id="7", files=(CataloguedFile(file=file, state="verified"),)
    )
