"""Files that lie on a drive that hangs: they wait, and nobody else's do."""

import time

import pytest

from datauploader.contracts import FileFailed, FileStored
from datauploader_sandbox.drives import NetworkDrive
from datauploader_testing.waiting import eventually

from .test_transfer_service import World


@pytest.mark.fault("F8")
@pytest.mark.posix  # mounts
def test_files_of_a_drive_that_hangs_keep_no_other_waiting_and_are_sent_when_it_is_back(tmp_path) -> None:
    """Five uploads from a frozen network drive, more than there are movers, and one from this machine's disk."""
    with NetworkDrive(tmp_path / "source" / "drive", tmp_path / "server") as drive:
        world = World(tmp_path)
        here, world.source = world.source, drive.folder
        hung = [world.write(f"{number}.dat", b"%d" % number) for number in range(5)]
        drive.freeze()
        for number, file in enumerate(hung):
            world.announce(file, upload_id=f"hung-{number:04}")
        world.failed()
        world.source = here
        beside = world.write("local.dat", b"local")
        began = time.monotonic()
        world.announce(beside)
        assert [stored.file.path for stored in world.stored()] == ["local.dat"]
        assert time.monotonic() - began < 10
        told = eventually(lambda: [file for file in world.failed() if not file.final])
        assert "does not answer" in told[0].detail
        drive.thaw()
        eventually(lambda: len(world.storage.objects) == 6, what="everything is stored", within_s=30)
        assert not [file for data in world.heard if isinstance(data, FileFailed) for file in data.files if file.final]
        eventually(lambda: len([data for data in world.heard if isinstance(data, FileStored)]) == 6)
        world.stop()
        world.outside.close()
