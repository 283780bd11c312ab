"""Lists of files are read and checked all at once: what that accepts, and how it is written, is as for one by one."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datauploader.contracts import FileReady, FileVersion, StoredFile, decode
from datauploader.contracts.model import WireModel
from datauploader.contracts.names import all_relative, check_relative
from datauploader.contracts.structs import WireStruct, _model_of
from datauploader.errors import ContractError
from datauploader_testing import builders

GOLDEN = Path(__file__).parent / "golden"
KINDS = ("file.ready", "file.stored", "file.catalogued", "file.released")
ODD = [
    "", ".", "..", "a/..", "/a", "a/", "a//b", "a\0b", "a\nb", "é/..b", "Li4vZXRj/w==", "YS//", "x" * 80, "x" * 81,
    "A" * 64, "a" * 63, "a" * 64, "a" * 64 + "\n", "a" * 32, "a" * 40, "verified", "certain", "1", True, None, [], {},
    -1, 0, 1, 2**63 - 1, 2**63, -(2**63), -(2**63) + 1, 2**70, 1.0, 1.5,
]  # fmt: skip
FIELDS = [
    "path", "path_b64", "size", "mtime_ns", "sha256", "md5", "sha1", "revision", "as_is", "object", "state", "method",
    "datafile_id", "unknown",
]  # fmt: skip


def outcome(body: bytes) -> object:
    """Return what is read, None where it is refused."""
    try:
        return decode(body).data
    except ContractError:
        return None


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("kind", KINDS)
def test_files_are_judged_alike_however_their_event_is_written(kind, field) -> None:
    """One that is written as we write is looked at as a whole, any other file by file."""
    document = json.loads((GOLDEN / f"{kind}.v1.json").read_bytes())
    data = document["data"]
    data.pop("seen_ms", None)
    first = data["files"][0]
    (first.get("file") or first).pop("path_b64", None)
    for number, value in enumerate(ODD):
        data["files"] = [json.loads(json.dumps(first)) for _ in range(3)]
        one = data["files"][number % 3]
        (one if field in one or "file" not in one else one["file"])[field] = value
        ours = json.dumps(document | {"data": None}, ensure_ascii=False)[: -len("null}")].encode()
        ours += json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"}"
        assert outcome(ours) == outcome(json.dumps(document, indent=1).encode()), value


@given(st.lists(st.text("./a\0\n", max_size=6) | st.text(max_size=6), min_size=1, max_size=4))
def test_paths_are_judged_together_as_each_by_itself(paths) -> None:
    """They are joined, and no path may look right for what stands beside it."""

    def right(path: str) -> bool:
        try:
            return bool(check_relative(path))
        except ValueError:
            return False

    assert all_relative(paths) == all(map(right, paths))


def as_model(one: WireStruct) -> WireModel:
    """Return the model of the same fields."""
    return _model_of(type(one)).model_validate(one.model_copy(update={}), from_attributes=True)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.text("0123456789abcdef", min_size=32, max_size=32) | st.none(),
)
def test_a_struct_is_written_as_its_model_would_be(path, md5) -> None:
    """The bytes are what every release has written: what is None is left out, other defaults are not."""
    if not all_relative([path]):
        path = "a"
    version = FileVersion(path=path, size=1, mtime_ns=-1, sha256="a" * 64, md5=md5, revision=0)
    assert version.to_json() == as_model(version).to_json()
    stored = StoredFile(file=version, object=path, state="verified", method=path[:80])
    assert stored.to_json() == as_model(stored).to_json()
    assert StoredFile.model_validate_json(stored.to_json()) == stored


def test_an_event_does_not_take_a_file_that_nobody_would_read() -> None:
    """A struct believes who makes it, an event does not."""
    right = builders.file_version()
    for wrong in ({"path": "../a"}, {"sha256": "A" * 64}, {"size": -1}, {"md5": "a"}, {"path_b64": "L2E="}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            builders.file_ready(right, right.model_copy(update=wrong))
    assert isinstance(builders.file_ready(right), FileReady)
