"""What a storage lists, for audits: every object under its name, its size, and hashes that are free."""

import hashlib

import pytest

CONTENT = {"a.dat": b"first", "deep/er/b.dat": b"second file", "emp ty": b"", "ümläut/ß.dat": b"x" * 2000}


def stored(bench, files, contents) -> None:
    """Have the mover bring files to the storage."""
    for outcome in bench.mover.move(bench.remote, [files.write(name, content) for name, content in contents.items()]):
        assert outcome.state == "verified", outcome


def folder(files) -> str:
    """Name the folder that all targets of a test lie in."""
    return files.prefix.rstrip("/")


@pytest.mark.parametrize("by_folder", [False, True])
def test_every_object_is_listed_once_with_its_name_and_size(bench, files, by_folder) -> None:
    """In one call, or folder by folder."""
    stored(bench, files, CONTENT)

    listed = list(bench.mover.list_objects(bench.remote, folder(files), hashing=False, by_folder=by_folder))

    assert sorted((one.name, one.size) for one in listed) == sorted((n, len(c)) for n, c in CONTENT.items())


def test_a_hash_in_a_listing_is_that_of_the_stored_bytes(bench, files) -> None:
    """Where there is one; a local disk has one of every object when it is asked to read."""
    stored(bench, files, CONTENT)

    listed = list(bench.mover.list_objects(bench.remote, folder(files), hashing=True))

    for one in listed:
        if one.algorithm:
            assert one.digest == hashlib.new(one.algorithm, CONTENT[one.name]).hexdigest(), one
    if bench.remote == "there" and listed[0].algorithm == "":
        assert not any(one.algorithm for one in listed)


def test_names_that_are_hard_to_carry_are_listed_as_they_are(bench, files) -> None:
    """Line breaks, quotes of rclone's own, full-width dots: what was stored is found under its own name."""
    names = [
        "new\nline" if bench.hostile else "new line",
        "␤ newline",
        "‛quoted",
        "ａ．．",
        "a\\b",
        "[x]*?",
        "-rf",
        "%41",
    ]
    stored(bench, files, dict.fromkeys(names, b"1"))

    listed = list(bench.mover.list_objects(bench.remote, folder(files), hashing=False))

    assert sorted(one.name for one in listed) == sorted(names)


def test_a_name_that_is_no_text_is_listed_and_answered_for(bench, files) -> None:
    """A listing may show U+FFFD for the byte; asked under its own name the object is there."""
    byte = "\udcff" if bench.hostile else "ÿ"
    stored(bench, files, {f"raw-{byte}.dat": b"12345"})

    (one,) = bench.mover.list_objects(bench.remote, folder(files), hashing=False)

    assert one.name in (f"raw-{byte}.dat", "raw-\ufffd.dat")
    assert bench.mover.find_sizes(bench.remote, [f"{files.prefix}raw-{byte}.dat"]) == [5]


def test_a_folder_that_is_not_there_holds_nothing(bench, files) -> None:
    """It is no error: everything that should be there is missing."""
    assert list(bench.mover.list_objects(bench.remote, files.prefix + "nowhere", hashing=True)) == []
    assert list(bench.mover.list_objects(bench.remote, files.prefix + "nowhere", hashing=True, by_folder=True)) == []


def test_sizes_are_told_under_names_and_none_where_nothing_is_given(bench, files) -> None:
    """In the order of the names."""
    stored(bench, files, {"a": b"123", "b": b""})

    assert bench.mover.find_sizes(bench.remote, [files.prefix + name for name in ("b", "c", "a")]) == [0, None, 3]


def test_objects_are_hashed_again_by_reading_where_the_storage_has_no_hash(bench, files) -> None:
    """What was altered behind our back, in the same size, has another hash."""
    stored(bench, files, {"a": b"AAAA", "b": b"BBBB"})
    bench.plant("b", b"CCCC")

    objects = [(files.prefix + "a", 4), (files.prefix + "b", 4)]
    a, b = bench.mover.hash_all(bench.remote, objects, ("sha256", "md5"))

    assert a.digest == hashlib.new(a.algorithm, b"AAAA").hexdigest()
    assert b.digest == hashlib.new(b.algorithm, b"CCCC").hexdigest()
