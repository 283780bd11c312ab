"""Whose an object is: which uploads wrote which versions there, and which found theirs there and count on it."""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence

from datauploader.reliability.groups import marks, write_groups
from datauploader_transfer.compaction import CompactedJobs, Owner
from datauploader_transfer.ports import UNPROVED

Version = tuple[str, Iterable[str]]
"""An object, and the digests of one version at it."""
_NOBODYS: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
_SHA256 = 64
"""Characters of one in hexadecimal."""


class ObjectOwners:
    """The tables `owners` and `continuing`, inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db, self._compacted = db, CompactedJobs(db)

    def note_continued(self, upload_id: str, earlier: Iterable[str]) -> None:
        """Note that an upload continues earlier ones, whose objects it may replace."""
        self._db.executemany(
            "INSERT OR IGNORE INTO continuing VALUES (?, ?)", [(upload_id, other) for other in earlier]
        )

    def with_continued(self, uploads: Iterable[str]) -> frozenset[str]:
        """Return these uploads and all that they continue."""
        found: set[str] = set()
        todo = set(uploads)
        while todo:
            found |= todo
            rows = [
                self._db.execute("SELECT earlier FROM continuing WHERE upload_id = ?", (one,)).fetchall()
                for one in todo
            ]
            todo = {str(row["earlier"]) for some in rows for row in some} - found
        return frozenset(found)

    def note_versions(self, remote: str, upload_id: str, versions: Iterable[Version], *, wrote: bool) -> None:
        """Note versions that an upload begins to write, or (`wrote` False) has found at an object and counts on."""
        write_groups(
            self._db,
            "INSERT INTO owners (wrote, remote, object, upload_id, digests) VALUES {rows}"
            " ON CONFLICT (remote, object, upload_id, digests) DO UPDATE SET wrote = max(wrote, excluded.wrote)",
            _keys(remote, upload_id, versions),
            row=f"({wrote:d}, ?, ?, ?, ?)",
        )

    def restore_versions(self, remote: str, upload_id: str, versions: Iterable[Version]) -> None:
        """Note versions that others remember as this upload's; what is known of them here is not changed."""
        keys = _keys(remote, upload_id, versions)
        compacted = self._compacted.find_owners(remote, {name for _, name, *_ in keys})
        known = {(name, one, " ".join(digests)) for name, owners in compacted.items() for one, digests, _ in owners}
        fresh = [key for key in keys if key[1:] not in known]
        self._db.executemany("INSERT OR IGNORE INTO owners VALUES (?, ?, ?, ?, 1)", fresh)

    def replaceable_digests(
        self, remote: str, objects: Sequence[str], uploads: Collection[str]
    ) -> dict[str, tuple[frozenset[str], frozenset[str]]]:
        """Return, by object, the digests that may be replaced there, and those that must stay.

        May: these uploads wrote them, and no other needs them. Must: another one does.
        """
        found = dict.fromkeys(objects, _NOBODYS)
        for name, owners in self._owners_of(remote, objects).items():
            ours: set[str] = set()
            theirs: set[str] = set()
            for upload_id, digests, wrote in owners:
                if upload_id not in uploads:
                    theirs.update(digests)
                elif wrote:
                    ours.update(digests)
            unproved = {UNPROVED} if theirs else set()  # what lies there may be another upload's by now
            found[name] = frozenset(ours - theirs - unproved), frozenset(theirs)
        return found

    def forget_unproved(self, remote: str, objects: Sequence[str], uploads: Collection[str]) -> None:
        """Forget that something of these uploads that nobody has proved may lie at objects."""
        which = f"remote = ? AND object IN ({marks(len(objects))}) AND upload_id = ? AND digests = ?"
        for one in uploads:
            self._db.execute(f"DELETE FROM owners WHERE {which}", (remote, *objects, one, UNPROVED))  # noqa: S608 - words of ours

    def known_digests(self, remote: str, name: str) -> frozenset[str]:
        """Return the digests of every version that any upload had at an object."""
        return frozenset(digest for _, digests, _ in self._owners(remote, name) for digest in digests)

    def find_former_version(self, remote: str, name: str, uploads: Collection[str], digest: str) -> str | None:
        """Return the SHA-256 of the version of these uploads that an object with this digest (of any kind) is."""
        versions = [
            digests for upload, digests, _ in self._owners(remote, name) if upload in uploads and digest in digests
        ]
        return next((one for digests in versions for one in digests if len(one) == _SHA256), None)

    def is_anothers(self, remote: str, name: str, uploads: Collection[str], digest: str) -> bool:
        """Tell whether an upload that is none of these wrote, or counts on, what has this digest."""
        return any(upload not in uploads and digest in digests for upload, digests, _ in self._owners(remote, name))

    def written_objects(self, remote: str, objects: Iterable[str]) -> Iterator[str]:
        """Yield those of the objects that we ever began to write."""
        names = list(objects)
        yield from filter(self._owners_of(remote, names).__contains__, names)

    def _owners(self, remote: str, name: str) -> list[Owner]:
        return self._owners_of(remote, [name]).get(name, [])

    def _owners_of(self, remote: str, objects: Sequence[str]) -> dict[str, list[Owner]]:
        """Return who has which version at those of these objects that have owners, in rows or compacted."""
        found = self._compacted.find_owners(remote, objects)
        which = f"remote = ? AND object IN ({marks(len(objects))})"
        query = f"SELECT object, upload_id, digests, wrote FROM owners WHERE {which}"  # noqa: S608 - words of ours
        for name, upload_id, digests, wrote in self._db.execute(query, (remote, *objects)):
            found[name].append((upload_id, digests.split(), bool(wrote)))
        return found


def _keys(remote: str, upload_id: str, versions: Iterable[Version]) -> list[tuple[str, str, str, str]]:
    return [(remote, name, upload_id, " ".join(sorted(set(digests)))) for name, digests in versions]
