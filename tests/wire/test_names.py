"""Names from outside: any byte string survives the journey, and none leads out of its folder."""

import hashlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from datauploader.contracts import DatasetSpec, Destination, FileVersion, LeftOutFile, decode, encode
from datauploader.contracts.names import (
    LONGEST_NAME,
    RelativePath,
    check_location,
    check_name,
    check_relative,
    display,
    pack,
    unpack,
)
from datauploader.contracts.uploads import manifest_digest
from datauploader_testing import builders

SHA = "ab" * 32
path_part = st.binary(min_size=1, max_size=40).filter(
    lambda b: b"/" not in b and b"\0" not in b and b not in (b".", b"..")
)
path_bytes = st.lists(path_part, min_size=1, max_size=4).map(b"/".join)


@given(st.binary())
def test_any_bytes_survive_packing(raw) -> None:
    """Display text and base64 together give the bytes back."""
    assert unpack(display(raw), pack(raw)) == raw


@given(st.text().map(lambda text: text.encode("utf-8", "surrogatepass")).filter(lambda raw: pack(raw) is None))
def test_utf8_needs_no_base64_and_is_shown_as_it_is(raw) -> None:
    """Names that are text travel as text."""
    assert display(raw).encode() == raw


@given(path_bytes)
def test_any_path_of_a_file_system_survives_a_message(raw) -> None:
    """Line breaks, leading dashes, glob characters, bytes that are no UTF-8: all come back, and the display is text."""
    version = FileVersion.of(raw, size=1, mtime_ns=0, sha256=SHA, revision=0)

    back = decode(encode(builders.event(builders.file_ready(version)))).data.files[0]

    assert back.raw == raw
    assert back.key == version.key
    json.dumps(back.path).encode()


@pytest.mark.parametrize(
    "name",
    [
        "newline\nname",
        "-rf",
        "*[]{}",
        "with space",
        "é" * 127,
        "\u00e9",
        "e\u0301",
        "UP",
        "up",
        "con",
        "a:b",
        "~",
        "$(x)",
        "\\",
    ],
)
def test_hostile_but_lawful_paths_are_kept(name) -> None:
    """What a POSIX disk can hold is uploaded under its own name."""
    assert check_relative(name) == name


@pytest.mark.parametrize("path", ["", "/", "/etc/passwd", "..", "a/../b", "../x", "a//b", "a/", ".", "a/./b", "nul\0"])
def test_paths_that_leave_or_blur_the_root_are_refused(path) -> None:
    """A path in a message lies below its root, said in one way only."""
    with pytest.raises(ValueError, match="not a path below the root"):
        check_relative(path)


@given(st.text("./a\0\n$", max_size=8) | st.text())
def test_a_path_is_judged_alike_wherever_it_comes_from(text) -> None:
    """In JSON it is a pattern of pydantic's that decides, because messages hold thousands of paths."""
    assert judged(lambda: TypeAdapter(RelativePath).validate_json(json.dumps(text))) == judged(
        lambda: check_relative(text)
    )


def judged(check: Callable[[], str]) -> str | None:
    """Return what a check lets pass, None where it raises."""
    try:
        return check()
    except ValueError:
        return None


@pytest.mark.parametrize("raw", [b"\xff/../x", b"/\xff", b"\xff//x", b"..", b"\xff\0"])
def test_base64_cannot_smuggle_a_path_out_of_the_root(raw) -> None:
    """The bytes that will be used are checked, not only the text that is shown."""
    import base64

    with pytest.raises(ValidationError):
        LeftOutFile(path="fine", path_b64=base64.b64encode(raw).decode(), reason="excluded", detail="")


@pytest.mark.parametrize("packed", ["!!!!", "YQ", "YQ==\n", "", "ä"])
def test_broken_base64_is_a_validation_error(packed) -> None:
    """Nothing but a ValidationError comes of it."""
    with pytest.raises(ValidationError):
        LeftOutFile(path="fine", path_b64=packed, reason="excluded", detail="")


@pytest.mark.parametrize(
    "name",
    [
        "", " ", "\t", "..", ".", "../x", "/abs", "a/b", "a\\b", "C:", "C:\\x", "\\\\server\\share", "x:stream",
        "CON", "nul", "aux.txt", "COM1", "lpt9.dat", "com¹", "CONIN$", "conout$", "nul .txt", "trailing.", "trailing ",
        " leading", ".hidden", "a\0b", "a\nb", "a\rb", "\x1b[31mred", "x\u202eexe.txt", "zero\u200bwidth", "\ufeffbom",
        "a\u2028b", "lone\ud800", "private\ue000", "unassigned\U000e0fff", "what?", "star*", "pipe|", 'quote"', "<b>",
        "x" * (LONGEST_NAME + 1), "é" * 128,
    ],
)  # fmt: skip
def test_names_that_some_storage_or_screen_cannot_bear_are_refused(name) -> None:
    """Traversal, drives, streams, reserved and invisible names: refused where they enter, with a sentence."""
    with pytest.raises(ValueError, match="name"):
        check_name(name)
    with pytest.raises(ValidationError):
        DatasetSpec(name=name)


@pytest.mark.parametrize(
    "name",
    [
        "scan1",
        "2025-06-15 LaB6, 77 K",
        "Probe (β)",
        "试样",
        "a.b.c",
        "console",
        "common",
        "x" * LONGEST_NAME,
        "~x",
        "'",
        "#1",
    ],
)
def test_names_that_people_use_are_accepted(name) -> None:
    """Spaces, umlauts, other scripts, brackets are fine."""
    assert check_name(name) == name


@given(st.text(max_size=300))
def test_an_accepted_name_is_one_visible_path_component(name) -> None:
    """Whatever is accepted cannot climb, cannot be empty, and prints on one line."""
    try:
        check_name(name)
    except ValueError:
        return
    assert "/" not in name
    assert "\\" not in name
    assert name.strip(". ")
    assert len(name.encode()) <= 255
    assert all(c.isprintable() or c.isspace() for c in name)
    assert len(name.splitlines()) == 1


@pytest.mark.parametrize("location", ["a", "20250001/scan1", "a/b/c"])
def test_locations_are_names_joined_by_slashes(location) -> None:
    """A folder below a remote's base."""
    assert Destination(remote="storage", location=check_location(location)).location == location


@pytest.mark.parametrize("location", ["", "/a", "a/", "a//b", "../a", "a/../b", ":local:", "s3:bucket", "a\\b", "."])
def test_locations_that_leave_the_base_or_name_a_backend_are_refused(location) -> None:
    """No connection string, no climbing, no absolute path."""
    with pytest.raises(ValidationError):
        Destination(remote="storage", location=location)


@pytest.mark.parametrize(
    "remote", ["", ":local:", "a:b", "Storage", "a b", "x" * 64, "a\n", ":webdav,bearer_token_command=x:"]
)
def test_a_remote_is_one_word(remote) -> None:
    """A message names a remote of the administrator's and can carry nothing else."""
    with pytest.raises(ValidationError):
        Destination(remote=remote, location="x")


def test_the_manifest_digest_is_what_its_formula_says() -> None:
    """Anybody can compute it from a list of files."""
    lines = [(b"b", "22" * 32), (b"a/\xff", "11" * 32)]
    by_hand = b"11" * 32 + b"  a/\xff\0" + b"22" * 32 + b"  b\0"
    assert manifest_digest(lines) == hashlib.sha256(by_hand).hexdigest()
    assert manifest_digest([]) == hashlib.sha256(b"").hexdigest()


@given(st.dictionaries(path_bytes, st.binary().map(lambda b: hashlib.sha256(b).hexdigest()), max_size=8), st.randoms())
def test_the_manifest_digest_knows_no_order_and_overlooks_no_file(files, random) -> None:
    """Order of arrival is nothing; a file more or less is everything."""
    lines = list(files.items())
    shuffled = random.sample(lines, len(lines))
    assert manifest_digest(lines) == manifest_digest(shuffled)
    if lines:
        assert manifest_digest(lines[1:]) != manifest_digest(lines)


@given(st.binary(max_size=60), st.integers(0, 10), st.integers(0, 10))
def test_the_key_of_a_version_depends_on_every_part(raw, size, mtime_ns) -> None:
    """Two versions of one key are the same version."""
    adapter = TypeAdapter(FileVersion)
    one = FileVersion.of(raw, size=size, mtime_ns=mtime_ns, sha256=SHA, revision=1)
    document = adapter.dump_python(one)
    try:
        one.check()
    except ValidationError:
        return
    assert adapter.validate_python(document | {"revision": 2}).key == one.key
    for change in ({"size": size + 1}, {"mtime_ns": mtime_ns + 1}, {"sha256": "cd" * 32}):
        assert adapter.validate_python(document | change).key != one.key
