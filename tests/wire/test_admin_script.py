"""./install and ./admin need a shell and Docker: a stand-in for Docker shows what they ask of it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from datauploader_client.admin.files import read_env

ROOT = Path(__file__).resolve().parents[2]
DOCKER = """#!/bin/sh
# Has no image until it was built, and runs `datauploader` in this process with the environment it was given.
echo "$@" >> "$RECORD"
case "$1" in
  image) [ -e "$RECORD.built" ] ;;
  build) touch "$RECORD.built" ;;
  network) false ;;
  info) echo "[name=seccomp]" ;;
  run)
    while [ "$1" != --entrypoint ]; do
        case "$1" in --env) export "$2" ;; --workdir) cd "$2" ;; esac
        shift
    done
    shift 3
    exec "$PYTHON" -c 'import sys; from datauploader_client.cli import main; sys.exit(main(sys.argv[1:]))' "$@" ;;
esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Make what a clone has that an installation needs, in a folder with a space in its name."""
    folder = tmp_path / "data uploader"
    (folder / "deploy").mkdir(parents=True)
    for name in ("install", "admin", ".env.example", "deploy/sandbox.toml", "deploy/datauploader.example.toml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def test_a_server_is_installed_with_docker_and_a_shell_alone(clone: Path, tmp_path: Path) -> None:
    """The image is built once; the command runs with no rights and no network, and no secret among its arguments."""
    tools, record = tmp_path / "bin", tmp_path / "record"
    tools.mkdir()
    (tools / "docker").write_text(DOCKER)
    (tools / "docker").chmod(0o755)
    (clone / "secrets").write_text("VUO_SECRET=canary-of-vuo\n")
    environment = os.environ | {"PATH": f"{tools}:/usr/bin:/bin", "RECORD": str(record), "PYTHON": sys.executable}
    for command in (
        ["install", "--yes", "--station", "elettra.xrd1.server", "--secrets", "secrets"],
        ["admin", "add-station", "elettra.xrd1.ws02", "--offline"],
    ):
        done = subprocess.run(
            [clone / command[0], *command[1:]], env=environment, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    values = read_env(clone / ".env")
    assert values["VUO_SECRET"] == "canary-of-vuo"
    assert (clone / "deploy" / "site" / "stations" / "elettra.xrd1.ws02.env").exists()
    asked = record.read_text()
    assert asked.count("build ") == 1
    assert "--cap-drop ALL" in asked
    assert "--network none" in asked
    assert not [
        word for name, word in values.items() if name.endswith(("PASSWORD", "SECRET")) and word and word in asked
    ]


@pytest.mark.parametrize("name", ["install", "admin"])
def test_they_are_plain_posix_shell(name: str) -> None:
    """Whatever `sh` is on the server."""
    subprocess.run(["sh", "-n", ROOT / name], check=True)
    assert (ROOT / name).read_text().startswith("#!/bin/sh\n")
    assert (ROOT / name).stat().st_mode & 0o111
