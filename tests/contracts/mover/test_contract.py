"""What every mover does, the fake as well as the real one over each kind of storage."""

import gc
import os
import threading
from dataclasses import replace

import pytest

from datauploader.contracts.model import LATEST_NS
from datauploader_transfer.errors import TransferError
from datauploader_transfer.ports import UNPROVED, Item, State

NAMES = [
    b"new\nline",
    b"-rf",
    b"*[]{}",
    b" spaces around ",
    b"x" * 255,
    "é".encode(),
    "e\u0301".encode(),
    b"quotes \"' and \\ back",
    b"percent %41?#",
]
RAW_NAMES = [b"not \xff utf-8", "quoted \u201bFF ␊ \uff0f \uff0e".encode(), "\uff0e".encode(), b"del \x7f"]


def states(outcomes):
    """Return the states alone."""
    return [outcome.state for outcome in outcomes]


def test_a_moved_file_is_verified_and_has_the_bytes_of_its_source(bench, files):
    """The plain case: one outcome an item, in order, and the stored bytes are those of the source."""
    items = [files.write(f"scan/{n}.dat", b"%d" % n * 100) for n in range(7)]
    found = bench.mover.move(bench.remote, items)
    assert [outcome.key for outcome in found] == [item.key for item in items]
    assert set(states(found)) == {State.VERIFIED}, found
    assert all(outcome.method for outcome in found)
    assert all(outcome.proof_ms is not None for outcome in found)
    assert [bench.content(item.key) for item in items] == [item.source.read_bytes() for item in items]


def test_an_empty_file_is_moved_like_any_other(bench, files):
    """Zero bytes are a version too."""
    assert states(bench.mover.move(bench.remote, [files.write("empty", b"")])) == [State.VERIFIED]
    assert bench.content("empty") == b""


def test_moving_again_finds_the_object_and_verifies_it(bench, files):
    """A repeated request has the effect of one."""
    items = [files.write("a", b"one"), files.write("b", b"two")]
    bench.mover.move(bench.remote, items)
    again = bench.mover.move(bench.remote, items)
    assert states(again) == [State.VERIFIED] * 2
    assert [outcome.proof_ms for outcome in again] == [None, None]


def test_an_identical_object_that_is_there_counts_as_stored(bench, files):
    """Who wrote it does not matter when the bytes are right."""
    bench.plant("here/same.dat", b"same")
    assert states(bench.mover.move(bench.remote, [files.write("here/same.dat", b"same")])) == [State.VERIFIED]


@pytest.mark.fault("F58")
def test_a_file_of_the_year_2300_is_moved_like_any_other(bench, files):
    """Its date is told as the last one that can be told, and that is no change of the source."""
    item = files.write("odd.dat", b"odd")
    os.utime(item.source, ns=(0, 10_413_792_000 * 10**9))
    (found,) = bench.mover.move(bench.remote, [replace(item, mtime_ns=LATEST_NS)])
    assert found.state is State.VERIFIED, found
    assert bench.content("odd.dat") == b"odd"


@pytest.mark.fault("F38")
@pytest.mark.parametrize("foreign", [b"AAAA", b"longer than ours", b"no"])
def test_a_foreign_object_is_a_conflict_and_stays_as_it_is(bench, files, foreign):
    """Nothing that we did not write is overwritten, whatever its size."""
    bench.plant("file.dat", foreign)
    (found,) = bench.mover.move(bench.remote, [files.write("file.dat", b"ours")])
    assert found.state is State.CONFLICT
    assert found.hint
    assert not found.retryable
    assert bench.content("file.dat") == foreign


@pytest.mark.fault("F37")
def test_an_edit_of_the_same_size_is_sent(bench, files):
    """The new version replaces the one that we wrote, though size and name are the same."""
    old = files.write("file.dat", b"AAAA")
    bench.mover.move(bench.remote, [old])
    new = files.write("file.dat", b"BBBB", replaces=frozenset(old.digests.values()))
    os.utime(new.source, ns=(old.mtime_ns, old.mtime_ns))
    new = files.item("file.dat", b"BBBB", replaces=frozenset(old.digests.values()))
    assert states(bench.mover.move(bench.remote, [new])) == [State.VERIFIED]
    assert bench.content("file.dat") == b"BBBB"


@pytest.mark.fault("F51")
@pytest.mark.parametrize("left", [b"torn", b"longer than what was announced"])
def test_what_we_wrote_and_never_proved_is_replaced(bench, files, left):
    """Nothing was there before, so whatever lies there is ours, though nobody knows its digest."""
    bench.plant("file.dat", left)
    item = files.write("file.dat", b"announced", replaces=frozenset({UNPROVED}))
    (found,) = bench.mover.move(bench.remote, [item])
    assert found.state is State.VERIFIED, found
    assert not found.unproved
    assert bench.content("file.dat") == b"announced"


@pytest.mark.fault("F51")
def test_what_we_wrote_and_never_proved_is_removed_when_its_source_is_gone(bench, files):
    """Nobody will ever announce it again."""
    bench.plant("file.dat", b"torn")
    item = files.write("file.dat", b"announced", replaces=frozenset({UNPROVED}))
    item.source.unlink()
    (found,) = bench.mover.move(bench.remote, [item])
    assert found.state is State.SOURCE_GONE
    assert not found.unproved
    assert bench.content("file.dat") is None


def test_what_is_written_where_nothing_is_is_said_before(bench, files):
    """Once for a new object, not for one that is there already."""
    begun: list[str] = []
    bench.plant("there", b"same")
    items = [files.write("there", b"same"), files.write("new", b"new")]
    bench.mover.move(bench.remote, items, on_begin=lambda _some, new: begun.extend(new))
    assert begun == ["new"]


@pytest.mark.fault("F36")
def test_what_an_interrupted_upload_left_is_replaced(bench, files):
    """An object that is the beginning of a file that we began to write there is a leftover: nothing is lost."""
    bench.plant("file.dat", b"begin")
    item = files.write("file.dat", b"begin and end")
    item = files.item("file.dat", b"begin and end", replaces=frozenset(item.digests.values()))
    assert states(bench.mover.move(bench.remote, [item])) == [State.VERIFIED]
    assert bench.content("file.dat") == b"begin and end"


def test_two_versions_of_one_file_in_one_move_end_with_the_later(bench, files):
    """The order of the items is the order of the versions."""
    first = files.write("one/file.dat", b"first", target="file.dat")
    second = files.write("two/file.dat", b"second", target="file.dat", replaces=frozenset(first.digests.values()))
    assert states(bench.mover.move(bench.remote, [first, second])) == [State.VERIFIED] * 2
    assert bench.content("file.dat") == b"second"


@pytest.mark.fault("F13")
def test_a_vanished_source_is_said_to_be_gone(bench, files):
    """The others of the same move go on."""
    gone, stays = files.write("gone", b"1"), files.write("stays", b"2")
    gone.source.unlink()
    assert states(bench.mover.move(bench.remote, [gone, stays])) == [State.SOURCE_GONE, State.VERIFIED]
    assert bench.content("gone") is None


@pytest.mark.fault("F10")
def test_a_source_that_changed_since_is_not_moved(bench, files):
    """Only the announced version travels."""
    item = files.write("file", b"announced")
    item.source.write_bytes(b"written to afterwards")
    assert states(bench.mover.move(bench.remote, [item])) == [State.SOURCE_CHANGED]
    assert bench.content("file") is None


@pytest.mark.fault("F64")
def test_of_a_file_that_is_taken_while_it_grows_the_bytes_that_were_taken_are_stored(bench, files):
    """A log that is written all the time has no moment at which it could be sent whole."""
    files.write("run.log", b"one\ntwo\nthree\n")
    (found,) = bench.mover.move(bench.remote, [files.item("run.log", b"one\ntwo\n", as_is=True)])
    assert found.state is State.VERIFIED, found
    assert bench.content("run.log") == b"one\ntwo\n"


@pytest.mark.fault("F64")
@pytest.mark.parametrize("now", [b"ONE\ntwo\nthree\n", b"one\n"])
def test_a_file_that_is_taken_and_was_written_over_meanwhile_is_not_moved(bench, files, now):
    """What was taken is not there any more, so it cannot be sent."""
    files.write("run.log", now)
    (found,) = bench.mover.move(bench.remote, [files.item("run.log", b"one\ntwo\n", as_is=True)])
    assert found.state is State.SOURCE_CHANGED
    assert bench.content("run.log") is None


@pytest.mark.fault("F11")
def test_a_change_in_place_with_the_old_time_is_found_out(bench, files):
    """Size and time may lie; the hash does not, and what was stored wrongly is removed."""
    item = files.write("file", b"announced")
    item.source.write_bytes(b"unnounced")
    os.utime(item.source, ns=(item.mtime_ns, item.mtime_ns))
    assert states(bench.mover.move(bench.remote, [item])) == [State.SOURCE_CHANGED]
    assert bench.content("file") is None


@pytest.mark.attack("S20")
def test_a_symlink_is_not_followed(bench, files):
    """A file that became a link is not the version that was announced."""
    item = files.write("file", b"content")
    secret = files.root / "secret"
    secret.write_bytes(b"content")
    item.source.unlink()
    item.source.symlink_to(secret)
    assert states(bench.mover.move(bench.remote, [item])) == [State.SOURCE_CHANGED]


@pytest.mark.attack("S20")
def test_a_folder_that_was_swapped_for_a_link_gives_nothing_away(bench, files):
    """Size and time of another file may be made to fit; a link on the way is not followed, and so it is never read."""
    item = files.write("folder/file", b"mine is so long")
    secret = files.root / "elsewhere" / "file"
    secret.parent.mkdir()
    secret.write_bytes(b"their so secret")
    os.utime(secret, ns=(item.mtime_ns, item.mtime_ns))
    item.source.unlink()
    item.source.parent.rmdir()
    item.source.parent.symlink_to(secret.parent)
    assert states(bench.mover.move(bench.remote, [item])) == [State.SOURCE_GONE]
    assert bench.content("folder/file") is None


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_hostile_names_are_moved(bench, files, name):
    """Whatever a name holds, its file is stored and verified, and found again by its name."""
    item = files.write(os.fsdecode(name), name)
    assert states(bench.mover.move(bench.remote, [item])) == [State.VERIFIED]
    found = bench.mover.hash_stored(bench.remote, item.target, ["sha256", "md5"])
    assert found is not None
    assert found.digest == item.digests[found.algorithm]


@pytest.mark.fault("F15")
def test_hostile_names_come_through_byte_for_byte_where_the_storage_can_hold_them(bench, files):
    """All hostile names in one move; disks hold the very bytes, other storages rclone's encoding of them."""
    items = [files.write("all/" + os.fsdecode(name), name) for name in NAMES + RAW_NAMES]
    found = bench.mover.move(bench.remote, items)
    assert set(states(found)) == {State.VERIFIED}, [outcome for outcome in found if outcome.state != "verified"]
    if bench.hostile:
        assert [bench.content(item.key) for item in items] == NAMES + RAW_NAMES


@pytest.mark.parametrize("target", ["../escape", "/etc/x", "a//b", "a/./b", "", "nul\0", "a/..", "."])
def test_a_target_outside_the_base_is_refused(bench, files, target):
    """No path leads out of the remote's base."""
    item = files.write("file", b"x", target="placeholder")
    item = type(item)(item.key, item.source, target, item.size, item.mtime_ns, item.digests)
    assert states(bench.mover.move(bench.remote, [item])) == [State.REFUSED]


@pytest.mark.parametrize("remote", ["unknown", ":local:", ":webdav,bearer_token_command=id:", "there:/etc", ""])
def test_only_a_defined_remote_can_be_named(bench, files, remote):
    """A request cannot bring a storage of its own."""
    (found,) = bench.mover.move(remote, [files.write("file", b"x")])
    assert found.state is State.REFUSED
    assert "no storage named" in found.detail
    assert not bench.mover.probe_remote(remote).reachable
    with pytest.raises(TransferError):
        bench.mover.hash_stored(remote, "file", ["sha256"])


def test_nothing_stored_has_no_hash(bench):
    """Asking for an object that is not there is no error."""
    assert bench.mover.hash_stored(bench.remote, "nothing/here", ["sha256", "md5"]) is None


@pytest.mark.fault("F39")
def test_a_stored_object_is_hashed_again_from_its_bytes(bench, files):
    """Damage that happens at the storage later is seen before a source may be deleted."""
    item = files.write("file.dat", b"right")
    bench.mover.move(bench.remote, [item])
    bench.plant("file.dat", b"wrong")
    found = bench.mover.hash_stored(bench.remote, item.target, ["sha256", "md5"])
    assert found is not None
    assert found.digest != item.digests[found.algorithm]
    assert found.size == len(b"wrong")


def test_a_storage_that_works_is_healthy(bench):
    """The check leaves nothing behind that a person would find."""
    health = bench.mover.probe_remote(bench.remote)
    assert (health.reachable, health.writable) == (True, True), health


def test_a_cancelled_move_answers_for_every_item(bench, files):
    """What was not moved is said to be stopped."""
    cancel = threading.Event()
    cancel.set()
    found = bench.mover.move(bench.remote, [files.write("a", b"a"), files.write("b", b"b")], cancel=cancel)
    assert states(found) == [State.STOPPED] * 2
    assert all(outcome.retryable for outcome in found)


def test_progress_ends_with_all_bytes(bench, files):
    """The last figure is the size of what was asked."""
    seen: list[int] = []
    bench.mover.move(bench.remote, [files.write("a", b"12"), files.write("b", b"345")], on_progress=seen.append)
    assert seen[-1] == 5
    assert seen == sorted(seen)


def test_many_threads_may_move_at_once(bench, files):
    """Each call gets its own outcomes."""
    batches = [[files.write(f"t{t}/{n}", b"%d-%d" % (t, n)) for n in range(5)] for t in range(4)]
    found: dict[int, list] = {}
    threads = [
        threading.Thread(target=lambda t=t: found.__setitem__(t, bench.mover.move(bench.remote, batches[t])))
        for t in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {t: set(states(found[t])) for t in found} == {t: {State.VERIFIED} for t in range(4)}
    assert [outcome.key for outcome in found[2]] == [item.key for item in batches[2]]


def test_what_a_folder_holds_already_is_counted_within_bounds(bench, files):
    """Objects and bytes at every depth; a folder that is not there is empty, and a bound that was met is said."""
    for name in ("scan/a.dat", "scan/deep/er/b.dat", "other/c.dat"):
        bench.plant(name, b"12345")
    found = bench.mover.count_contents(bench.remote, f"{files.prefix}scan", most=100, within_s=10)
    assert (found.exists, found.objects, found.bytes, found.partial) == (True, 2, 10, False)
    assert found.held == (("a.dat", 5), ("deep/er/b.dat", 5))
    assert bench.mover.count_contents(bench.remote, f"{files.prefix}scan", most=1, within_s=10).partial
    nothing = bench.mover.count_contents(bench.remote, f"{files.prefix}nowhere", most=100, within_s=10)
    assert (nothing.exists, nothing.objects, nothing.partial) == (False, 0, False)


def test_only_what_lies_below_a_known_remote_is_counted(bench):
    """No other remote, no way up."""
    for remote, folder in ((bench.remote, "../up"), (bench.remote, "/etc"), (":local:", "etc"), ("unknown", "a")):
        with pytest.raises(TransferError):
            bench.mover.count_contents(remote, folder, most=1, within_s=5)


def test_what_was_moved_is_let_go_at_once(bench, files):
    """A ring of references would keep every batch until Python looks for rings, which is after many thousand files."""

    def kept():
        return sum(isinstance(one, Item) for one in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = kept()
        items = [files.write(f"frame_{number}.h5", b"frame") for number in range(20)]
        assert states(bench.mover.move(bench.remote, items)) == [State.VERIFIED] * 20
        del items
        assert kept() == before
    finally:
        gc.enable()
