"""Many files in one move: they travel together, and each still has an outcome of its own."""

import shutil
from dataclasses import replace

import pytest

from datauploader_transfer.ports import State

MANY = 40
ODD = (b"-rf", b"*[]{}", b" spaces around ", b"#hash", b"; semicolon", "é".encode(), "e\u0301".encode())


def states(outcomes):
    """Return the states alone."""
    return [outcome.state for outcome in outcomes]


def many(files, folder="scan"):
    """Write many files into several folders below one."""
    return [files.write(f"{folder}/part{n % 5}/deep/frame{n}.dat", b"%d" % n * 50) for n in range(MANY)]


def test_many_files_are_each_verified_and_have_the_bytes_of_their_sources(bench, files):
    """Names that a list or a shell would take for something else are among them, where the storage can hold them."""
    odd = [files.write(f"odd/{name.decode()}", name) for name in ODD if bench.hostile]
    items = [*many(files), *odd, files.write("at the top", b"top")]
    found = bench.mover.move(bench.remote, items)
    assert [outcome.key for outcome in found] == [item.key for item in items]
    assert set(states(found)) == {State.VERIFIED}, [one for one in found if one.state is not State.VERIFIED]
    assert [bench.content(item.key) for item in items] == [item.source.read_bytes() for item in items]
    assert states(bench.mover.move(bench.remote, items)) == [State.VERIFIED] * len(items)


def test_among_many_files_each_trouble_is_its_own(bench, files):
    """One is gone, one has changed, one stands in the way, one is there already: all others are stored."""
    items = many(files)
    items[3].source.unlink()
    items[7].source.write_bytes(b"written to afterwards")
    bench.plant(items[11].key, b"somebody else's")
    bench.plant(items[13].key, items[13].source.read_bytes())
    found = dict(zip(range(MANY), states(bench.mover.move(bench.remote, items)), strict=True))
    assert {n: state for n, state in found.items() if state is not State.VERIFIED} == {
        3: State.SOURCE_GONE, 7: State.SOURCE_CHANGED, 11: State.CONFLICT,
    }  # fmt: skip
    assert bench.content(items[11].key) == b"somebody else's"


def test_what_appears_among_many_files_just_before_they_are_written_is_left_alone(bench, files):
    """Somebody else was a moment earlier: that one is a conflict, and nobody's bytes are lost."""
    items = many(files)

    def begin(some, _new):
        if items[5].key in {item.key for item in some}:
            bench.plant(items[5].key, b"somebody else's")

    found = states(bench.mover.move(bench.remote, items, on_begin=begin))
    assert found == [State.CONFLICT if n == 5 else State.VERIFIED for n in range(MANY)]
    assert bench.content(items[5].key) == b"somebody else's"


@pytest.mark.posix  # there is no folder of links elsewhere
def test_one_file_that_the_storage_refuses_is_named_and_the_others_are_stored(tmp_path, files, rclone_over):
    """A call for all tells of no single file, so each is tried by itself then."""
    base = tmp_path / "storage"
    base.mkdir()
    (base / "scan").mkdir()
    (base / "scan" / "taken").write_bytes(b"a file where a folder should be")
    items = [*many(files), files.write("scan/taken/frame.dat", b"x")]
    with rclone_over("there", {"type": "local", "base": str(base)}) as mover:
        found = mover.move("there", items)
    assert states(found) == [*[State.VERIFIED] * MANY, State.REFUSED], found[-1]
    assert "no such folder" in found[-1].detail
    assert all((base / item.key).read_bytes() == item.source.read_bytes() for item in items[:-1])


@pytest.mark.posix
def test_what_rclone_is_given_for_many_files_is_gone_afterwards(tmp_path, files, rclone_over):
    """Neither the links nor the list of names stay; their folder is made anew when it is gone itself."""
    base, private = tmp_path / "storage", tmp_path / "private"
    base.mkdir()
    private.mkdir()
    with rclone_over("there", {"type": "local", "base": str(base)}, folder=private) as mover:
        assert set(states(mover.move("there", many(files)))) == {State.VERIFIED}
        (folder,) = private.glob("du-links-*")
        left = [path.name for path in folder.iterdir()]
        shutil.rmtree(folder)  # as systemd does when the user logs out
        again = [replace(item, target=f"again/{item.target}") for item in many(files)]
        assert set(states(mover.move("there", again))) == {State.VERIFIED}
    assert left == ["owner"]
    assert not list(private.iterdir())
