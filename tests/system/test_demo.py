"""`./dev demo`, the first thing that anybody tries."""

import json
import subprocess
import sys
from pathlib import Path


def test_the_demo_uploads_a_folder_and_ends(tmp_path: Path) -> None:
    """With one command and nothing prepared, a folder becomes a complete dataset."""
    (tmp_path / "run1").mkdir()
    (tmp_path / "run1" / "scan.dat").write_text("1 2 3")
    command = [sys.executable, "-m", "datauploader_sandbox.demo", tmp_path / "run1", "--once", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    said = json.loads(ended.stdout.strip().splitlines()[-1])
    assert (said["files"], said["verified"], said["catalogued"], said["failed"]) == (1, 1, 1, 0)
