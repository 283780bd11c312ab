"""Two hundred files that want to hurt whoever reads them, made when they are needed and the same each time.

A case has a name, the harvester that is to read it, and what writes it to a path.
"""

import os
import random
import socket
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import chdir
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np

Write = Callable[[Path], object]
MIB = 2**20


@dataclass(frozen=True)
class Hostile:
    """One file: `program` is the harvester where that is what is hostile."""

    name: str
    reader: str
    write: Write
    program: str = ""


def hostile() -> list[Hostile]:
    """Return all of them."""
    cases = [*_structures(), *_values(), *_places(), *_texts(), *_programs()]
    cases += [
        Hostile(f"{reader}-{name}", reader, partial(_spoilt, whole, spoil))
        for reader, whole in (("nexus", whole_nexus), ("spec", whole_spec), ("edf", whole_edf))
        for name, spoil in _spoilings()
    ]
    assert len({case.name for case in cases}) == len(cases)
    return cases


def entry_of(file: h5py.File) -> h5py.Group:
    """Make the one entry of a file."""
    entry = file.require_group("entry")
    entry.attrs["NX_class"] = "NXentry"
    return entry


def whole_nexus(path: Path) -> None:
    """Write what a beamline writes."""
    with h5py.File(path, "w") as file:
        entry = entry_of(file)
        entry["title"], entry["start_time"] = "vanadium", "2026-01-02T03:04:05"
        for name, kind in (
            ("instrument", "NXinstrument"),
            ("instrument/mono", "NXmonochromator"),
            ("sample", "NXsample"),
        ):
            entry.create_group(name).attrs["NX_class"] = kind
        entry["instrument/name"], entry["instrument/mono/energy"], entry["sample/name"] = "XRD1", 12.4, "LaB6"
        entry.create_dataset("data", data=np.arange(10_000).reshape(100, 100), chunks=(10, 100), compression="gzip")


def whole_spec(path: Path) -> None:
    """Write a few scans."""
    head = "#F a.spec\n#E 918630612\n#D Wed Feb 10 01:10:12 1999\n#C spec  User = polar\n#O0 Theta  Phi\n"
    scan = (
        "\n#S {}  ascan  th 0 1 9 1\n#D Wed Feb 10 01:11:00 1999\n#T 1  (Seconds)\n#P0 1 2\n#N 2\n#L Theta  Detector\n"
    )
    rows = "".join(f"{n} {n * n}\n" for n in range(10))
    path.write_text(head + "".join(scan.format(number) + rows for number in range(1, 6)))


def whole_edf(path: Path) -> None:
    """Write two images."""
    head = "{\nDataType = UnsignedShort ;\nDim_1 = 20 ;\nDim_2 = 30 ;\nmotor_mne = sx sy ;\nmotor_pos = 1 2 ;\n"
    path.write_bytes(2 * (head.ljust(510) + "}\n" + 1200 * "x").encode())


def _spoilings() -> Iterator[tuple[str, Callable[[bytes], bytes]]]:
    for part in range(1, 10):
        yield f"cut-{part}", lambda whole, part=part: whole[: len(whole) * part // 10]
    for seed in range(13):
        yield f"flipped-{seed}", partial(_flip, seed=seed)
    yield "backwards", lambda whole: whole[::-1]
    yield "zeros-in-it", lambda whole: whole[: len(whole) // 3] + bytes(len(whole) // 3) + whole[len(whole) * 2 // 3 :]
    yield "twice", lambda whole: whole * 2


def _flip(whole: bytes, seed: int) -> bytes:
    chance, spoilt = random.Random(seed), bytearray(whole)
    for _ in range(20 * (seed + 1)):
        spoilt[chance.randrange(min(len(spoilt), 4096))] = chance.randrange(256)
    return bytes(spoilt)


def _spoilt(whole: Write, spoil: Callable[[bytes], bytes], path: Path) -> None:
    whole(path)
    path.write_bytes(spoil(path.read_bytes()))


def _in_entry(write: Callable[[h5py.Group], object], path: Path) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        entry = entry_of(file)
        entry["start_time"] = "2026-01-02"
        write(entry)


def _bomb(entry: h5py.Group, size: int, deflate: int = 1) -> None:
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((1000,))
    packed = bytes(size)
    for _ in range(deflate):
        made.set_deflate(9)
        packed = zlib.compress(packed, 1)
    space = h5py.h5s.create_simple((1000,))
    chunk = h5py.Dataset(h5py.h5d.create(entry.id, b"title", h5py.h5t.NATIVE_INT64, space, made))
    chunk.id.write_direct_chunk((0,), packed)


def _soft(entry: h5py.Group, *links: tuple[str, str]) -> None:
    for name, target in links:
        entry[name] = h5py.SoftLink(target)


def _external(entry: h5py.Group, target: str) -> None:
    entry["title"] = h5py.ExternalLink(target, "/entry/title")
    entry["sample"] = h5py.ExternalLink(target, "/")


def _deep(entry: h5py.Group, levels: int) -> None:
    for _ in range(levels):
        entry = entry.create_group("sample")
        entry.attrs["NX_class"] = "NXsample"


def _virtual(entry: h5py.Group, source: str) -> None:
    layout = h5py.VirtualLayout((1,), "i8")
    layout[:] = h5py.VirtualSource(source, "entry/title", (1,))
    entry.create_virtual_dataset("title", layout)


def _wide(entry: h5py.Group, kind: str) -> None:
    for number in range(3000):
        entry.create_group(f"{kind}{number}").attrs["NX_class"] = kind


def _itself(entry: h5py.Group) -> None:
    entry.attrs["NX_class"] = "NXentry"
    entry["instrument"] = entry["sample"] = entry.file["/entry_2"] = entry


def _structures() -> Iterator[Hostile]:
    """Groups, links and chunks of HDF5."""
    writes: dict[str, Callable[[h5py.Group], object]] = {
        **{f"chunk-of-{size}-MiB": partial(_bomb, size=size * MIB) for size in (16, 64, 256)},
        "chunk-packed-twice": partial(_bomb, size=256 * MIB, deflate=2),
        "chunk-packed-often": partial(_bomb, size=64 * MIB, deflate=6),
        "link-to-itself": lambda entry: _soft(entry, ("title", "title")),
        "links-in-a-ring": lambda entry: _soft(entry, ("title", "a"), ("a", "b"), ("b", "/entry/title")),
        "links-in-a-chain": lambda entry: _soft(entry, ("title", "l0"), *((f"l{n}", f"l{n + 1}") for n in range(2000))),
        "link-of-many-parts": lambda entry: _soft(entry, ("title", "/".join(["."] * 20_000))),
        "link-to-the-root": lambda entry: _soft(entry, ("sample", "/"), ("title", "/")),
        **{
            f"file-linked-{n}": partial(_external, target=target)
            for n, target in enumerate(
                ("file-linked-0.nxs", "/dev/zero", "/proc/self/mem", "/etc/passwd", "nowhere.h5")
            )
        },
        **{f"deep-{levels}": partial(_deep, levels=levels) for levels in (100, 5000)},
        **{
            f"virtual-{n}": partial(_virtual, source=source)
            for n, source in enumerate((".", "/dev/zero", "not-there.nxs"))
        },
        **{f"wide-{kind}": partial(_wide, kind=kind) for kind in ("NXsample", "NXuser", "NXinstrument", "Nothing")},
        "raw-bytes-of-zero": lambda entry: entry.create_dataset("title", (9,), "S9", external=[("/dev/zero", 0, 81)]),
        "a-group-that-is-its-own": _itself,
    }
    for name, write in writes.items():
        yield Hostile(name, "nexus", partial(_in_entry, write))


def _values() -> Iterator[Hostile]:
    """Values of every kind that HDF5 has, where a title is looked for."""
    rows = np.zeros(3, [("a", "i4"), ("b", "S4")])
    values: dict[str, object] = {
        "compound": rows,
        "opaque": np.void(b"\x00" * 100),
        "complex": 1 + 2j,
        "infinite": np.inf,
        "none": np.nan,
        "half": np.float16(1),
        "quadruple": np.longdouble(1),
        "vast-number": np.uint64(2**64 - 1),
        "truth": True,
        "many": np.arange(5000),
        "nothing-at-all": np.zeros((0, 5)),
        "sixteen-dimensions": np.zeros((1,) * 16),
        "long-text": "x" * 10 * MIB,
        "no-utf-8": np.bytes_(b"\xff\xfe\x80"),
        "zero-bytes": np.bytes_(b"a\x00b"),
        "other-way-round": "\u202eabc\u202c\u2066",
        "escape": "\x1b[2J\x07",
        "line-breaks": "a\nb\rc\u2028d",
    }

    def as_title(entry: h5py.Group, value: object) -> None:
        entry["title"] = value

    for name, value in values.items():
        yield Hostile(f"title-{name}", "nexus", partial(_in_entry, partial(as_title, value=value)))

    def attributes(entry: h5py.Group) -> None:
        for number in range(5000):
            entry.attrs[f"a{number}"] = "x" * 100

    def units(entry: h5py.Group) -> None:
        entry["title"] = "x"
        entry["title"].attrs.create("units", np.bytes_(b"x" * 20 * MIB))

    def strange_class(entry: h5py.Group) -> None:
        for number, value in enumerate((7, [b"NXsample"] * 3, rows, np.bytes_(b"x" * MIB), h5py.Empty("f"))):
            entry.create_group(f"g{number}").attrs["NX_class"] = value

    for write in (attributes, units, strange_class):
        yield Hostile(f"attributes-{write.__name__}", "nexus", partial(_in_entry, write))


def _places() -> Iterator[Hostile]:
    """What has the name of a file and is none, or another than its name says."""

    def link(target: str, path: Path) -> None:
        path.symlink_to(target)

    def sparse(path: Path) -> None:
        whole_nexus(path)
        os.truncate(path, 2**40)

    def bound(path: Path) -> None:
        with chdir(path.parent), socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)  # the address of a socket has room for 107 bytes

    def packed(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x", bytes(32 * MIB))

    writes: dict[str, Write] = {
        "pipe": os.mkfifo,
        "socket": bound,
        "folder": Path.mkdir,
        "no-bytes": Path.touch,
        "link-to-nothing": partial(link, "gone"),
        "link-to-a-device": partial(link, "/dev/zero"),
        "link-to-a-random-device": partial(link, "/dev/urandom"),
        "link-to-a-process": partial(link, "/proc/self/environ"),
        "sparse-terabyte": sparse,
        "archive": packed,
        "missing": lambda _: None,
        "signature-alone": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"),
        "text": lambda path: path.write_text("not this"),
        "picture": lambda path: path.write_bytes(b"\x89PNG\r\n" + bytes(99)),
    }
    for name, write in writes.items():
        yield Hostile(f"place-{name}", "nexus", write)


def _texts() -> Iterator[Hostile]:
    """SPEC and EDF files that go on and on."""
    scan = "#S 1 ct\n#N 1\n#L Detector\n"
    spec: dict[str, str | bytes] = {
        "endless-line": scan + "1 " * 20 * MIB,
        "no-line-at-all": "#S 1 ct " + "x" * 20 * MIB,
        "zeros": "#S 1\n" + "\0" * MIB,
        "very-many-scans": "#S 1\n" * 500_000,
        "very-many-headers": "#F a\n" * 300_000 + "#S 1\n",
        "very-many-motors": "#F a\n" + "#O0 a  b  c\n" * 200_000,
        "very-many-columns": "#S 1\n#L " + "a  b  " * 200_000,
        "a-vast-number": scan.replace("#N 1", "#N 999999999999999999999"),
        "numbers-beyond": scan + "1e999\nnan\n-inf\n" * 99,
        "broken-dates": "#F a\n#E 99999999999\n#D Foo Bar 99 99:99:99 0000\n" + scan,
        "wide-letters": scan.encode("utf-16"),
        "a-long-number-of-a-scan": "#S " + "9" * 100_000 + "\n",
        "returns-alone": scan.replace("\n", "\r"),
    }
    edf: dict[str, str | bytes] = {
        "endless-header": "{" + "a = b ;\n" * 200_000,
        "very-many-images": ("{ Size = 0 ;".ljust(510) + "}\n") * 20_000,
        "vast-image": "{ Size = 999999999999999 ; }",
        "vast-dimensions": "{ DataType = double ;\nDim_1 = 999999999 ;\nDim_2 = 9 ; }",
        "braces": "{" * 100_000 + "}" * 100_000,
        "no-keys": "{" + ";\n" * 1000 + "}",
        "many-keys": "{" + "".join(f"k{n} = {n} ;\n" for n in range(20_000)) + "}",
        "many-motors": "{ motor_mne = " + "a " * 50_000 + ";\n}",
        "no-utf-8": b"{ title = \xff\xfe\x00\x1b[2J ;\nSize = 0 ; }",
        "medicine": "0       " + "X" * 248,
    }
    for reader, texts in (("spec", spec), ("edf", edf)):
        for name, text in texts.items():
            body = text if isinstance(text, bytes) else text.encode()
            yield Hostile(f"{reader}-text-{name}", reader, partial(_write, body=body))


def _write(path: Path, body: bytes) -> None:
    path.write_bytes(body)


def _programs() -> Iterator[Hostile]:
    """Harvesters that do harm; the file is one of many."""
    programs = {
        "says-without-end": 'yes \'{"name": "a", "value": 1}\'',
        "prints-without-end": "cat /dev/zero",
        "prints-letters-without-end": "yes | tr -d '\\n'",
        "complains-without-end": "cat /dev/zero >&2",
        "never-ends": "sleep 300",
        "never-ends-and-ignores": "trap '' TERM INT HUP; while :; do sleep 1; done",
        "turns-without-end": "while :; do :; done",
        "writes-ten-gigabytes": 'head -c 10G /dev/zero > "$TMPDIR/big"; echo \'{"problem": "full"}\'; exit 1',
        "leaves-a-file": 'echo x > "$TMPDIR/left"; exit 3',
        "leaves-a-process": "sleep 301 & exit 3",
        "leaves-a-session": "setsid sleep 302 & exit 3",
        "leaves-many": "for n in 1 2 3 4 5 6 7 8 9; do (setsid sh -c 'sleep 303 & wait' &) ; done; exit 3",
        "leaves-a-talker": "(setsid sh -c 'while :; do echo x; sleep 0.1; done' &) ; exit 3",
        "takes-memory": "exec python3 -c 'x = bytearray(8 * 1024**3)'",
        "takes-memory-in-the-shell": "x=a; while :; do x=$x$x; done",
        "nested": "printf '%0100000d' 0 | tr 0 '['",
        "nested-objects": "i=0; while [ $i -lt 3000 ]; do printf '{\"a\":'; i=$((i+1)); done",
        "no-json": "echo hello",
        "half-json": 'printf \'{"name": "a"\'',
        "no-utf-8": 'printf \'{"problem": "\\377\\376"}\'',
        "not-a-number": 'echo \'{"name": "a", "value": NaN}\'',
        "infinite": 'echo \'{"name": "a", "value": -Infinity}\'',
        "beyond": 'echo \'{"name": "a", "value": 1e999}\'',
        "digits": 'printf \'{"name": "a", "value": %0500000d}\' 1 | tr 0 1',
        "large-number": 'printf \'{"name": "a", "value": 1%03999d}\' 0',
        "lone-surrogate": 'echo \'{"name": "a", "value": "\\ud800"}\'',
        "wrong-types": 'echo \'[1, null, "x", {"name": 5}, {"name": []}, {"value": {}}, {"problem": [1]}]\'',
        "many-values": 'seq 100000 | sed \'s/.*/{"name": "n&", "value": &}/\'',
        "vast-text": 'printf \'{"name": "a", "value": "%03000000d"}\' 0; exit 1',
        "code-1": "exit 1",
        "code-75": "exit 75",
        "code-255": "exit 255",
        "code-126": "exec /etc/passwd",
        **{
            f"signal-{number}": f"kill -{number} $$; sleep 60"
            for number in ("SEGV", "KILL", "ABRT", "STOP", "XFSZ", "RTMIN")
        },
        "kills-its-group": "kill -9 0",
        "kills-its-parent": "kill -9 $PPID; sleep 60",
        "stops-its-parent": "kill -STOP $PPID; sleep 60",
    }
    for name, body in programs.items():
        yield Hostile(f"program-{name}", "program", Path.touch, body)
