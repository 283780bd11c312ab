"""Whatever is swapped for a link, and whenever: nothing outside the station's `roots` is listed, read or announced."""

import errno
import os
import shutil
import tempfile
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from types import SimpleNamespace

import pytest

from datauploader.contracts import StationReported, UploadRejected, UploadScanned, UploadSealed
from datauploader.contracts.questions import ListFolder
from datauploader.files import nofollow
from datauploader.reliability import Store
from datauploader_watcher.adapters.disk import LocalDisk
from datauploader_watcher.ledger import SCHEMA
from datauploader_watcher.ledger.places import RootPlaceTable
from datauploader_watcher.queries.folders import FolderBrowser
from datauploader_watcher.settings import WatcherSettings
from datauploader_watcher.uploads.admission import UploadAdmission

FOLDER = "beamline/run1"
"""The upload's root below the station's."""
SECRET = b"only for administrators"


def outside(tmp_path: Path) -> Path:
    """Make folders outside the station's roots that hold a secret, wherever in them somebody looks for the upload."""
    made = tmp_path / "outside"
    for place in (made, made / "run1", made / FOLDER):
        place.mkdir(parents=True, exist_ok=True)
        (place / "secret.txt").write_bytes(SECRET)
    return made


def swap(place: Path, goal: Path) -> None:
    """Rename a folder away and put a link in its place."""
    place.rename(place.with_name(f"{place.name}-away"))
    place.symlink_to(goal)


def put_back(place: Path) -> None:
    """Undo a swap."""
    place.unlink()
    place.with_name(f"{place.name}-away").rename(place)


def troubles(world) -> str:
    """Return what was said last of the upload as a whole, "" where nothing is wrong."""
    return " ".join(world.events(UploadScanned)[-1].troubles) if world.events(UploadScanned) else ""


def said(world) -> str:
    """Return everything that was said, as text."""
    return " ".join(str(event.data) for event in world.heard)


@pytest.mark.posix  # links, which Wine does not have
@pytest.mark.fault("F51")
@pytest.mark.attack("S20")
@pytest.mark.parametrize("part", ["beamline/run1", "beamline", ""], ids=["root", "above", "station's root"])
@pytest.mark.parametrize("down", [True, False], ids=["while down", "while running"])
def test_a_root_or_a_folder_above_it_that_becomes_a_link_is_lost_and_not_followed(world, tmp_path, part, down):
    """It is said; when the folder is put back the upload continues, and nothing is sent twice."""
    goal, place = outside(tmp_path), world.root / part
    world.write(f"{FOLDER}/a.dat")
    world.start()
    world.request("sync", root=str(world.root / FOLDER))
    world.wait_announced("a.dat")
    if down:
        world.stop()
    swap(place, goal)
    if down:
        world.start()
    world.wait_until(lambda: "links are not followed" in troubles(world), "the trouble is told")
    put_back(place)
    world.write(f"{FOLDER}/b.dat")
    world.wait_announced("a.dat", "b.dat")
    world.wait_until(lambda: not troubles(world), "the trouble is over")
    assert world.files_announced == 2
    assert "secret" not in said(world)


@pytest.mark.posix  # links, which Wine does not have
@pytest.mark.fault("F51")
def test_a_root_of_the_station_that_was_swapped_allows_nothing_new(world, tmp_path):
    """Neither while it runs nor after a start: what it was when it was first seen counts, and the station says so."""
    goal = outside(tmp_path)
    world.start()
    swap(world.root, goal)
    for upload in ("upload-0001", "upload-0002"):
        world.request("batch", wait=False, upload_id=upload, root=str(world.root / "run1"))
        world.wait_until(lambda u=upload: [e for e in world.events(UploadRejected) if e.upload_id == u])
        world.stop()
        world.start()
    world.wait_until(lambda: any("led to" in t for e in world.events(StationReported) for t in e.troubles))
    assert "secret" not in said(world)


@pytest.mark.posix  # links, which Wine does not have
@pytest.mark.fault("F51")
@pytest.mark.parametrize("former", [True, False], ids=["opened before places were kept", "opened now"])
def test_a_source_that_becomes_a_link_while_the_watcher_is_down_keeps_no_other_upload_waiting(world, tmp_path, former):
    """It is left out as a link, and the upload after it is taken up."""
    goal = outside(tmp_path)
    world.write("first/sub/a.dat")
    world.write("second/b.dat")
    world.start()
    world.request("sync", root=str(world.root / "first"), sources=("sub",))
    world.request("sync", upload_id="upload-0002", root=str(world.root / "second"))
    world.wait_announced("sub/a.dat", "b.dat")
    world.stop()
    swap(world.root / "first/sub", goal)
    world.write("second/c.dat")
    if former:
        with closing(connect(next(world.state.glob("watcher.sqlite3")))) as db, db:
            db.execute("UPDATE uploads SET root = x'', sources = ''")
    world.start()
    world.wait_announced("sub/a.dat", "b.dat", "c.dat")
    assert "secret" not in said(world)


@pytest.mark.fault("F51")
def test_a_root_that_is_taken_out_of_roots_is_read_no_more_and_close_keeps_what_is_stored(world, tmp_path):
    """What was found and not stored is left out on the record; nothing is completed before a person has closed it."""
    other = tmp_path / "other"
    other.mkdir()
    world.write("a.dat")
    world.write("b.dat", b"refused")
    world.start()
    world.request("sync")
    versions = world.wait_announced("a.dat", "b.dat")
    world.catalogue(versions[b"a.dat"])
    world.fail(versions[b"b.dat"], "refused")
    world.wait_until(lambda: world.states() == {"catalogued": 1, "failed": 1})
    world.stop()
    world.write("c.dat")
    world.start(roots=(other,))
    world.wait_until(lambda: "removed this folder from `roots`" in troubles(world), "the trouble is told")
    assert not world.events(UploadSealed)
    world.control("close")
    (seal,) = world.wait_for(UploadSealed)
    assert (seal.files, seal.left_out) == (1, 1)
    assert world.left_out() == {b"b.dat": "barred"}
    assert set(world.announced()) == {b"a.dat", b"b.dat"}


@pytest.mark.fault("F51")
def test_a_batch_whose_root_is_taken_out_waits_for_a_person_and_goes_on_when_it_is_back(world, tmp_path):
    """Half a batch is not a whole one, only because the rest may not be read."""
    world.write("a.dat")
    world.start()
    world.request("batch", quiet_period_s=3600)
    world.stop()
    world.start(roots=(tmp_path / "other",))
    world.wait_until(lambda: "removed this folder" in troubles(world), "the trouble is told")
    told = world.watcher.status.at
    world.wait_until(lambda: world.watcher.status.at > told + 2.5, "it was twice looked whether to seal")
    assert not world.events(UploadSealed)
    world.stop()
    world.start()
    world.wait_until(lambda: not troubles(world), "the trouble is over")
    assert not world.events(UploadSealed)


@pytest.mark.fault("F51")
def test_a_rule_looks_for_folders_below_no_link(world, tmp_path):
    """The rule's own folder is swapped while the station runs: names outside are not read."""
    goal = outside(tmp_path)
    (goal / "20260102" / "secret-dataset").mkdir(parents=True)
    world.write("rules/20260101/run1/a.dat")
    rule = {
        "name": "all", "pattern": f"{world.root}/rules/{{investigation}}/{{dataset}}", "remote": "store",
    }  # fmt: skip
    world.start(rules=(rule,))
    world.wait_until(lambda: "run1" in said(world), "the rule has asked")
    swap(world.root / "rules", goal)
    looks = world.watcher.status.at
    world.wait_until(lambda: world.watcher.status.at > looks + 1.5, "the rule has looked again")
    assert "secret-dataset" not in said(world)


class Swapping(UploadAdmission):
    """The rules of a station where a folder is swapped right after it was allowed."""

    def allows(self, path: bytes) -> bool:
        """Allow, then swap."""
        allowed = super().allows(path)
        if path.endswith(b"run1"):
            swap(Path(os.fsdecode(path)), Path(os.fsdecode(path)).parents[2] / "outside")
        return allowed


@pytest.mark.fault("F51")
@pytest.mark.attack("S20")
def test_a_folder_that_is_swapped_between_the_check_and_the_listing_is_not_listed(tmp_path):
    """Nor is it when large listings are remembered: what is told is that it cannot be read."""
    outside(tmp_path)
    root = tmp_path / "data"
    (root / FOLDER).mkdir(parents=True)
    settings = WatcherSettings(roots=(root,))
    store = Store(tmp_path / "state.sqlite3", (SCHEMA,))
    with closing(store):
        folders = FolderBrowser(Swapping(settings, (), RootPlaceTable(store, settings.roots)))
        answer = folders(ListFolder(path=str(root / FOLDER), counts=True))
    assert not answer.readable
    assert not answer.entries


@pytest.mark.posix  # links, which Wine does not have
@pytest.mark.fault("F51")
@pytest.mark.parametrize("depth", range(5))
def test_no_part_of_a_path_may_be_a_link(tmp_path, depth):
    """Looking, listing and opening refuse it, wherever it is, and a look at the link itself says what it is."""
    path = tmp_path / "a" / "b" / "c" / "d" / "file"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"content")
    place = path.parents[3 - depth] if depth < 4 else path
    place.rename(tmp_path / "goal")
    place.symlink_to(tmp_path / "goal")
    raw = os.fsencode(path)
    with pytest.raises(OSError) as refused:  # noqa: PT011 - its number is what counts
        os.close(nofollow.open_file(raw))
    assert refused.value.errno in (errno.ENOTDIR, errno.ELOOP)
    if place != path:
        for attempt in (lambda: nofollow.look(raw), lambda: nofollow.folder(os.fsencode(path.parent)).__enter__()):
            with pytest.raises(NotADirectoryError):
                attempt()
    with pytest.raises(NotADirectoryError):
        nofollow.check_parts(raw)


@pytest.mark.posix  # rights of another user
@pytest.mark.fault("F51")
def test_passing_through_a_folder_needs_no_right_to_list_it():
    """A home folder that others may only pass through is no obstacle."""
    home = Path(tempfile.mkdtemp(prefix="datauploader-", dir="/tmp"))
    (home / "data").mkdir()
    (home / "data").chmod(0o755)
    (home / "data/file").write_bytes(b"content")
    home.chmod(0o711)
    os.seteuid(65534)
    try:
        with pytest.raises(PermissionError):
            list(home.iterdir())
        with LocalDisk(os.fsencode(home / "data")).folder(b"") as opened:
            assert opened.names() == [b"file"]
    finally:
        os.seteuid(0)
        shutil.rmtree(home)


def test_a_junction_leads_elsewhere_and_a_file_in_a_cloud_does_not():
    """Windows says both with the same attribute; the tag tells them apart."""
    junction, link, deduplicated = 0xA0000003, 0xA000000C, 0x80000013
    for tag, expected in ((junction, True), (link, True), (deduplicated, False), (0, False)):
        seen = SimpleNamespace(st_mode=0o040755, st_file_attributes=0x400 if tag else 0, st_reparse_tag=tag)
        assert nofollow.leads_elsewhere(seen) is expected


@pytest.mark.fault("F7")
def test_a_root_that_is_another_folder_now_is_read_and_told(tmp_path, capsys):
    """A folder that was made anew is what people want uploaded; that it is another one stands in the log."""
    root = tmp_path / "root"
    root.mkdir()
    disk = LocalDisk(os.fsencode(root))
    disk.verify_root()
    root.rename(tmp_path / "away")
    root.mkdir()
    disk.verify_root()
    assert "root_replaced" in capsys.readouterr().out
