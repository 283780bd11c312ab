"""Hints from the operating system: turned into notices, merged, counted where they are lost."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from datauploader.contracts import StationReported
from datauploader_testing.waiting import eventually
from datauploader_watcher.adapters.events import Events, Notice
from datauploader_watcher.loop_inbox import LoopInbox


@pytest.fixture
def heard(tmp_path):
    """Give a watched folder and the notices that come of it."""
    notices: list[Notice] = []
    watched: list[tuple[bytes, str]] = []
    events = Events(notices.append, lambda: None, lambda *result: watched.append(result))
    events.start()
    events.watch(str(tmp_path).encode())
    eventually(lambda: watched, what="the folder is watched")
    yield notices
    events.stop(5)


@pytest.mark.posix  # names of any bytes, and events of closing
def test_creation_close_rename_and_new_folders_are_noticed(heard, tmp_path):
    """Names of any bytes arrive as they are; our own reading raises nothing."""
    path = Path(str(tmp_path) + "/latin-\udcff.dat")
    path.write_bytes(b"data")
    eventually(lambda: any(n.closed and n.path.endswith(b"latin-\xff.dat") for n in heard))
    heard.clear()
    path.read_bytes()
    path.replace(tmp_path / "renamed")
    (tmp_path / "sub").mkdir()
    eventually(lambda: {(n.path.rpartition(b"/")[2], n.folder) for n in heard} == {(b"renamed", False), (b"sub", True)})


@pytest.mark.posix  # events of closing
def test_every_file_of_a_burst_is_noticed_as_closed(heard, tmp_path):
    """Events are read many at a time; none may be left behind, and the last one must not wait for another."""
    names = {b"%04d.dat" % number for number in range(500)}
    for name in names:
        (tmp_path / name.decode()).write_bytes(b"data")
    eventually(lambda: {n.path.rpartition(b"/")[2] for n in heard if n.closed} == names, what="all are noticed")


@pytest.mark.fault("F5")
def test_a_folder_that_cannot_be_watched_is_told_with_the_reason(tmp_path):
    """The loop then polls."""
    watched: list[tuple[bytes, str]] = []
    events = Events(lambda _: None, lambda: None, lambda *result: watched.append(result))
    events.start()
    events.watch(str(tmp_path / "missing").encode())
    assert eventually(lambda: watched)[0][1]
    events.stop(5)


def test_notices_of_one_path_are_one_and_a_write_undoes_a_close():
    """A flood of writes costs one look."""
    box = LoopInbox()
    for _ in range(1000):
        box.notice(Notice(b"/d", b"/d/a", folder=False))
    box.notice(Notice(b"/d", b"/d/a", folder=False, closed=True))
    assert [notice.closed for notice in box.drain().notices.values()] == [True]
    box.notice(Notice(b"/d", b"/d/a", folder=False, closed=True))
    box.notice(Notice(b"/d", b"/d/a", folder=False))
    assert [notice.closed for notice in box.drain().notices.values()] == [False]
    assert not box.drain()


ON_WINDOWS = """
import ctypes, threading
from ctypes.wintypes import DWORD

ANSWERS = ["full", "nothing", "error"]
lost = []

class Kernel32:
    "Just enough of Windows: a folder whose changes are more than the buffer holds, and which then goes away."

    def __getattr__(self, name):
        made = {"CreateFileW": lambda *_: 7}.get(name, lambda *_: 1)
        if name.startswith("ReadDirectoryChanges"):
            def made(handle, buffer, length, subtree, kinds, nbytes, *_):
                answer = ANSWERS.pop(0)
                nbytes._obj.value = 12 if answer == "full" else 0
                if answer == "error":
                    error = OSError(answer)
                    error.winerror = 64
                    raise error
        function = lambda *arguments: made(*arguments)
        setattr(self, name, function)
        return function

ctypes.WinDLL = lambda _name: Kernel32()
from datauploader_watcher.adapters.windows import OverflowReader

reader = OverflowReader("C:/data", lambda: lost.append(len(ANSWERS)), lambda path: lost.append(path), recursive=True)
reader.start()
reader._reader_thread.join(10)
print(lost)
"""


@pytest.mark.fault("F2")
def test_an_overflow_and_an_end_on_windows_are_told():
    """The real reader of watchdog on a stub of Windows: 12 bytes, then 0 bytes, then an error."""
    done = subprocess.run([sys.executable, "-c", ON_WINDOWS], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.strip() == "[1, 0, b'C:/data']", done.stderr


@pytest.mark.fault("F1", "F2")
def test_lost_events_are_counted_and_everything_is_scanned(world):
    """What watchdog says in its log is the only sign that the system's queue ran over."""
    world.start(scan_interval_s=60)
    world.request("sync")
    world.write("a.dat")
    world.wait_announced("a.dat")
    before = world.watcher.status.entries
    logging.getLogger("watchdog.observers.inotify_c").warning("Inotify queue overflowed; filesystem events were lost")
    world.wait_until(lambda: any(event.overflows == 1 for event in world.events(StationReported)))
    world.wait_until(lambda: world.watcher.status.entries > before, "a scan")
