"""What the real mover does when rclone, the network or the storage fails."""

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datauploader_testing.faults import Direction, FaultProxy, Latency, RefusingServer
from datauploader_testing.waiting import eventually
from datauploader_transfer.domain.plan import BatchLimits
from datauploader_transfer.errors import TransferError
from datauploader_transfer.ports import Item, State, Whose

from .conftest import PATIENCE_S, free_port, local, rclone_mover, webdav

pytestmark = pytest.mark.storage


def alive(pid: int) -> bool:
    """Tell whether a process runs (a zombie does not)."""
    with contextlib.suppress(OSError):
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


@contextlib.contextmanager
def between(port: int, change: Callable[[bytes], bytes]) -> Iterator[int]:
    """Forward connections to a port of loopback, changing what the client sends; give the port to use."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server, port, change), daemon=True).start()
        yield server.getsockname()[1]


def _accept(server: socket.socket, port: int, change: Callable[[bytes], bytes]) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = server.accept()
            upstream = socket.create_connection(("127.0.0.1", port))
            threading.Thread(target=_pump, args=(client, upstream, change), daemon=True).start()
            threading.Thread(target=_pump, args=(upstream, client, bytes), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket, change: Callable[[bytes], bytes]) -> None:
    with contextlib.suppress(OSError), source:
        while data := source.recv(65536):
            sink.sendall(change(data))
        sink.shutdown(socket.SHUT_WR)


def through(definition: dict, port: int) -> dict:
    """Give the same remote, reached through another port."""
    return {**definition, "options": {**definition["options"], "url": f"http://127.0.0.1:{port}"}}


def port_of(definition: dict) -> int:
    """Return the port of a WebDAV remote."""
    return int(definition["options"]["url"].rpartition(":")[2])


@pytest.mark.fault("F29")
def test_a_bit_that_flips_on_the_way_to_a_storage_without_hashes_is_never_verified(tmp_path, files):
    """WebDAV has no hashes, so only reading back finds it; the damaged object does not stay."""
    flip = lambda data: data.replace(b"PRECIOUS", b"QRECIOUS")  # noqa: E731  a name for what it does
    with webdav(tmp_path / "storage") as definition, between(port_of(definition), flip) as port:
        with rclone_mover("dav", through(definition, port)) as mover:
            (found,) = mover.move("dav", [files.write("f", b"PRECIOUS data")])
        assert found.state is State.MISMATCH, found
        assert found.retryable
        assert not (tmp_path / "storage/base/f").exists()
        with rclone_mover("dav", definition) as mover:
            (found,) = mover.move("dav", [files.write("f", b"PRECIOUS data")])
        assert found.state is State.VERIFIED, found


@pytest.mark.fault("F29")
def test_a_bit_that_flips_once_is_mended_within_the_move(tmp_path, files):
    """The file is sent a second time at once."""
    flips = [True]

    def flip(data: bytes) -> bytes:
        if b"PRECIOUS" in data and flips:
            flips.pop()
            return data.replace(b"PRECIOUS", b"QRECIOUS")
        return data

    with webdav(tmp_path / "storage") as definition, between(port_of(definition), flip) as port:
        with rclone_mover("dav", through(definition, port)) as mover:
            (found,) = mover.move("dav", [files.write("f", b"PRECIOUS data")])
        assert found.state is State.VERIFIED, found
        assert not flips
        assert (tmp_path / "storage/base/f").read_bytes() == b"PRECIOUS data"


def test_without_reading_back_nothing_is_called_verified(tmp_path, files):
    """The operator's choice is shown in the state."""
    with (
        webdav(tmp_path / "storage") as definition,
        rclone_mover("dav", {**definition, "read_back": False}) as mover,
    ):
        (found,) = mover.move("dav", [files.write("f", b"data")])
    assert found.state is State.UNVERIFIED, found


@pytest.mark.fault("F34")
def test_a_killed_rclone_comes_back_and_the_move_ends_truly(tmp_path, files):
    """SIGKILL in the middle of a copy: the move goes on with the next rclone, without false success."""
    content = os.urandom(8 * 1024**2)
    item = files.write("big", content)
    with (
        local(tmp_path / "storage") as definition,
        rclone_mover("disk", definition, bytes_per_s=6 * 1024**2) as mover,
    ):
        mover.probe_remote("disk")
        first = mover.pid
        moving = threading.Event()
        found = []
        thread = threading.Thread(
            target=lambda: found.extend(mover.move("disk", [item], on_progress=lambda size: size > 0 and moving.set()))
        )
        thread.start()
        assert moving.wait(PATIENCE_S)
        assert not (tmp_path / "storage/base/big").exists()
        os.kill(first, signal.SIGKILL)
        thread.join(60)
        assert [outcome.state for outcome in found] == [State.VERIFIED], found
        assert mover.pid != first
    assert (tmp_path / "storage/base/big").read_bytes() == content
    assert [path.name for path in (tmp_path / "storage/base").iterdir()] == ["big"]


def test_rclone_dies_with_its_parent_even_when_that_is_killed(tmp_path):
    """No orphan keeps the secrets and the storage busy."""
    script = (
        "import sys, time\n"
        "from datauploader_transfer.rclone.mover import RcloneMover\n"
        "mover = RcloneMover({})\n"
        "mover.limit_bandwidth(None)\n"
        "print('pid', mover.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(next(line for line in parent.stdout if line.startswith("pid")).split()[1])
        assert alive(pid)
        parent.kill()
        eventually(lambda: not alive(pid), what="rclone is gone")


def test_rclone_yields_to_what_instruments_write_and_people_wait_for(tmp_path):
    """It runs with a higher nice value than the service that started it."""
    with rclone_mover("store", {"type": "local", "base": str(tmp_path)}) as mover:
        mover.limit_bandwidth(None)
        assert os.getpriority(os.PRIO_PROCESS, mover.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 5


def test_secrets_are_neither_in_the_arguments_nor_on_the_disk(tmp_path):
    """The process list shows no secret; the private folder is ours alone."""
    definition = {"type": "webdav", "options": {"url": "http://127.0.0.1:1"}, "secrets": {"pass": "canary-1"}}
    with rclone_mover("dav", definition, folder=tmp_path) as mover:
        mover.limit_bandwidth(None)
        arguments = Path(f"/proc/{mover.pid}/cmdline").read_bytes()
        (folder,) = tmp_path.iterdir()
        assert b"canary" not in arguments
        assert b"pass" not in arguments
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "rc").stat().st_mode) == 0o600
        assert not any(b"canary" in path.read_bytes() for path in folder.iterdir() if path.is_file())
        rude = socket.socket(socket.AF_UNIX)
        with rude:
            rude.connect(str(folder / "rc"))
            rude.sendall(b"POST /core/pid HTTP/1.0\r\n\r\n")
            assert b" 401 " in rude.recv(200)
    assert not list(tmp_path.iterdir())


@pytest.mark.fault("F33")
def test_a_full_storage_says_so_and_goes_on_when_there_is_room(tmp_path, files):
    """Nothing half done is visible; after room was made the same move succeeds."""
    mount = tmp_path / "tiny"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", mount], check=True)
    try:
        (mount / "ballast").write_bytes(bytes(1536 * 1024))
        item = files.write("file", os.urandom(1024**2))
        with rclone_mover("disk", {"type": "local", "base": str(mount / "base")}) as mover:
            (found,) = mover.move("disk", [item])
            assert found.state is State.STORAGE_FULL, found
            assert found.retryable
            assert found.retry_after_s
            assert not list((mount / "base").iterdir())
            (mount / "ballast").unlink()
            (found,) = mover.move("disk", [item])
            assert found.state is State.VERIFIED, found
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


@pytest.mark.fault("F32")
def test_a_storage_that_nobody_answers_for_is_unreachable_and_comes_back(tmp_path, files):
    """The same mover works as soon as the storage does."""
    item = files.write("f", b"data")
    with rclone_mover("dav", {"type": "webdav", "options": {"url": f"http://127.0.0.1:{free_port()}"}}) as mover:
        (found,) = mover.move("dav", [item])
        assert found.state is State.UNREACHABLE, found
        assert found.retryable
        assert not mover.probe_remote("dav").reachable


@pytest.mark.campaign
@pytest.mark.fault("F32")
def test_a_storage_that_goes_away_is_noticed_before_its_files_were_all_tried(tmp_path, files):
    """Left to itself, rclone tries each file ten times, and waits two seconds between the tries of all together."""
    items = [files.write(f"folder {n}/f", b"data") for n in range(100)]
    late = Latency(direction=Direction.DOWN, seconds=0.2)
    with (
        webdav(tmp_path / "storage") as definition,
        FaultProxy(port_of(definition)) as proxy,
        proxy.having(late),
        rclone_mover("dav", through(definition, proxy.port)) as mover,
    ):
        found = []
        move = threading.Thread(target=lambda: found.extend(mover.move("dav", items)))
        move.start()
        eventually(lambda: late.hits > 50, within_s=PATIENCE_S, what="the move is under way")
        proxy.refuse()
        proxy.cut()
        move.join(PATIENCE_S)
        assert not move.is_alive()
    assert {outcome.state for outcome in found} == {State.UNREACHABLE}, found[0]
    assert "refused" in found[-1].detail


@pytest.mark.parametrize("url", ["http://127.0.0.1:many", "http://127.0.0.1:70000"])
def test_an_address_that_cannot_be_one_is_an_outcome_and_no_crash(files, url):
    """Whoever mistyped a port reads it in a sentence."""
    with rclone_mover("dav", {"type": "webdav", "options": {"url": url}}) as mover:
        (found,) = mover.move("dav", [files.write("f", b"data")])
        assert not mover.probe_remote("dav").writable
    assert found.state is not State.VERIFIED
    assert found.detail


def test_wrong_credentials_are_the_remotes_trouble_and_somebody_must_mend_them(tmp_path, files):
    """The sentence tells whom to ask; it is the same for every file, so none is given up."""
    with (
        webdav(tmp_path / "storage") as definition,
        rclone_mover("dav", {**definition, "secrets": {"pass": "wrong"}}) as mover,
    ):
        (found,) = mover.move("dav", [files.write("f", b"data")])
    assert found.state is State.REFUSED, found
    assert (found.retryable, found.whose, found.by_hand) == (True, Whose.REMOTE, True)
    assert "administrator" in found.hint


@pytest.mark.campaign
@pytest.mark.fault("F31")
def test_a_storage_that_falls_silent_is_noticed(tmp_path, files):
    """A stall ends the work with a retryable outcome, long before a person would notice it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never says a word
        definition = {"type": "webdav", "options": {"url": f"http://127.0.0.1:{silent.getsockname()[1]}"}}
        with rclone_mover("dav", definition, stall_s=1.0) as mover:
            mover.limit_bandwidth(None)
            started = time.monotonic()
            (found,) = mover.move("dav", [files.write("f", b"data")])
            assert time.monotonic() - started < PATIENCE_S
    assert found.state is State.UNREACHABLE, found
    assert found.retryable
    assert "nothing moved" in found.detail


def test_a_running_move_can_be_cancelled(tmp_path, files):
    """What is under way is stopped, and nothing partial stays visible."""
    cancel = threading.Event()
    item = files.write("big", os.urandom(8 * 1024**2))
    with (
        local(tmp_path / "storage") as definition,
        rclone_mover("disk", definition, bytes_per_s=1024**2) as mover,
    ):
        (found,) = mover.move("disk", [item], cancel=cancel, on_progress=lambda size: cancel.set() if size else None)
    assert found.state is State.STOPPED, found
    assert not (tmp_path / "storage/base/big").exists()


def test_one_bad_file_does_not_spoil_the_others(tmp_path, files):
    """In a batch each file has its own fate, matched by its place."""
    items = [files.write(f"d/{n}", b"%d" % n) for n in range(20)]
    too_long = files.write("ok", b"x", target="y" * 300)
    with (
        local(tmp_path / "storage") as definition,
        rclone_mover("disk", definition, batches=BatchLimits(files=7)) as mover,
    ):
        found = mover.move("disk", [*items[:9], too_long, *items[9:]])
    assert [n for n, outcome in enumerate(found) if outcome.state is not State.VERIFIED] == [9]
    assert found[9].state is State.REFUSED, found[9]


def cut_off(tmp_path: Path, item: Item) -> tuple[int, Path]:
    """Kill a mover and its rclone in the middle of a copy to a disk; return rclone's number and what was left."""
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from datauploader_transfer.rclone.mover import RcloneMover, RcloneSettings\n"
        "from datauploader_transfer.domain.remotes import parse_remotes\n"
        "from datauploader_transfer.ports import Item\n"
        "folder, base, source, target, size, mtime_ns, sha256, md5 = sys.argv[1:]\n"
        "remotes = parse_remotes({'disk': {'type': 'local', 'base': base}})\n"
        "mover = RcloneMover(remotes, RcloneSettings(folder=Path(folder), bytes_per_s=2 * 1024**2))\n"
        "item = Item('k', Path(source), target, int(size), int(mtime_ns), {'sha256': sha256, 'md5': md5})\n"
        "mover.probe_remote('disk')\n"
        "print('pid', mover.pid, flush=True)\n"
        "mover.move('disk', [item], on_progress=lambda size: size and os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    base = tmp_path / "storage/base"
    arguments = [tmp_path, base, item.source, item.target, item.size, item.mtime_ns, *item.digests.values()]
    with subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE) as mover:
        pid = int(next(line for line in mover.stdout if line.startswith(b"pid")).split()[1])
        assert mover.wait(60) == -signal.SIGKILL
    eventually(lambda: not alive(pid), what="rclone is gone")
    (left,) = base.iterdir()
    return pid, left


@pytest.mark.fault("F36")
@pytest.mark.parametrize("name", ["big.h5", "é" * 60 + ".h5"])
def test_what_a_killed_mover_leaves_is_swept_by_the_next(tmp_path, files, name):
    """The private folder goes at the next start, the half object when that is asked for; what lives stays."""
    item = files.write(name, os.urandom(8 * 1024**2))
    _, left = cut_off(tmp_path, item)
    assert left.name != name
    (abandoned,) = tmp_path.glob("du-rcd-*")
    definition = {"type": "local", "base": str(left.parent)}
    started = time.monotonic()
    with rclone_mover("disk", definition, folder=tmp_path) as mover:
        assert not abandoned.exists()
        assert mover.probe_remote("disk").writable
        assert time.monotonic() - started < 10
        (left.parent / "other.h5.0a1b2c3d.du.partial").write_bytes(b"somebody sends this now")
        mover.sweep_leftovers("disk", [item.target, "nowhere/there.h5"])
        assert [path.name for path in left.parent.iterdir()] == ["other.h5.0a1b2c3d.du.partial"]
        with rclone_mover("disk", definition, folder=tmp_path) as other:
            assert other.probe_remote("disk").writable
            assert mover.probe_remote("disk").writable
            assert len(list(tmp_path.glob("du-rcd-*"))) == 2
    assert not list(tmp_path.glob("*du-rcd-*"))


@pytest.mark.fault("F32")
@pytest.mark.parametrize("status", [429, 503])
def test_the_pause_that_a_storage_asks_for_is_passed_on(files, status):
    """The header is dropped by rclone, so it is asked for; the outcome carries it."""
    with RefusingServer(status, "77") as server:
        definition = {"type": "webdav", "options": {"url": f"http://127.0.0.1:{server.port}", "vendor": "other"}}
        with rclone_mover("dav", definition) as mover:
            (found,) = mover.move("dav", [files.write("f", b"data")])
    assert (found.state, found.retry_after_s, found.retryable) == (State.UNREACHABLE, 77.0, True)
    assert found.whose is Whose.REMOTE, "else it would be tried with a small file within the pause"


@pytest.mark.fault("F32")
def test_nothing_more_is_begun_of_a_move_whose_storage_asks_for_a_pause(files):
    """It is sent in several calls; after the refusal of the first the others would be sent within the pause."""
    with RefusingServer(429, "77") as server:
        definition = {"type": "webdav", "options": {"url": f"http://127.0.0.1:{server.port}", "vendor": "other"}}
        with rclone_mover("dav", definition, batches=BatchLimits(files=1)) as mover:
            found = mover.move("dav", [files.write(name, b"data") for name in ("first", "second", "third")])
        asked = [request.path for request in server.requests]
    assert [(one.state, one.retry_after_s, one.untried) for one in found] == [
        (State.UNREACHABLE, 77.0, False), (State.UNREACHABLE, 77.0, True), (State.UNREACHABLE, 77.0, True),
    ]  # fmt: skip
    assert len({one.key for one in found}) == 3
    assert not [path for path in asked if "second" in path or "third" in path]


@pytest.mark.fault("F33")
def test_a_quota_at_the_storage_is_told_as_a_full_storage(files):
    """WebDAV says 507 where a user's quota is used up."""
    with RefusingServer(507) as server:
        definition = {"type": "webdav", "options": {"url": f"http://127.0.0.1:{server.port}", "vendor": "other"}}
        with rclone_mover("dav", definition) as mover:
            (found,) = mover.move("dav", [files.write("f", b"data")])
    assert (found.state, found.retryable) == (State.STORAGE_FULL, True)


@pytest.mark.campaign
@pytest.mark.fault("F31")
def test_a_storage_that_does_not_list_keeps_nobody_waiting_and_disturbs_nothing(tmp_path):
    """The count ends in its time with words; the next one is refused at once; rclone is not started again for it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        definition = {"type": "webdav", "options": {"url": f"http://127.0.0.1:{silent.getsockname()[1]}"}}
        with rclone_mover("dav", definition) as mover:
            began = time.monotonic()
            with pytest.raises(TransferError, match="did not list"):
                mover.count_contents("dav", "20260101/run1", most=100, within_s=3.0)
            pid = mover.pid
            with pytest.raises(TransferError, match="did not list"):
                mover.count_contents("dav", "20260101/run1", most=100, within_s=60.0)
            assert time.monotonic() - began < PATIENCE_S
            assert mover.pid == pid
