"""The sandbox's storages come together, one configuration file names them, and the oracle reads each one back."""

import subprocess
from pathlib import Path

import pytest

from datauploader_sandbox.detector import Detector, Plan
from datauploader_sandbox.oracle import Evidence, judge, read_directory, read_ledger, read_remote
from datauploader_sandbox.storages import SERVERS, Storages
from datauploader_testing.servers.programs import find_rclone

pytestmark = pytest.mark.storage


@pytest.mark.campaign
def test_a_scan_copied_to_every_storage_is_sound(tmp_path: Path) -> None:
    """What rclone copied is the same through rclone and on the disk, for local, WebDAV, S3, SFTP and SMB."""
    watched, ledger = tmp_path / "watched", tmp_path / "ledger.jsonl"
    Detector(watched, ledger, Plan(scans=2, frames=2, shape=(8, 8), seconds_per_frame=0)).run()
    written, configuration = read_ledger(ledger), tmp_path / "rclone.conf"
    with Storages(SERVERS) as storages:
        configuration.write_text(storages.configuration())
        for kind, address in storages.addresses.items():
            remote = f"{kind}:{address.base}"
            copy = [find_rclone(), "--config", configuration, "copy", watched, remote, "--webdav-pacer-min-sleep", "0"]
            subprocess.run(copy, check=True, capture_output=True, timeout=60)
            for stored in (read_directory(address.directory), read_remote(find_rclone(), configuration, remote)):
                assert judge(Evidence(written, stored)).holds, (kind, judge(Evidence(written, stored)))
