"""Builds DataUploader-Setup.exe on Linux: Windows' Python, our packages, rclone, and what puts them in place.

The same sources and the same requirements.lock give the same bytes. Without --sign the file is not signed, and Windows
warns of it.
"""

import argparse
import hashlib
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import windows_python
from windows_python import HOME, ROOT

STAGE, SCRIPT = HOME / "stage", ROOT / "deploy" / "windows" / "setup.nsi"
DISTRIBUTIONS = (
    "shared/core",
    "shared/client",
    "services/watcher",
    "services/catalog",
    "services/transfer",
    "services/gateway",
    "catalogues/folder",
)
OUT = "DataUploader-Setup.exe"
DRAWING = ROOT / "services" / "gateway" / "datauploader_gateway" / "http" / "static" / "icon.svg"
SIZES = (16, 32, 48, 256)
"""Of the icon, in pixels: in menus, on the desktop, in large views."""


def stage(archive: Path) -> None:
    """Put together the folder that the installer holds."""
    python = STAGE / "python"
    windows_python.unpack(archive, python, ".", "Lib\\site-packages")
    needs = windows_python.requirements(DISTRIBUTIONS)
    windows_python.install(python / "Lib" / "site-packages", needs, DISTRIBUTIONS)
    drawn = []
    for size in SIZES:
        drawn.append(HOME / f"icon{size}.png")
        subprocess.run(["rsvg-convert", "-w", str(size), "-h", str(size), "-o", drawn[-1], DRAWING], check=True)
    subprocess.run(["icotool", "--create", "-o", STAGE / "datauploader.ico", *drawn], check=True)


def listed() -> str:
    """Write the macro that puts every file in its place, always in the same order."""
    lines, folder = ["!macro PutFiles"], None
    for path in sorted(path for path in STAGE.rglob("*") if path.is_file()):
        inside = path.relative_to(STAGE)
        if inside.parent != folder:
            folder = inside.parent
            lines.append(f'  SetOutPath "{"/".join(("$INSTDIR", *folder.parts))}"'.replace("/", "\\"))
        lines.append(f'  File "{path}"')
    return "\n".join([*lines, "!macroend", ""])


def build(out: Path, *, quick: bool) -> None:
    """Compile the installer."""
    version = tomllib.loads((ROOT / "shared" / "core" / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    files = HOME / "files.nsh"
    files.write_text(listed())
    given = {"VERSION": f"{version}.0", "OUT": out, "ICON": STAGE / "datauploader.ico", "FILES": files}
    defined = [f"-D{name}={value}" for name, value in given.items()] + (["-DQUICK"] if quick else [])
    subprocess.run(["makensis", "-V2", *defined, SCRIPT], check=True)


def sign(out: Path, command: str) -> None:
    """Have a program sign it, such as `osslsigncode sign -pkcs12 KEY -in {in} -out {out}`."""
    unsigned = out.with_suffix(".unsigned.exe")
    out.replace(unsigned)
    words = [word.format(**{"in": unsigned, "out": out}) for word in shlex.split(command)]
    subprocess.run(words, check=True)
    unsigned.unlink()


def main(arguments: Sequence[str]) -> int:
    """Build, sign if asked to, and say what was made."""
    parser = argparse.ArgumentParser(prog="./dev windows-installer", description=__doc__)
    parser.add_argument("--python", type=Path, help="python.org's embeddable package for 64 bit, instead of ours")
    parser.add_argument("--sign", metavar="COMMAND", help="a command with {in} and {out}, such as one of osslsigncode")
    parser.add_argument("--out", type=Path, default=HOME / OUT)
    parser.add_argument("--quick", action="store_true", help="compress less: for trials")
    options = parser.parse_args(arguments)
    shutil.rmtree(STAGE, ignore_errors=True)
    stage(options.python or windows_python.fetch())
    build(options.out.resolve(), quick=options.quick)
    if options.sign:
        sign(options.out.resolve(), options.sign)
    content = options.out.read_bytes()
    signed = "signed" if options.sign else "not signed: Windows will warn of it"
    print(f"{options.out}: {len(content):,} bytes, {signed}\nsha256 {hashlib.sha256(content).hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
