"""Names and things that break uploaders: what a file system allows and nobody expects."""

import os
import random
import socket
from pathlib import Path

from datauploader_sandbox.detector.ledger import Ledger
from datauploader_sandbox.detector.plan import Plan

NAMES: tuple[bytes, ...] = (
    b"new\nline.txt",
    b"carriage\rreturn.txt",
    b"\xff\xfe not utf-8.dat",
    b"-rf",
    b"--config=x",
    b"star*[a]{b}?.tif",
    b"  two leading spaces",
    b"trailing space ",
    b"trailing dot.",
    "é NFC.txt".encode(),
    "é NFD.txt".encode(),
    b"case",
    b"CASE",
    b"quote'\"`$(id).txt",
    b"back\\slash.txt",
    b"per%20cent%2F.txt",
    b"semi;colon:colon|pipe",
    b"\x1b[31mred\x1b[0m",
    "\u202egnp.exe".encode(),
    b"<img src=x onerror=alert(1)>",
    b"con.txt",
    b"~",
    b".hidden",
    b"n" * 255,
    "日本語".encode(),
    b"empty",
)


def write_hostile(root: Path, plan: Plan, ledger: Ledger) -> None:
    """Write files under every hostile name, and beside them what no uploader may follow, open or wait for."""
    folder = os.fsencode(root / "hostile")
    os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - names that are bytes need the functions that take bytes
    dice = random.Random(plan.seed)
    for name in NAMES:
        path = os.path.join(folder, name)  # noqa: PTH118 - as above
        Path(os.fsdecode(path)).write_bytes(b"" if name == b"empty" else dice.randbytes(dice.randint(1, 5000)))
        ledger.wrote(path)
    _write_special_files(root / "hostile", ledger)
    _write_links(root / "hostile", ledger)


def _write_special_files(folder: Path, ledger: Ledger) -> None:
    os.mkfifo(folder / "fifo")
    ledger.left_out(folder / "fifo", "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        _bind_in(folder, listener)
    ledger.left_out(folder / "socket", "socket")
    unreadable = folder / "unreadable.dat"
    unreadable.write_bytes(b"for nobody")
    unreadable.chmod(0)
    ledger.optional(unreadable, "unreadable, except to root", b"for nobody")


def _bind_in(folder: Path, listener: socket.socket) -> None:
    """Bind a socket by a short path: the address of a unix socket has at most 107 bytes."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        listener.bind(f"/proc/self/fd/{handle}/socket")
    finally:
        os.close(handle)


def _write_links(folder: Path, ledger: Ledger) -> None:
    target = folder / "target of a link.txt"
    target.write_bytes(b"inside")
    ledger.wrote(target)
    (folder / "link inside").symlink_to(target.name)
    ledger.optional(folder / "link inside", "link to a file inside", b"inside")
    (folder / "link outside").symlink_to("/etc/hostname")
    ledger.left_out(folder / "link outside", "link to a file outside")
    (folder / "folder outside").symlink_to("/etc", target_is_directory=True)
    ledger.left_out(folder / "folder outside", "link to a folder outside")
    (folder / "dangling").symlink_to("nowhere")
    ledger.left_out(folder / "dangling", "link to nothing")
    (folder / "loop").symlink_to(".", target_is_directory=True)
    ledger.left_out(folder / "loop", "link to its own folder")
