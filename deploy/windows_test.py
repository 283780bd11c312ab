"""Runs tests on Windows' own Python: under Wine, made here from pinned packages in the folder .windows; or on Windows.

What it shows of Windows, and what only a real one can show, stands in docs/windows.md.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import toolchain
import windows_python
from windows_python import HOME, LOCK, ROOT

from datauploader_sandbox.wine import Wine

PYTHON, WINE = HOME / "python", Wine(HOME / "prefix")
DISTRIBUTIONS = tuple(name for name in toolchain.DISTRIBUTIONS if name.startswith(("shared/", "services/", "sandbox")))
SOURCES = (".py", ".toml", ".html", ".css", ".js")
WITHOUT = ("h5py", "numpy", "tifffile", "playwright", "axe-playwright-python")
TOOLS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis")
IGNORED = {
    "tests/domain/shared/test_reading.py": "numpy ends this Wine: it lacks a function of its C library",
    "tests/domain/shared/test_thumbnails.py": "needs h5py, and that needs numpy",
    "tests/handlers/watcher/test_values.py": "needs h5py, and that needs numpy",
}
"""What is not collected under Wine, and why; tests that show what only other systems have carry the mark `posix`."""
TESTS = (
    "tests/domain/watcher", "tests/domain/shared", "tests/domain/messaging", "tests/domain/transfer",
    "tests/handlers/watcher", "tests/handlers/transfer", "tests/windows",
)  # fmt: skip
LEFT_OUT = [f"--ignore={name}" for name in IGNORED]
OPTIONS = (
    "-q", "-n", "2", "--timeout", "60", "-p", "no:cacheprovider",
    "-m", "not posix and not campaign", "-W", "ignore::ResourceWarning",
    "-W", "ignore::pytest.PytestUnraisableExceptionWarning",
)  # fmt: skip
"""Python 3.13 warns of connections to SQLite that a thread leaves open when it ends; those of 3.11 and 3.12 do not."""


def make() -> None:
    """Make what is missing."""
    HOME.mkdir(exist_ok=True)
    if not (PYTHON / "python.exe").exists():
        windows_python.unpack(windows_python.fetch(), PYTHON, ".", "Lib\\site-packages", "import site")
    WINE.make()
    ours = sorted(path for name in DISTRIBUTIONS for path in (ROOT / name).rglob("*") if path.suffix in SOURCES)
    read = (Path(path).read_bytes() for path in (LOCK, __file__, windows_python.__file__, *ours))
    wanted = hashlib.sha256(b"".join(read)).hexdigest()
    stamp = HOME / "installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        install()
        stamp.write_text(wanted)


def install() -> None:
    """Install what the lock file says for Windows, the tests' tools, and our own packages as they lie here."""
    site = PYTHON / "Lib" / "site-packages"
    windows_python.install(site, [*windows_python.requirements(DISTRIBUTIONS, WITHOUT), *TOOLS], DISTRIBUTIONS)
    shutil.copy(ROOT / "deploy" / "windows" / "wine_errors.py", site)


def pytest(arguments: Sequence[str]) -> int:
    """Run tests in Windows' Python, and show what they print."""
    words = ("-B", "-m", "pytest", "-p", "wine_errors", *OPTIONS, *arguments)
    return WINE.follow(_show, PYTHON / "python.exe", *words, cwd=ROOT)


def _show(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.flush()


def installed(setup: Path, arguments: Sequence[str]) -> int:
    """Install the product under Wine and judge what it does there; the tests run on Linux."""
    kept = os.environ | {"DATAUPLOADER_TEST_SETUP": str(setup)}
    words = ["-q", "-o", "addopts=--import-mode=importlib --strict-markers", "--timeout", "900", *arguments]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *words, ROOT / "tests" / "wine"], env=kept, check=False
    ).returncode


def main(arguments: Sequence[str]) -> int:
    """Make Windows' Python, and run the tests there."""
    parser = argparse.ArgumentParser(prog="./dev windows-test", description=__doc__)
    parser.add_argument("--make", action="store_true", help="make the environment and stop")
    parser.add_argument("--setup", type=Path, help="test this installer, as a station beside a facility on Linux")
    options, more = parser.parse_known_args(arguments)
    if options.setup:
        return installed(options.setup.resolve(), more)
    if os.name == "nt":
        return subprocess.run(
            [sys.executable, "-m", "pytest", *OPTIONS, *(more or TESTS)], cwd=ROOT, check=False
        ).returncode
    make()
    if options.make:
        return 0
    try:
        if any((ROOT / word.partition("::")[0]).exists() for word in more):
            return pytest(more)
        return max([pytest([*LEFT_OUT, folder, *more]) for folder in TESTS])  # each as on a new day
    finally:
        WINE.end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
