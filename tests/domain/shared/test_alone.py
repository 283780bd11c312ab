"""Two processes of one service on one state folder would each believe that its file is theirs alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from datauploader.errors import StateInUse, StateUnavailable
from datauploader.reliability import FolderLock
from datauploader.runtime.config import Settings
from datauploader.runtime.process import Runtime

HOLD = "import sys; from pathlib import Path; from datauploader.reliability import FolderLock as L; "


def test_a_second_service_of_the_same_name_does_not_start_and_says_why(tmp_path: Path, monkeypatch) -> None:
    """The sentence names the folder and the process; once the first one has stopped, the folder is free."""
    monkeypatch.setenv("DATAUPLOADER_CATALOG_ADAPTER", "memory")
    settings = Settings(broker="memory://alone", state_dir=tmp_path)
    first = Runtime(["catalog"], settings)
    with pytest.raises(StateInUse, match=rf"catalog already runs on .*{tmp_path.name}.*process \d+"):
        Runtime(["catalog"], settings)
    first.stop()
    Runtime(["catalog"], settings).stop()


def test_catalogs_that_share_their_ledger_on_purpose_may(tmp_path: Path, monkeypatch) -> None:
    """What F43 and a facility with a slow user office do."""
    monkeypatch.setenv("DATAUPLOADER_CATALOG_ADAPTER", "memory")
    first = Runtime(["catalog"], Settings(broker="memory://alone", state_dir=tmp_path))
    second = Runtime(["catalog"], Settings(broker="memory://alone", state_dir=tmp_path, alone=False))
    second.stop()
    first.stop()


def test_the_lock_holds_between_processes_and_ends_with_its_own(tmp_path: Path) -> None:
    """However it ends: nothing has to be removed by hand after a power cut."""
    held = subprocess.Popen(
        [sys.executable, "-c", f"{HOLD}L(Path(sys.argv[1]), 'watcher'); print('held', flush=True); sys.stdin.read()",
         str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with held:
        assert held.stdout.readline().strip() == b"held"
        with pytest.raises(StateInUse, match=f"process {held.pid}"):
            FolderLock(tmp_path, "watcher")
        FolderLock(tmp_path, "transfer").release()
        held.kill()
        held.wait()
    FolderLock(tmp_path, "watcher").release()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "state").write_text("")
    with pytest.raises(StateUnavailable, match="DATAUPLOADER_STATE_DIR"):
        FolderLock(tmp_path / "state", "watcher")
