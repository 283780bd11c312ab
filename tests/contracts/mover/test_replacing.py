"""What every mover does where something is at the target already: whose it is, and what becomes of it."""

import hashlib
import os
import threading
from dataclasses import replace

import pytest

from datauploader_transfer.domain.leftovers import beside
from datauploader_transfer.ports import Item, Outcome, State

from .conftest import Bench, Files, rclone_mover, webdav
from .test_faults import between, port_of, through

OLD, NEW = b"the version before", b"the version after!"


def stored(bench: Bench, files: Files, content: bytes = OLD, name: str = "file.dat") -> frozenset[str]:
    """Store a version, and return what its successor may replace."""
    item = files.write(name, content)
    (found,) = bench.mover.move(bench.remote, [item])
    assert found.state is State.VERIFIED, found
    return frozenset(item.digests.values())


def moved(bench: Bench, item: Item, **how: object) -> Outcome:
    """Move one item."""
    (found,) = bench.mover.move(bench.remote, [item], **how)
    return found


def rewritten(item: Item, content: bytes) -> None:
    """Change a source in place so that size and time stay."""
    item.source.write_bytes(content)
    os.utime(item.source, ns=(item.mtime_ns, item.mtime_ns))


def next_to(name: str, prefix: str) -> str:
    """Return where the successor of an object is sent, below the bench's prefix."""
    return beside(prefix + name).removeprefix(prefix)


@pytest.mark.fault("F47")
def test_an_object_of_another_upload_is_left_alone_though_it_is_the_beginning_of_the_file(bench, files):
    """A log that has grown, sent by a second upload to the same place: the first one's version is not its leftover."""
    bench.plant("run.log", b"one line\n")
    found = moved(bench, files.write("run.log", b"one line\nand another\n"))
    assert (found.state, found.holds) == (State.CONFLICT, "other")
    assert bench.content("run.log") == b"one line\n"


@pytest.mark.fault("F47")
def test_what_another_upload_needs_is_left_alone_though_we_have_written_there(bench, files):
    """It is the beginning of the file, and still no leftover."""
    stored(bench, files, b"one line\n", name="run.log")
    item = files.write("run.log", b"one line\nand another\n", replaces=frozenset(["ab" * 16]))
    digests = {hashlib.new(kind, b"one line\n").hexdigest() for kind in ("sha256", "md5")}
    assert moved(bench, replace(item, keeps=frozenset(digests))).state is State.CONFLICT
    assert bench.content("run.log") == b"one line\n"


@pytest.mark.fault("F47")
def test_only_what_is_written_is_said_to_be_begun(bench, files):
    """What lies there already, whoever wrote it, is not ours to replace later."""
    bench.plant("same.dat", b"same")
    bench.plant("other.dat", b"other")
    items = [files.write(name, name[:-4].encode()) for name in ("same.dat", "new.dat")]
    items.append(files.write("other.dat", b"mine!"))
    begun: list[str] = []
    found = bench.mover.move(bench.remote, items, on_begin=lambda some, _new: begun.extend(item.key for item in some))
    assert [outcome.state for outcome in found] == [State.VERIFIED, State.VERIFIED, State.CONFLICT]
    assert begun == ["new.dat"]


def test_nothing_is_written_when_that_cannot_be_noted(bench, files):
    """Else nobody would know afterwards whose it is."""

    def fails(_items: object, _new: object) -> None:
        raise OSError("no space left on the disk of the state file")

    with pytest.raises(OSError, match="state file"):
        moved(bench, files.write("file.dat", NEW), on_begin=fails)
    assert bench.content("file.dat") is None


@pytest.mark.fault("F50")
def test_a_successor_takes_the_place_and_leaves_nothing_beside(bench, files):
    """The plain case."""
    item = files.write("file.dat", NEW, replaces=stored(bench, files))
    assert moved(bench, item).state is State.VERIFIED
    assert bench.content("file.dat") == NEW
    assert bench.content(next_to("file.dat", files.prefix)) is None


@pytest.mark.fault("F50")
def test_the_former_version_survives_a_successor_that_proves_wrong(bench, files):
    """The file changed in place while it was sent: what lies there is still what was verified, and that is said."""
    old = stored(bench, files)
    item = files.write("file.dat", NEW, replaces=old)
    rewritten(item, b"neither the one nor"[: len(NEW)])
    found = moved(bench, item)
    assert (found.state, found.holds) == (State.SOURCE_CHANGED, "other")
    assert found.found in old
    assert bench.content("file.dat") == OLD
    assert bench.content(next_to("file.dat", files.prefix)) is None


@pytest.mark.fault("F50")
def test_the_former_version_survives_a_successor_that_is_cut_off(bench, files):
    """Stopped in the middle; where it was too quick for that, it is verified."""
    cancel = threading.Event()
    content = os.urandom(2 * 1024**2)
    item = files.write("file.dat", content, replaces=stored(bench, files))
    bench.mover.limit_bandwidth(1024**2)
    try:
        found = moved(bench, item, cancel=cancel, on_progress=lambda size: cancel.set() if size else None)
    finally:
        bench.mover.limit_bandwidth(None)
    assert found.state in (State.STOPPED, State.VERIFIED), found
    assert bench.content("file.dat") == (OLD if found.state is State.STOPPED else content)


@pytest.mark.fault("F50")
def test_of_a_file_that_is_gone_it_is_said_what_the_storage_holds(bench, files):
    """The former version, something else, nothing; or the very version, which then counts as stored."""
    old = stored(bench, files, name="former.dat")
    stored(bench, files, NEW, name="itself.dat")
    bench.plant("foreign.dat", b"theirs")
    names = ("former.dat", "itself.dat", "foreign.dat", "nothing.dat")
    items = [files.write(name, NEW, replaces=old) for name in names]
    for item in items:
        item.source.unlink()
    former, itself, foreign, nothing = bench.mover.move(bench.remote, items)
    assert (former.state, former.holds, former.found in old) == (State.SOURCE_GONE, "other", True)
    assert itself.state is State.VERIFIED
    assert (foreign.state, foreign.holds, foreign.found in old) == (State.SOURCE_GONE, "other", False)
    assert (nothing.state, nothing.holds, nothing.found) == (State.SOURCE_GONE, "nothing", "")


@pytest.mark.fault("F50")
def test_a_replacement_that_a_crash_has_cut_between_removing_and_moving_is_finished(bench, files):
    """Some storages remove the former version before they rename; the successor lies beside it then."""
    item = files.write("file.dat", NEW)
    bench.plant(next_to("file.dat", files.prefix), NEW)
    bench.mover.sweep_leftovers(bench.remote, {item.target: frozenset(item.digests.values())})
    assert bench.content("file.dat") == NEW
    assert bench.content(next_to("file.dat", files.prefix)) is None


@pytest.mark.fault("F50")
@pytest.mark.parametrize("there", [OLD, None], ids=["former version", "nothing"])
def test_a_successor_that_a_crash_has_cut_off_before_it_was_whole_is_swept(bench, files, there):
    """What is there stays."""
    item = files.write("file.dat", NEW)
    if there is not None:
        bench.plant("file.dat", there)
    bench.plant(next_to("file.dat", files.prefix), NEW[:5])
    bench.mover.sweep_leftovers(bench.remote, {item.target: frozenset(item.digests.values())})
    assert bench.content("file.dat") == there
    assert bench.content(next_to("file.dat", files.prefix)) is None


@pytest.mark.fault("F50")
def test_a_proved_successor_whose_predecessor_is_still_there_is_sent_again(bench, files):
    """A crash came before the replacement: what lies beside is swept, and the next attempt ends as any."""
    old = stored(bench, files)
    bench.plant(next_to("file.dat", files.prefix), NEW)
    item = files.write("file.dat", NEW, replaces=old)
    bench.mover.sweep_leftovers(bench.remote, {item.target: old.union(item.digests.values())})
    assert bench.content("file.dat") == OLD
    assert moved(bench, item).state is State.VERIFIED
    assert bench.content("file.dat") == NEW


@pytest.mark.fault("F50")
@pytest.mark.parametrize("name", [b"not \xff utf-8/\xfe.dat", "ⅈ␊ \uff0f.dat".encode()], ids=repr)
def test_any_name_can_be_replaced(bench, files, name):
    """The name beside is our own; the folder is the file's."""
    name = os.fsdecode(name)
    item = files.write(name, NEW, replaces=stored(bench, files, name=name))
    assert moved(bench, item).state is State.VERIFIED
    bench.mover.sweep_leftovers(bench.remote, {item.target: item.replaces})
    found = bench.mover.hash_stored(bench.remote, item.target, ["sha256", "md5"])
    assert found is not None
    assert found.digest in item.digests.values()


@pytest.mark.fault("F50")
def test_many_are_replaced_in_one_move(bench, files):
    """Each by its own successor, those that are written for the first time among them."""
    olds = [stored(bench, files, b"old %d" % n, name=f"many/{n}") for n in range(6)]
    items = [files.write(f"many/{n}", b"newer %d" % n, replaces=old) for n, old in enumerate(olds)]
    items += [files.write(f"many/{n}", b"first %d" % n) for n in range(6, 9)]
    assert {outcome.state for outcome in bench.mover.move(bench.remote, items)} == {State.VERIFIED}
    assert [bench.content(item.key) for item in items] == [item.source.read_bytes() for item in items]


@pytest.mark.fault("F50")
def test_a_version_that_returns_is_no_conflict(bench, files):
    """Old, new, old again."""
    old = stored(bench, files)
    newer = files.write("file.dat", NEW, replaces=old)
    assert moved(bench, newer).state is State.VERIFIED
    again = files.write("file.dat", OLD, replaces=old.union(newer.digests.values()))
    assert moved(bench, replace(again)).state is State.VERIFIED
    assert bench.content("file.dat") == OLD


@pytest.mark.storage
@pytest.mark.fault("F50")
def test_a_storage_that_refuses_the_move_keeps_its_former_version_until_it_does_not(tmp_path, files):
    """A server that answers MOVE with an error: nothing is lost, and the next attempt replaces it."""
    old = files.write("f.dat", OLD)
    with webdav(tmp_path / "storage") as definition, rclone_mover("dav", definition) as mover:
        assert mover.move("dav", [old])[0].state is State.VERIFIED
        item = files.write("f.dat", NEW, replaces=frozenset(old.digests.values()))
        refuse = lambda data: data.replace(b"MOVE /", b"LOCK /")  # noqa: E731  a name for what it does
        with between(port_of(definition), refuse) as port, rclone_mover("dav", through(definition, port)) as refused:
            (found,) = refused.move("dav", [item])
        assert found.state not in (State.VERIFIED, State.UNVERIFIED)
        assert found.retryable
        assert (tmp_path / "storage/base/f.dat").read_bytes() == OLD
        mover.sweep_leftovers("dav", {item.target: item.replaces.union(item.digests.values())})
        assert mover.move("dav", [item])[0].state is State.VERIFIED
        assert [path.name for path in (tmp_path / "storage/base").iterdir()] == ["f.dat"]
    assert (tmp_path / "storage/base/f.dat").read_bytes() == NEW


@pytest.mark.storage
@pytest.mark.fault("F50")
def test_any_other_kind_of_storage_replaces_too(tmp_path, files):
    """One of which nobody has said that it moves over what is there: rclone removes that first."""
    (tmp_path / "place/base").mkdir(parents=True)
    definition = {"type": "alias", "base": "base", "options": {"remote": str(tmp_path / "place")}}
    old = files.write("f.dat", OLD)
    with rclone_mover("there", definition) as mover:
        assert mover.move("there", [old])[0].state is State.VERIFIED
        item = files.write("f.dat", NEW, replaces=frozenset(old.digests.values()))
        assert mover.move("there", [item])[0].state is State.VERIFIED
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "place/base").iterdir()] == [("f.dat", NEW)]


@pytest.mark.storage
@pytest.mark.fault("F29", "F50")
def test_a_bit_that_flips_costs_no_former_version(tmp_path, files):
    """Both attempts prove wrong, and nothing but them is removed."""
    old = files.write("f.dat", OLD)
    flip = lambda data: data.replace(b"PRECIOUS", b"QRECIOUS")  # noqa: E731  a name for what it does
    with (
        webdav(tmp_path / "storage") as definition,
        between(port_of(definition), flip) as port,
        rclone_mover("dav", through(definition, port)) as mover,
    ):
        assert mover.move("dav", [old])[0].state is State.VERIFIED
        item = files.write("f.dat", b"PRECIOUS data", replaces=frozenset(old.digests.values()))
        (found,) = mover.move("dav", [item])
    assert (found.state, found.digest) == (State.MISMATCH, "")
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "storage/base").iterdir()] == [("f.dat", OLD)]


@pytest.mark.storage
@pytest.mark.fault("F50")
def test_without_reading_back_a_replacement_is_looked_at_and_not_called_verified(tmp_path, files):
    """The operator's choice is shown in the state; the former version is replaced all the same."""
    old = files.write("f.dat", OLD)
    with webdav(tmp_path / "storage") as definition, rclone_mover("dav", {**definition, "read_back": False}) as mover:
        mover.move("dav", [old])
        item = files.write("f.dat", NEW, replaces=frozenset(old.digests.values()))
        assert mover.move("dav", [item])[0].state is State.UNVERIFIED
        assert [(path.name, path.read_bytes()) for path in (tmp_path / "storage/base").iterdir()] == [("f.dat", NEW)]
