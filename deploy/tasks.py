"""The tasks behind `./dev`; standard library only, because it runs before anything is installed."""

import ast
import os
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from toolchain import (
    BIN,
    DISTRIBUTIONS,
    LOCK,
    PACKAGES,
    ROOT,
    VENV,
    Failure,
    call,
    check,
    compile_once,
    debian,
    environment,
    node_packages,
    say,
)

HELM = ROOT / "deploy" / "requirements-helm.lock"
"""Of 80 MB, so that `helm-test` alone needs it, in an environment of its own."""
BENCHED = {
    "p1": ("rsync",),
    "p2": ("apache2",),
    "p3": ("sshd", "rsync"),
    "p4": ("apache2", "sshd", "smbd", "rsync"),
    "p5": ("lsyncd", "rsync", "syncthing"),
    "p6": ("lsyncd", "rsync", "syncthing"),
    "p7": ("rsync",),
}
"""What the benchmarks compare with and store at, beside rclone."""
WINE = ("wine", "x86_64-w64-mingw32-ld")
PYTEST = (
    *(BIN / "python", "-m", "pytest", "-q", "--durations", "15"),
    *("--dist", "loadfile", "--no-loadscope-reorder"),  # whole files at once: the tests of a file share servers
)
AT_ONCE = ("-n", "4")
"""Most tests wait for something, so four files of them keep two cores busy. Those of faults time things: two."""
SOURCES = ["shared", "services", "sandbox", "harvesters", "consumers", "catalogues", "tests", "bench", "deploy"]


ADVISORIES = ("api.osv.dev", 443)
"""Where known vulnerabilities are asked for."""


def demo(arguments: Sequence[str]) -> int:
    """[FOLDER] [--once] [--json] [--broker rabbitmq] [--catalogue NAME]: run a whole facility here and upload to it."""
    environment()
    if "rabbitmq" in arguments or "--broker=rabbitmq" in arguments:
        debian("rabbitmq-server", "redis-server")
    return call(BIN / "python", "-m", "datauploader_sandbox.demo", *arguments)


def up(arguments: Sequence[str]) -> int:
    """[SERVICE…]: run services (all of them without a name) on your own configuration, until Ctrl-C."""
    environment()
    return call(BIN / "datauploader", "run", *(arguments or ("watcher", "transfer", "catalog", "gateway")))


def test(arguments: Sequence[str]) -> int:
    """[PYTEST ARGUMENTS]: install what the tests need, then lint, types, import rules and all tests."""
    environment()
    debian(*PACKAGES)
    node_packages()
    compile_once()
    real = ROOT.parent / "shared" / "data" / "nexus"
    if real.is_dir():
        os.environ.setdefault("DATAUPLOADER_TEST_NEXUS", str(real))
    began = time.monotonic()
    if arguments:
        return call(BIN / "python", "-m", "pytest", *arguments)
    types = subprocess.Popen([BIN / "mypy"], cwd=ROOT)
    results = {
        "lint": call(BIN / "ruff", "check", *present(SOURCES)),
        "format": call(BIN / "ruff", "format", "--check", "-q", *present(SOURCES)),
        "import rules": call(BIN / "lint-imports", "--no-cache"),
        "types": types.wait(),
        "known vulnerabilities": audit(()),
        "tests": call(*PYTEST, *AT_ONCE, "--timeout", "300"),
    }
    failed = [name for name, code in results.items() if code]
    print(f"{'failed: ' + ', '.join(failed) if failed else 'all is well'} ({time.monotonic() - began:.0f} s)")
    return 1 if failed else 0


def faults(arguments: Sequence[str]) -> int:
    """[--quick] [PYTEST ARGUMENTS]: run the fault campaign and write docs/faults.md; --quick: CI's part of it."""
    environment()
    debian(*PACKAGES)
    compile_once()
    options = ["-m", "fault and not campaign"] if "--quick" in arguments else ["-m", "fault or campaign"]
    options += [argument for argument in arguments if argument != "--quick"]
    if not arguments:
        options += ["--fault-report=docs/faults.md"]  # with a space, pytest takes a page that is there for tests
    return call(*PYTEST, "-n", "2", "--timeout", "3600", *options)


def causes(arguments: Sequence[str]) -> int:
    """[WORD…] [--firing MINUTES]: measure how soon the page and alerts tell of faults, and write docs/causes.md."""
    environment()
    debian(*PACKAGES)
    page = ROOT / "docs" / "causes.md"
    return call(BIN / "python", "-m", "datauploader_sandbox.causes", *arguments, "--write", page)


def audit(_arguments: Sequence[str]) -> int:
    """Ask OSV for known vulnerabilities of everything that is locked, where it can be reached."""
    environment()
    try:
        socket.create_connection(ADVISORIES, timeout=3).close()
    except OSError:
        say(f"{ADVISORIES[0]} cannot be reached; only the floors of docs/security.md are checked, by the tests")
        return 0
    source = ["--vulnerability-service", "osv", "--disable-pip", "--no-deps", "--progress-spinner", "off"]
    return call(BIN / "pip-audit", *source, "-r", LOCK)


def lint(_arguments: Sequence[str]) -> int:
    """Format and check what ruff can mend, then types and import rules."""
    environment()
    call(BIN / "ruff", "format", "-q", *present(SOURCES))
    codes = [
        call(BIN / "ruff", "check", "--fix", *present(SOURCES)),
        call(BIN / "mypy"),
        call(BIN / "lint-imports", "--no-cache"),
    ]
    return max(codes)


def lock(_arguments: Sequence[str]) -> int:
    """Resolve all dependencies anew into requirements.lock."""
    environment()
    inputs = ["requirements-dev.in", *(f"{name}/pyproject.toml" for name in DISTRIBUTIONS)]
    options = ["--universal", "--generate-hashes", "--no-emit-index-url", "--no-header", "-q"]
    options += ["--python-version", "3.11", "-o", "requirements.lock"]
    for path in inputs[1:]:
        options += ["--no-emit-package", str(tomllib.loads((ROOT / path).read_text("utf-8"))["project"]["name"])]
    helm = [*options[: options.index("-o")], "-o", HELM, "deploy/requirements-helm.in"]
    return call(BIN / "uv", "pip", "compile", *options, *inputs) or call(BIN / "uv", "pip", "compile", *helm)


def version(arguments: Sequence[str]) -> int:
    """[NEW]: raise the version everywhere and date what CHANGELOG.md has of it; without NEW, print the present one."""
    environment()
    code = call(BIN / "python", ROOT / "deploy" / "version.py", *arguments)
    if code or not arguments:
        return code
    environment()  # what is installed must say the new version, because the documents ask it
    return docs(())


def docs(arguments: Sequence[str]) -> int:
    """Write the generated documents anew."""
    environment()
    return call(BIN / "datauploader", "documents", *(arguments or ("write", ROOT)))


def site(_arguments: Sequence[str]) -> int:
    """Build the help from docs/, which the gateway serves under /help."""
    environment()
    os.environ["NO_MKDOCS_2_WARNING"] = "1"
    return call(BIN / "python", "-m", "mkdocs", "build", "--strict", "-q", "-f", ROOT / "deploy/help/mkdocs.yml")


def wheels(arguments: Sequence[str]) -> int:
    """[FOLDER]: build a wheel of every distribution into FOLDER, `dist` by default."""
    environment()
    folder = Path(*(arguments or ("dist",))).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    code = site(()) or call(BIN / "python", ROOT / "deploy" / "wheels.py", folder)
    if not code:
        say(f"{folder} has them; install one with: pip install --find-links {folder} ceric-datauploader-workstation")
    return code


def house(arguments: Sequence[str]) -> int:
    """[--against COMMIT] [--names]: print figures about the code, also beside those of a commit."""
    return call(sys.executable, ROOT / "deploy" / "house.py", *arguments)


def bench(arguments: Sequence[str]) -> int:
    """[NAME [ARGUMENTS]]: run a benchmark of bench/, such as `p1`; without NAME, list them."""
    texts = {path.stem: path.read_text("utf-8") for path in (ROOT / "bench").glob("*.py")}
    about = {name: ast.get_docstring(ast.parse(text)) for name, text in texts.items() if "__main__" in text}
    if not arguments or arguments[0] not in about:
        print("./dev bench NAME, and the benchmarks are:\n")
        for name in sorted(about, key=lambda name: (len(name), name)):
            print(f"  {name:10} {(about[name] or '').splitlines()[0].partition(': ')[2]}")
        return 2 if arguments else 0
    environment()
    debian("rabbitmq-server", "redis-server")
    try:
        debian(*BENCHED.get(arguments[0], ()))
    except Failure as missing:
        say(f"{missing}; what needs them is left out")
    return call(BIN / "python", ROOT / "bench" / f"{arguments[0]}.py", *arguments[1:])


def screenshots(_arguments: Sequence[str]) -> int:
    """Make docs/pages.md and its pictures anew."""
    environment()
    debian("chromium")
    node_packages()
    return call(BIN / "python", "-m", "datauploader_sandbox.browser.screenshots", ROOT / "docs")


def compose_test(arguments: Sequence[str]) -> int:
    """Bring docker-compose.yml up with its sandbox, upload through it, take it down."""
    environment()
    return call(BIN / "python", ROOT / "deploy" / "compose_test.py", *arguments)


def helm_test(_arguments: Sequence[str]) -> int:
    """Render the Helm chart with few and with all values, and check every document; it needs no cluster."""
    environment()
    stamp, python = VENV / "helm" / ".complete", VENV / "helm" / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != HELM.read_text():
        say("making a Python environment with Helm's engine in .venv/helm (once)")
        check(BIN / "uv", "venv", "-q", "--clear", "--python", BIN / "python", VENV / "helm")
        check(BIN / "uv", "pip", "install", "-q", "--python", python, "--require-hashes", "-r", HELM)
        stamp.write_text(HELM.read_text())
    return call(python, ROOT / "deploy" / "helm_test.py")


def env(arguments: Sequence[str]) -> int:
    """[--sandbox] [OPTIONS]: write .env and the site for docker-compose.yml, as ./install does with Docker alone."""
    environment()
    return call(BIN / "datauploader", "admin", "install", "--yes", *arguments)


def pin_images(_arguments: Sequence[str]) -> int:
    """Write the digests of the images that docker has here into .env: nothing else is started then."""
    environment()
    return call(BIN / "python", ROOT / "deploy" / "pin_images.py", ROOT / ".env")


def windows_test(arguments: Sequence[str]) -> int:
    """[--setup FILE] [PYTEST ARGUMENTS]: run tests on Windows' Python under Wine (Debian), or of an installer."""
    environment()
    if os.name != "nt":
        debian(*WINE, *(PACKAGES if "--setup" in arguments else ()))
    return call(BIN / "python", ROOT / "deploy" / "windows_test.py", *arguments)


def windows_installer(arguments: Sequence[str]) -> int:
    """[--python ZIP] [--sign COMMAND] [--out FILE]: build the installer for Windows, on Debian."""
    environment()
    debian("makensis", "rsvg-convert", "icotool")
    return site(()) or call(BIN / "python", ROOT / "deploy" / "windows_installer.py", *arguments)


def present(names: Sequence[str]) -> list[str]:
    """Return the folders that are there."""
    return [name for name in names if (ROOT / name).exists()]


TASKS: dict[str, Callable[[Sequence[str]], int]] = {
    "demo": demo,
    "test": test,
    "faults": faults,
    "causes": causes,
    "audit": audit,
    "up": up,
    "env": env,
    "compose-test": compose_test,
    "helm-test": helm_test,
    "pin-images": pin_images,
    "windows-test": windows_test,
    "windows-installer": windows_installer,
    "bench": bench,
    "lint": lint,
    "lock": lock,
    "docs": docs,
    "site": site,
    "version": version,
    "wheels": wheels,
    "house": house,
    "screenshots": screenshots,
}


def main(arguments: Sequence[str]) -> int:
    """Run one task."""
    if not arguments or arguments[0] not in TASKS:
        print("./dev TASK, and the tasks are:\n")
        for name, task in TASKS.items():
            print(f"  {name:13} {(task.__doc__ or '').strip()}")
        return 0 if arguments[:1] in ([], ["help"], ["--help"]) else 2
    try:
        return TASKS[arguments[0]](arguments[1:])
    except Failure as failure:
        say(str(failure))
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
