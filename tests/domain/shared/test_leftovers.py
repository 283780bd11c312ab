"""The one table of names that systems and programs at work leave between people's files."""

from pathlib import Path

import pytest

from datauploader.files.leftovers import (
    SYSTEM_FILES,
    SYSTEM_FOLDERS,
    TEMPORARY,
    all_names,
    is_leftover,
    leftover,
)
from datauploader.plugins.harvester import Kind
from datauploader_testing.builders import file_stored, file_version

DOCUMENT = Path(__file__).parents[3] / "docs" / "choosing.md"

FOLDERS = [
    ".AppleDouble", "__MACOSX", "@eaDir", "@EADIR", "@Recycle", "#recycle", "#Recycle", "#snapshot", "$RECYCLE.BIN",
    "$Recycle.Bin", "RECYCLER", "Recycler", "System Volume Information", "lost+found", ".Trash-1000", ".Trash",
    ".Trashes", ".Spotlight-V100", ".fseventsd", ".TemporaryItems", ".DocumentRevisions-V100", ".snapshot", "~snapshot",
]  # fmt: skip
FILES = ["._scan_1.nxs", "._.DS_Store", ".DS_Store", "thumbs.db", "Thumbs.db", "Desktop.ini", "Icon\r", ".directory"]
AT_WORK = {
    "rsync": ".scan_1.h5.Xa12bC", "rsync --delay-updates": ".~tmp~", "WinSCP": "scan_2.h5.filepart",
    "gvfs": ".goutputstream-AB12CD", "Emacs": "#scan.txt#", "Emacs, lock": ".#scan.txt", "Emacs, backup": "scan.txt~",
    "Vim": ".scan.txt.swp", "Vim, second": ".scan.txt.swo", "Kate": ".scan.txt.kate-swp", "Word": "~$thesis.docx",
    "LibreOffice": ".~lock.report.odt#", "Firefox": "scan.h5.part", "Chrome": "Scan.h5.crdownload",
    "Safari": "scan.h5.download", "Opera": "scan.h5.opdownload", "aria2": "scan.h5.aria2",
    "SQLite, journal": "analysis.tdf-journal", "SQLite, log": "analysis.tdf-wal", "SQLite, memory": "analysis.tdf-shm",
    "lock": "scan.h5.lock", "rclone": "scan.h5.1a2b3c4d.partial", "Syncthing": ".syncthing.scan.h5.tmp",
    "Syncthing, Windows": "~syncthing~scan.h5.tmp", "NFS": ".nfs00000000001a", "FUSE": ".fuse_hidden0001",
    "SMB": ".smbdeleteAAA1234", "whatever the case": "SCAN.H5.PART",
}  # fmt: skip
DATA = [
    "scan.lock.h5", "a._b", "lost+found.txt", "lost+found", "recycler", "__MACOSX.h5", "@eaDir.h5", "scan#1#2.h5",
    "#1.h5", "part", "scan.part.h5", "lock", "locked", "download", "lab-journal", "journal", "icon", "Icon.png",
    ".Trash.h5", "til~de", ".sample.sqlite", ".log.202601", ".run.BACKUP", "scan.Xa12bC", ".hidden", ".config.json",
    "thumbs.db.h5", "a.tmp", "desktop.ini.txt", "scan.swp.h5", "x.h5", "#recycle", "wal", "20260101-shm",
]  # fmt: skip


@pytest.mark.fault("F58")
@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_a_system_is_known_whatever_its_case(name):
    """Deleted files of people lie in some of them."""
    assert leftover(name, folder=True) == "system"
    assert is_leftover(f"share/{name}/deep/scan.h5")


@pytest.mark.fault("F58")
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_a_system_is_known(name):
    """It stays as it is; nobody will rename it."""
    assert leftover(name) == "system"
    assert is_leftover(f"run1/{name}")


@pytest.mark.fault("F58")
@pytest.mark.parametrize("name", AT_WORK.values(), ids=AT_WORK)
def test_the_name_of_a_file_that_a_program_works_on_is_temporary(name):
    """The program renames it, or leaves it behind."""
    assert leftover(name) == "temporary"
    assert is_leftover(name)


@pytest.mark.fault("F58")
@pytest.mark.parametrize("name", DATA)
def test_what_only_looks_alike_is_data(name):
    """The table must not take data away."""
    assert leftover(name) is None
    assert not is_leftover(f"recycle/{name}")


@pytest.mark.fault("F58")
def test_a_harvester_tries_no_leftover():
    """Whatever came to the storage."""
    kind = Kind("nexus", ("*.nxs",), lambda _path: ())
    wanted = ["scan.nxs", "._scan.nxs", "__MACOSX/scan.nxs", "~$scan.nxs", "run1/SCAN.NXS"]
    assert [kind.wants(file_stored(file_version(path)).files[0]) for path in wanted] == [
        True,
        False,
        False,
        False,
        True,
    ]


def test_every_name_of_the_table_stands_in_the_document():
    """People read there why something is not uploaded."""
    text = DOCUMENT.read_text()
    names = [
        name.replace("\r", "\\r") for table in (SYSTEM_FOLDERS, SYSTEM_FILES, TEMPORARY) for name in all_names(table)
    ]
    assert [name for name in names if f"`{name}`" not in text] == []
