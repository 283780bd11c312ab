"""The format of the view: a release reads what earlier ones wrote, and builds anew what a later one wrote."""

import redis
import structlog

from datauploader_gateway.projection import keys

log = structlog.get_logger()

NUMBER = 4
"""Rises with each release whose view the one before it cannot read."""
_KINDS = ("upload", "uploads", "files", "failures", "remarks", "leftout", "live", "flow", "timing", "investigation",
          "stations")  # fmt: skip
"""First words of the keys that hold what the event log has as well."""
_CHUNK = 500


def claim(client: redis.Redis) -> None:
    """Make the view one of this release; one of a later release is removed, so that it is built again from the log.

    A removal that is interrupted is begun again: the number is written last.
    """
    said = client.get(keys.FORMAT)
    if said is not None and int(said) == NUMBER:
        return
    if said is not None and int(said) > NUMBER:
        log.warning("view_of_a_later_release_removed", format=int(said), ours=NUMBER)
        client.delete(keys.MARKER)
        chunk: list[bytes] = []
        for key in client.scan_iter(match=f"{keys.PREFIX}*", count=_CHUNK):
            if key.removeprefix(keys.PREFIX.encode()).split(b":")[0].decode() in _KINDS:
                chunk.append(key)
            if len(chunk) == _CHUNK:
                client.unlink(*chunk)
                chunk.clear()
        if chunk:
            client.unlink(*chunk)
    client.set(keys.FORMAT, NUMBER)
