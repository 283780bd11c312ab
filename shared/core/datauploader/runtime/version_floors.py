"""Releases of servers below which a known vulnerability is open, and what is said of one that runs."""

import re
from collections.abc import Mapping

from datauploader.runtime.service import Check

Release = tuple[int, ...]
Floors = Mapping[tuple[int, int], tuple[Release, str]]
"""By branch (major, minor): the first release without the vulnerability, and which that is."""

REDIS: Floors = {
    (6, 2): ((6, 2, 20), "CVE-2025-49844"),
    (7, 2): ((7, 2, 11), "CVE-2025-49844"),
    (7, 4): ((7, 4, 6), "CVE-2025-49844"),
    (8, 0): ((8, 0, 4), "CVE-2025-49844"),
    (8, 2): ((8, 2, 2), "CVE-2025-49844"),
    (8, 6): ((8, 6, 3), "CVE-2026-23479"),
}
RABBITMQ: Floors = {
    (3, 13): ((3, 13, 8), "CVE-2025-30219"),
    (4, 0): ((4, 0, 8), "CVE-2025-50200"),
    (4, 2): ((4, 2, 4), "CVE-2026-44838"),
}


def judge(name: str, version: str, floors: Floors) -> Check:
    """Say whether a running server is of a release without a vulnerability that is known here.

    Of a branch that is not listed nothing is known: a distribution may have mended an old one.
    """
    release = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    major, minor = (*release, 0, 0)[:2]
    floor, why = floors.get((major, minor), ((), ""))
    if release < floor:
        wanted = ".".join(map(str, floor))
        return Check(
            name, ok=False, detail=f"{version} has {why}, which is fixed in {wanted}; update the server or its image"
        )
    known = "" if floor else "; nothing is known here of its branch, so see to the system's security updates"
    return Check(name, ok=True, detail=f"{version}{known}")
