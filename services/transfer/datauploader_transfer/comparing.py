"""Compares what a storage lists with what should lie there: in a temporary file, for there may be millions."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Self, TypeVar

from datauploader.contracts.audits import MOST_NAMED, Difference, HashedFiles
from datauploader.contracts.names import escape
from datauploader_transfer.domain.leftovers import is_leftover
from datauploader_transfer.domain.names import place
from datauploader_transfer.ports import Listed, Stored

_TABLES = """
CREATE TABLE found (name BLOB NOT NULL, size INTEGER NOT NULL, algorithm TEXT NOT NULL, digest TEXT NOT NULL);
CREATE TABLE wanted (
    name BLOB PRIMARY KEY, size INTEGER NOT NULL, sha256 TEXT NOT NULL, md5 TEXT NOT NULL, sha1 TEXT NOT NULL
) WITHOUT ROWID;
CREATE VIEW pair AS
    SELECT name, wanted.size AS size, found.size AS found_size, algorithm, found.digest AS digest, sha256, md5, sha1,
        CASE algorithm WHEN 'sha256' THEN sha256 WHEN 'md5' THEN md5 WHEN 'sha1' THEN sha1 ELSE '' END AS expected
    FROM wanted JOIN found USING (name);
CREATE TABLE differing (kind TEXT NOT NULL, name BLOB NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;
"""
_CHUNK = 500
_MOST_LOOKED_FOR = 10_000
"""Missing files of which the storage is asked whether it gives them all the same: more are missing."""
_LONGEST = 4000
"""Bytes of the names of one kind in a report, which is a message."""

T = TypeVar("T")
Digests = Mapping[str, str]
Ours = Callable[[Sequence[str]], set[str]]
"""Returns which of these names we ever began to write."""
Sizes = Callable[[Sequence[str]], Sequence[int | None]]
Hashes = Callable[[Sequence[tuple[str, int]]], Sequence[Stored | None]]


@dataclass(frozen=True, slots=True)
class ExpectedObject:
    """An expected object: its name below the folder, its bytes and its digests by algorithm."""

    name: str
    size: int
    digests: Digests = field(default_factory=dict)


class Comparison:
    """One listing beside one list of files; first everything is added, then what differs is asked for.

    Several threads may use it, one after the other.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA cache_size = -32000")
        self._db.executescript(_TABLES)
        self._db.execute("BEGIN")
        self.read = 0
        """Files that were read back."""

    def __enter__(self) -> Self:
        """Return the comparison."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the temporary file go."""
        self._db.close()

    def add_wanted(self, files: Iterable[ExpectedObject]) -> None:
        """Add files that should be there; no name twice."""
        self._db.executemany(
            "INSERT INTO wanted VALUES (?, ?, ?, ?, ?)",
            (
                (_raw(file.name), file.size, *(file.digests.get(kind, "") for kind in ("sha256", "md5", "sha1")))
                for file in files
            ),
        )

    def add_found(self, objects: Iterable[Listed]) -> None:
        """Add objects that are there."""
        self._db.executemany(
            "INSERT INTO found VALUES (?, ?, ?, ?)", ((_raw(o.name), o.size, o.algorithm, o.digest) for o in objects)
        )
        self._db.execute("CREATE INDEX IF NOT EXISTS found_name ON found (name)")

    def count_rows(self, table: str) -> int:
        """Count what was found or wanted."""
        return int(self._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - a name of ours

    @property
    def wanted_bytes(self) -> int:
        """Bytes of what is wanted."""
        return int(self._db.execute("SELECT coalesce(sum(size), 0) FROM wanted").fetchone()[0])

    def hashes(self) -> tuple[HashedFiles, ...]:
        """Count the files that were compared by a hash of the listing, by its algorithm."""
        rows = self._db.execute(
            "SELECT algorithm, count(*) FROM pair WHERE digest <> '' AND expected <> '' GROUP BY algorithm"
        )
        return tuple(HashedFiles(algorithm=kind, files=files) for kind, files in rows)

    def find_differences(self, sizes: Sizes, hashes: Hashes | None, ours: Ours) -> None:
        """Find out what differs.

        Args:
            sizes: asks the storage what it gives under names that it does not list.
            hashes: reads what has no hash in the listing; None: nothing is read.
            ours: tells which objects we ever began to write.
        """
        self._look_for_missing(sizes)
        self._note(
            "missing",
            "SELECT name FROM wanted WHERE name NOT IN (SELECT name FROM found)"
            " AND name NOT IN (SELECT name FROM differing WHERE kind = 'doubled')",
        )
        self._note("cut", "SELECT name FROM pair WHERE size <> found_size")
        self._note(
            "altered",
            "SELECT name FROM pair WHERE size = found_size AND digest <> '' AND expected NOT IN ('', digest)",
        )
        if hashes is not None:
            self._read(hashes)
        query = "SELECT DISTINCT name FROM found WHERE name NOT IN (SELECT name FROM wanted)"
        for chunk in _chunks(self._db.execute(query), _CHUNK):  # objects that nobody wants: whose is each?
            unwanted = {bytes(row[0]): _text(bytes(row[0])) for row in chunk}
            written = ours(list(unwanted.values()))
            for name, text in unwanted.items():
                self._add("leftover" if is_leftover(text) else "ours" if text in written else "foreign", [name])

    def differences(self) -> tuple[Difference, ...]:
        """Return what differs, what matters most first."""
        found = []
        for kind, files in self._db.execute("SELECT kind, count(*) FROM differing GROUP BY kind").fetchall():
            query = "SELECT name FROM differing WHERE kind = ? ORDER BY name LIMIT ?"
            names = [escape(bytes(row[0])) for row in self._db.execute(query, (kind, MOST_NAMED))]
            longest = _LONGEST // max(1, len(names))
            first = tuple(name if len(name.encode()) <= longest else f"{name[: longest // 4]}…" for name in names)
            found.append(Difference(kind=kind, files=files, first=first))
        return tuple(sorted(found, key=lambda one: (not one.blocks, one.kind)))

    def lacking(self) -> Iterator[bytes]:
        """Yield the names of wanted files that do not lie there as they were verified."""
        query = "SELECT DISTINCT name FROM differing WHERE kind IN ('missing', 'cut', 'altered')"
        return (bytes(row[0]) for row in self._db.execute(query))

    def _note(self, kind: str, query: str) -> None:
        self._db.execute(f"INSERT OR IGNORE INTO differing SELECT '{kind}', name FROM ({query})")  # noqa: S608 - words of ours

    def _add(self, kind: str, names: Iterable[bytes]) -> None:
        self._db.executemany("INSERT OR IGNORE INTO differing VALUES (?, ?)", ((kind, name) for name in names))

    def _look_for_missing(self, sizes: Sizes) -> None:
        """Ask for what is not listed: under another spelling it may be there, or another's object may stand for it."""
        query = "SELECT name FROM wanted WHERE name NOT IN (SELECT name FROM found) ORDER BY name LIMIT ?"
        missing = [bytes(row[0]) for row in self._db.execute(query, (_MOST_LOOKED_FOR,))]
        given: list[bytes] = []
        for chunk in _chunks(missing, _CHUNK):
            found = sizes([_text(name) for name in chunk])
            given += [name for name, size in zip(chunk, found, strict=True) if size is not None]
        if not given:
            return
        # objects that nobody wants are taken for names that the storage answers to; a name without one is another's
        spellings = {_shown(name): name for name in given} | {place(_text(name)): name for name in given}
        query = "SELECT rowid, name FROM found WHERE name NOT IN (SELECT name FROM wanted)"
        taken: dict[bytes, tuple[int, bool]] = {}
        for row, name in self._db.execute(query):
            text = _text(bytes(name))
            wanted = spellings.get(text) or spellings.get(place(text))
            if wanted is not None:
                taken.setdefault(wanted, (row, text != _shown(wanted)))
        self._db.executemany("UPDATE found SET name = ? WHERE rowid = ?", ((n, row) for n, (row, _) in taken.items()))
        self._add("respelt", (name for name, (_, respelt) in taken.items() if respelt))
        self._add("doubled", (name for name in given if name not in taken))

    def _read(self, hashes: Hashes) -> None:
        """Read what lies there in its right size and has no hash to compare."""
        query = (
            "SELECT name, size, sha256, md5, sha1 FROM pair WHERE size = found_size AND (digest = '' OR expected = '')"
        )
        for chunk in _chunks(self._db.execute(query), 100):
            found = hashes([(_text(bytes(row[0])), row[1]) for row in chunk])
            for (name, _, *digests), stored in zip(chunk, found, strict=True):
                known = dict(zip(("sha256", "md5", "sha1"), digests, strict=True))
                self.read += 1
                if stored is None:
                    self._add("missing", [name])
                elif known.get(stored.algorithm) != stored.digest:
                    self._add("altered", [name])


def _chunks(items: Iterable[T], most: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, most)):
        yield chunk


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _shown(raw: bytes) -> str:
    """Return a name as a listing shows it that can carry UTF-8 alone: U+FFFD for each other byte."""
    return "".join("\ufffd" if "\udc80" <= character <= "\udcff" else character for character in _text(raw))
