"""One walk through all files of an upload, counted and digested: what a receipt can say rests on it alone."""

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from datauploader.contracts.rest.uploads import Amount
from datauploader.contracts.uploads import manifest_entry
from datauploader_gateway.features.receipts.manifest import is_plain
from datauploader_gateway.projection.facts import CATALOGUED, FileFacts
from datauploader_gateway.projection.files import KnownFile


@dataclass(slots=True)
class Survey:
    """What was found; files must be added in order of the bytes of their paths."""

    encoded: int = 0
    """Files in the catalogue whose names a manifest writes differently."""
    without_digest: int = 0
    """Files in the catalogue of which only the beginning of the digest is known."""
    _files: Counter[int] = field(default_factory=Counter)
    """By their facts: there are few different ones, however many files."""
    _bytes: Counter[int] = field(default_factory=Counter)
    _digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    @property
    def sha256(self) -> str:
        """The digest of the manifest of the files in the catalogue."""
        return self._digest.hexdigest()

    @property
    def total(self) -> int:
        """Files in whatever state."""
        return self._files.total()

    def add(self, files: Iterable[KnownFile]) -> None:
        """Count these as well."""
        for file in files:
            facts = file.facts
            self._files[facts.facts] += 1
            self._bytes[facts.facts] += facts.size
            if facts.facts & CATALOGUED:
                sha256 = facts.sha256
                self._digest.update(manifest_entry(file.path, sha256))
                self.without_digest += not sha256
                self.encoded += not is_plain(file.path)

    def amount(self, *, state: str, proof: str | None = None) -> Amount:
        """Return how many files are in this state and as well proven."""
        kinds = [k for k in self._files if _state(k) == state and proof in (None, _kind(k).proof)]
        return Amount(files=sum(self._files[k] for k in kinds), bytes=sum(self._bytes[k] for k in kinds))

    def ways(self) -> dict[str, Amount]:
        """Return how the files in the catalogue were verified, as far as they were."""
        found: dict[str, Amount] = {}
        for kind in self._files:
            if _state(kind) == "catalogued" and _kind(kind).proof == "verified":
                way = ", ".join(_kind(kind).methods) or "by an unknown method"
                known = found.get(way, Amount())
                found[way] = Amount(files=known.files + self._files[kind], bytes=known.bytes + self._bytes[kind])
        return dict(sorted(found.items()))


async def survey(chunks: AsyncIterator[list[KnownFile]]) -> Survey:
    """Walk through all of them."""
    found = Survey()
    async for files in chunks:
        found.add(files)
    return found


def _kind(facts: int) -> FileFacts:
    return FileFacts(0, 0, b"", facts)


def _state(facts: int) -> str:
    return _kind(facts).state
