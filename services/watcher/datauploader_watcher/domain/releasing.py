"""When a local copy may go: only after the stored bytes were hashed again, now, and are the ones that were read."""

from datauploader.contracts.questions import StoredHash
from datauploader_watcher.domain.versions import Digests


def objection(digests: Digests, size: int, stored: StoredHash) -> str:
    """Say why the local copy must stay, "" where nothing speaks against its removal."""
    if not stored.found:
        return "the object is no longer on the storage"
    if stored.size != size:
        return f"the stored copy has {stored.size} bytes, the local one {size}"
    ours = {"sha256": digests.sha256.hex(), "md5": digests.md5.hex()}
    if digests.sha1:
        ours["sha1"] = digests.sha1.hex()
    both = [name for name in ours if stored.digests.get(name)]
    if not both:
        return "the storage could not hash its copy"
    differ = [name for name in both if stored.digests[name].lower() != ours[name]]
    return f"the stored copy has a different {differ[0]}" if differ else ""
